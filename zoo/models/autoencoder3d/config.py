"""What a person may set of ``autoencoder3d``, and its presets; no Keras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.config import LearningConfig, setting
from zoo.errors import ZooError
from zoo.registry import Entry, add


@dataclass(frozen=True)
class Autoencoder3DConfig(LearningConfig):
    """Every hyperparameter of ``autoencoder3d``; the defaults are the paper's (section 3.2)."""

    smallest: ClassVar[Mapping[str, Any]] = {"box": 16, "filters": 4, "latent_dim": 16, "batch_size": 4}

    box: int = setting(32, "edge of the cubes, a multiple of 4", unit="voxels", least=8, most=256)
    voxel_size_angstrom: float = setting(14.2, "edge of a voxel", unit="Å", above=0, most=1e4)
    filters: int = setting(32, "of every convolution but the last", least=1, most=1024)
    latent_dim: int = setting(32, "numbers of a code, none below 0", least=1, most=4096)
    sparsity: float = setting(1e-4, "weight of a code's L1 norm beside the squared error", least=0, most=1e3)
    smooth_voxels: float = setting(
        0.0,
        "cubes are smoothed by a Gaussian before they are coded; codes of noise are worth nothing",
        unit="voxels",
        least=0,
        most=8,
    )
    batch_size: int = setting(8, "cubes in a step", least=1, most=100_000)
    training_steps: int = setting(
        100_000, "at most; patience ends a run before", unit="steps", least=1, most=10**9
    )
    beta_2: float = setting(0.99, "of Adam", least=0, below=1)

    def check(self) -> None:
        if self.box % 4:
            raise ZooError(f"box={self.box} cannot be halved twice; pack with a box that is a multiple of 4")


AUTOENCODER3D = add(
    Entry(
        "autoencoder3d",
        "zoo.models.autoencoder3d.model:Autoencoder3D",
        Autoencoder3DConfig,
        {
            "paper": {},
            # Minutes of two CPU cores for some hundreds of cubes.
            "tiny": {"filters": 8, "batch_size": 16, "smooth_voxels": 1.0, "training_steps": 600},
        },
        "tiny",
        takes={"data": "subtomograms"},
        learns="loss",
        verbs=("encode", "density"),
        embedded={"data": "cubes"},
        summary="cubes of a tomogram → a few numbers each, and back: what is alike lies together",
        paper="Zeng, Leung, Zeev-Ben-Mordehai, Xu (2018): a convolutional autoencoder approach",
        status="works on simulated tomograms, not measured on real ones",
    )
)
