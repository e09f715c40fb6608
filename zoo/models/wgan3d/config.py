"""What a person may set of ``wgan3d``, and its presets; no Keras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.config import Config, setting
from zoo.errors import ZooError
from zoo.registry import Entry, add


@dataclass(frozen=True)
class WGAN3DConfig(Config):
    """Every hyperparameter of ``wgan3d``; the defaults are the paper's (section 2.1 and figure 1).

    Beyond the paper: ``average_decay`` (samples come from an average of the generator's weights),
    ``critic_learning_rate``, ``discrimination_group`` (so that several devices learn what one learns).
    """

    smallest: ClassVar[Mapping[str, Any]] = {
        "box": 16,
        "filters": (4, 8),
        "latent_dim": 6,
        "discrimination_kernels": 3,
        "discrimination_dim": 2,
        "discrimination_group": 4,
        "critic_steps": 2,
        "batch_size": 4,
        "training_steps": 2,
    }

    box: int = setting(64, "edge of the maps", unit="voxels", least=8, most=256)
    voxel_size_angstrom: float = setting(6.0, "edge of a voxel", unit="Å", above=0, most=1e4)
    latent_dim: int = setting(100, "numbers that a map is made of", least=1, most=4096)
    filters: tuple[int, ...] = setting(
        (32, 64, 128, 256),
        "of the critic's convolutions, each at half of the box before; the generator's are their mirror",
        least=1,
        most=4096,
    )
    discrimination_kernels: int = setting(
        64, "features of how alike the maps of a batch are; 0: none", least=0, most=4096
    )
    discrimination_dim: int = setting(4, "numbers that each of them compares", least=1, most=4096)
    discrimination_group: int = setting(
        0, "maps that are compared with each other; 0: all of a batch", least=0, most=100_000
    )
    turns: int = setting(
        0, "fixed turns of each map to learn from; 0: a new turn each time", least=0, most=1_000_000
    )
    gradient_penalty: float = setting(10.0, "weight of the critic's gradient penalty", least=0, most=1e6)
    critic_steps: int = setting(10, "updates of the critic in each step", least=1, most=100)
    average_decay: float = setting(
        0.0, "of the average of the generator's weights, per step; 0: none", least=0, below=1
    )
    batch_size: int = setting(64, "maps that each update sees, over all devices", least=1, most=100_000)
    training_steps: int = setting(20_000, "updates of the generator", unit="steps", least=1, most=10**9)
    learning_rate: float = setting(1e-4, "of Adam", above=0, most=1)
    critic_learning_rate: float = setting(0.0, "of the critic; 0: learning_rate", least=0, most=1)
    beta_1: float = setting(0.5, "of Adam", least=0, below=1)
    beta_2: float = setting(0.99, "of Adam", least=0, below=1)

    def check(self) -> None:
        check_halvings(self.box, len(self.filters))
        group = self.discrimination_group
        if group and self.batch_size % group:
            raise ZooError(
                f"discrimination_group={group}: batch_size={self.batch_size} is no multiple of it; "
                "set one of them"
            )


def check_halvings(box: int, halvings: int) -> None:
    """Raise ZooError where a box cannot be halved so many times and have 2 voxels or more."""
    if box % 2**halvings or box < 2 ** (halvings + 1):
        raise ZooError(
            f"box={box} cannot be halved {halvings} times (one for each entry of filters) to 2 or more "
            f"voxels; pack with a box that is a multiple of {2 ** (halvings + 1)}"
        )


# Every value as published; the paper says nothing of the number of steps.
_PAPER = {"turns": 600}
_TINY = {
    "box": 32,
    "voxel_size_angstrom": 12.0,
    "filters": (16, 32, 64),
    "critic_steps": 3,
    "average_decay": 0.99,
    "batch_size": 16,
    "training_steps": 2400,
    "learning_rate": 3e-4,
    "beta_2": 0.9,
}

WGAN3D = add(
    Entry(
        "wgan3d",
        "zoo.models.wgan3d.model:WGAN3D",
        WGAN3DConfig,
        {"paper": _PAPER, "tiny": _TINY},
        "tiny",
        takes={"data": "maps"},
        learns="players",
        verbs=("density", "generate", "features"),
        summary="known complexes → any number of complexes that could be, for tests of template matching",
        paper="Wang, Zeng, Liang, Huo, Xing, Xu (2018): pseudo-macromolecular structures, sections 2.1, 3.1",
        status="trains, being measured",
    )
)
