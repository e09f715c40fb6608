"""What a person may set of ``edss3d``, and its presets; no Keras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.config import LearningConfig, setting
from zoo.errors import ZooError
from zoo.registry import Entry, add

MOST_CLASSES = 128  # labels of voxels are 0 to 127


@dataclass(frozen=True)
class EDSS3DConfig(LearningConfig):
    """Every hyperparameter of ``edss3d``; the defaults are the paper's (section 2.4)."""

    smallest: ClassVar[Mapping[str, Any]] = {"box": 16, "filters": 4, "batch_size": 4}

    box: int = setting(
        32, "edge of the cubes, a multiple of 4 (of 2^levels)", unit="voxels", least=8, most=256
    )
    voxel_size_angstrom: float = setting(14.2, "edge of a voxel", unit="Å", above=0, most=1e4)
    classes: int = setting(
        0, "background and kinds of voxels; 0: as many as the records have", least=0, most=MOST_CLASSES
    )
    class_names: str = setting("", "of the classes in turn, with commas; left out: those of the records")
    filters: int = setting(32, "of every convolution but the last", least=1, most=1024)
    levels: int = setting(
        2, "poolings, and up-samplings; a voxel sees others up to 4 · 2^levels - 2 away", least=1, most=4
    )
    widens: bool = setting(False, "twice as many filters after each pooling, where voxels are few")
    skips: bool = setting(False, "what is seen before each pooling is handed to where it is undone")
    flips: bool = setting(False, "every step sees the cubes mirrored in another way along x, y and z")
    turns: bool = setting(False, "every second time turned by a quarter about z (or once the eight flips)")
    loss: str = setting(
        "cross_entropy",
        "of all voxels; tversky: and how far each class is found as a whole",
        choices=("cross_entropy", "tversky"),
    )
    missed_weight: float = setting(
        0.5, "loss=tversky: of voxels missed, the rest of those wrongly found; 0.5: Dice", above=0, below=1
    )
    class_weights: str = setting(
        "none",
        "voxels of rare classes weigh more: by the root of how rare they are, or all that (balanced)",
        choices=("none", "root", "balanced"),
    )
    batch_size: int = setting(128, "cubes in a step", least=1, most=100_000)
    training_steps: int = setting(
        100_000, "at most; patience ends a run before", unit="steps", least=1, most=10**9
    )

    def check(self) -> None:
        multiple = 2**self.levels
        if self.box % multiple:
            often = {1: "once", 2: "twice"}.get(self.levels, f"{self.levels} times")
            raise ZooError(
                f"box={self.box} cannot be halved {often}; pack with a box that is a multiple of {multiple}"
            )
        if self.classes == 1:
            raise ZooError("classes=1: expected the background and one kind of voxels at least")
        names = self.names()
        if self.class_names and self.classes and len(names) != self.classes:
            raise ZooError(f"class_names={self.class_names}: {len(names)} names for {self.classes} classes")
        if len(set(names)) < len(names) or not all(names):
            raise ZooError(f"class_names={self.class_names}: two names are alike, or one is empty")

    def names(self) -> list[str]:
        """The names of the classes, as many as there are; none where that is not known yet."""
        if self.class_names:
            return [name.strip() for name in self.class_names.split(",")]
        return ["background", *(f"class_{number}" for number in range(1, self.classes))][: self.classes]


EDSS3D = add(
    Entry(
        "edss3d",
        "zoo.models.edss3d.model:EDSS3D",
        EDSS3DConfig,
        {
            "paper": {},
            # Minutes of two CPU cores for some hundreds of cubes; docs/edss3d.md says what each change gives.
            "tiny": {
                "filters": 16,
                "batch_size": 8,
                "training_steps": 2000,
                "skips": True,
                "flips": True,
            },
        },
        "tiny",
        takes={"data": "subtomograms"},
        learns="loss",
        verbs=("segment",),
        embedded={"data": "labelled cubes"},
        summary="cubes with labelled voxels → what every voxel of a tomogram belongs to",
        paper="Zeng, Leung, Zeev-Ben-Mordehai, Xu (2018): a convolutional autoencoder approach",
    )
)
