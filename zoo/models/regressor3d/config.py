"""What a person may set of ``regressor3d``, and its presets; no Keras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.config import Config, FirstPhase, setting
from zoo.models.wgan3d.config import WGAN3DConfig, check_halvings
from zoo.registry import Entry, add


@dataclass(frozen=True)
class Regressor3DConfig(Config):
    """Every hyperparameter of ``regressor3d``; the defaults are the paper's (section 2.2) where it says them.

    ``box``, ``latent_dim`` and ``filters`` are those of the generator that is inverted. Beyond the paper:
    ``sample_weight``, ``latent_weight``; and what ``generator_*`` says of the run of ``wgan3d`` that is made
    first where none is given.
    """

    smallest: ClassVar[Mapping[str, Any]] = {
        "box": 16,
        "filters": (4, 8),
        "latent_dim": 6,
        "batch_size": 4,
        "training_steps": 2,
        "generator_effort": "least",
    }

    box: int = setting(64, "edge of the maps", unit="voxels", least=8, most=256)
    voxel_size_angstrom: float = setting(6.0, "edge of a voxel", unit="Å", above=0, most=1e4)
    latent_dim: int = setting(100, "numbers that the generator makes a map of", least=1, most=4096)
    filters: tuple[int, ...] = setting(
        (32, 64, 128, 256), "of the convolutions, those of the generator mirrored", least=1, most=4096
    )
    sample_weight: float = setting(
        1.0, "of the misfit of generated maps beside that of known ones", least=0, most=1e6
    )
    latent_weight: float = setting(
        0.0, "of the squared error of the latents of generated maps", least=0, most=1e6
    )
    batch_size: int = setting(64, "maps in a step, over all devices", least=1, most=100_000)
    training_steps: int = setting(10_000, "of the regressor", unit="steps", least=1, most=10**9)
    learning_rate: float = setting(1e-4, "of Adam", above=0, most=1)
    beta_1: float = setting(0.5, "of Adam", least=0, below=1)
    beta_2: float = setting(0.99, "of Adam", least=0, below=1)
    generator_preset: str = setting(
        "paper", "of the wgan3d that is trained first without --start-from", choices=("paper", "tiny")
    )
    generator_effort: str = setting(
        "full", "of its training; least is for trying things out", choices=("full", "least")
    )

    def check(self) -> None:
        check_halvings(self.box, len(self.filters))

    def first_phase(self) -> FirstPhase:
        """The run of ``wgan3d`` whose generator is inverted."""
        values: dict[str, Any] = {}
        if self.generator_effort == "least":
            values = {name: value for name, value in WGAN3DConfig.smallest.items() if name != "box"}
        values |= {"latent_dim": self.latent_dim, "filters": self.filters}
        return FirstPhase("wgan3d", self.generator_preset, values)


REGRESSOR3D = add(
    Entry(
        "regressor3d",
        "zoo.models.regressor3d.model:Regressor3D",
        Regressor3DConfig,
        {
            "paper": {},
            # For the preset tiny of wgan3d.
            "tiny": {
                "box": 32,
                "voxel_size_angstrom": 12.0,
                "filters": (16, 32, 64),
                "latent_weight": 1.0,
                "batch_size": 16,
                "training_steps": 1500,
                "learning_rate": 1e-3,
                "beta_1": 0.9,
                "generator_preset": "tiny",
            },
        },
        "tiny",
        takes={"data": "maps"},
        learns="players",
        verbs=("encode", "density", "generate"),
        summary="maps → the latents of wgan3d that make them: what lies near a complex is left out of a test",
        paper="Wang, Zeng, Liang, Huo, Xing, Xu (2018): pseudo-macromolecular structures, section 2.2",
        status="trains, being measured",
    )
)
