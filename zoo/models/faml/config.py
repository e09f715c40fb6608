"""What a person may set of ``faml`` and ``fa``, and its presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.config import Config, setting
from zoo.errors import ZooError
from zoo.registry import Entry, add

_LARGEST_FOLD = 360


@dataclass(frozen=True)
class FamlConfig(Config):
    """Every hyperparameter of ``faml`` and ``fa``.

    Beyond the paper: ``refill_epochs`` (a class that lost its subtomograms starts again), ``coverage`` (poses
    that see what few others see are preferred at first), and ``regularise`` and ``noise``, without which
    averages of few subtomograms at SNR 0.01 drown in their own noise.
    """

    smallest: ClassVar[Mapping[str, Any]] = {
        "candidates": 2,
        "step_deg": 30.0,
        "max_radius": 5,
        "classes": 2,
        "batch_size": 4,
    }
    box: int = setting(32, "edge of the subtomograms, even", unit="voxels", least=12, most=512)
    voxel_size_angstrom: float = setting(10.0, "edge of a voxel", unit="Å", above=0, most=1e4)
    classes: int = setting(1, "averages to look for", least=1, most=1000)
    batch_size: int = setting(10, "subtomograms in a step, over all devices", least=1, most=100_000)
    candidates: int = setting(8, "poses kept for each subtomogram and class", least=1, most=50)
    mode: str = setting(
        "phase",
        "what is searched for rotations: all of the transform or its size",
        choices=("phase", "magnitude"),
    )
    max_radius: int = setting(
        0,
        "largest frequency of the averages; 0: a third of the box",
        unit="Fourier voxels",
        least=0,
        most=255,
    )
    max_shift_voxels: float = setting(
        0.0, "largest shift that is looked for; 0: an eighth of the box", unit="voxels", least=0, most=256
    )
    step_deg: float = setting(13.0, "between rotations of the search", unit="degrees", least=2, most=40)
    symmetry: str = setting("C1", "of the particle: C1, C2, ... (turns about z)")
    measure_symmetry: str = setting(
        "", "C2, C3, ...: score of this symmetry in the results, about the axis of each average that has most"
    )
    mask: str = setting("", "MRC file of values from 0 to 1 that every average is multiplied with")
    references: str = setting("", "MRC files to start from, one for each class, with commas between them")
    start: str = setting(
        "nothing",
        "of the first averages: subtomograms turned at random, or as the poses in their file",
        choices=("nothing", "poses"),
    )
    range_deg: float = setting(
        0.0,
        "with start=poses: how far from these poses later ones are looked for; 0: everywhere",
        unit="degrees",
        least=0,
        most=90,
    )
    similarity: float = setting(
        0.0, "share of all other classes in each one at first; 0: none", least=0, most=1000
    )
    similarity_epochs: int = setting(5, "until that share is 0", unit="epochs", least=0, most=1_000_000)
    refill_epochs: int = setting(
        12,
        "so long an empty class starts again from half of the largest",
        unit="epochs",
        least=0,
        most=1_000_000,
    )
    coverage: float = setting(
        0.5, "preference at first for poses that see what few others see", least=0, most=1000
    )
    coverage_epochs: int = setting(12, "until that preference is 0", unit="epochs", least=0, most=1_000_000)
    regularise: str = setting("fsc", "filter of averages: by the FSC of halves", choices=("none", "fsc"))
    noise: str = setting(
        "shells", "variance: one for all, or one for each shell", choices=("white", "shells")
    )
    half_sets: str = setting(
        "auto",
        "aligned to one average (shared) or each to its own; auto: by the number of subtomograms",
        choices=("auto", "shared", "independent"),
    )
    common_epochs: int = setting(
        10,
        "so long independent half sets share one average, if nothing is given to start from",
        unit="epochs",
        least=1,
        most=1_000_000,
    )
    common_radius: int = setting(
        0,
        "beyond it independent half sets have nothing in common; 0: 2 more than a third of max_radius",
        unit="Fourier voxels",
        least=0,
        most=255,
    )
    jit_compile: str = setting(
        "auto", "XLA for the expectation; auto: from 500 subtomograms on", choices=("auto", "on", "off")
    )

    def check(self):
        box = self.box
        if box % 2:
            raise ZooError(f"box {box}: expected an even box of at least 12 voxels; pack again with --box")
        largest = box // 2 - 1
        if not 4 <= self.radius <= largest:
            raise ZooError(f"max_radius={self.radius}: expected 4 to {largest} for a box of {box}")
        if self.shift > box / 2:
            raise ZooError(f"max_shift_voxels={self.shift}: expected 0 to {box // 2} for a box of {box}")
        if not 4 <= self.common <= self.radius:
            raise ZooError(f"common_radius={self.common_radius}: expected 0, or 4 to {self.radius}")
        fold_of(self.symmetry)
        if self.measure_symmetry and fold_of(self.measure_symmetry, "measure_symmetry") < 2:
            raise ZooError("measure_symmetry=C1: every map has it; expected C2, C3, ...")
        if self.range_deg and self.start != "poses":
            raise ZooError(f"range_deg={self.range_deg:g} is about given poses; add start=poses")
        if self.start == "poses" and self.references:
            raise ZooError("start=poses and references are both given; averages start from one of them")

    @property
    def radius(self) -> int:
        """``max_radius`` in Fourier voxels, its 0 resolved."""
        return self.max_radius or max(self.box // 3, 4)

    @property
    def shift(self) -> float:
        """``max_shift_voxels``, its 0 resolved."""
        return self.max_shift_voxels or self.box / 8

    @property
    def common(self) -> int:
        """``common_radius`` in Fourier voxels, its 0 resolved."""
        return self.common_radius or max(self.radius // 3, 2) + 2

    def resolved(self) -> dict:
        """All values, with zeros that stand for others resolved; half sets share where no data decided."""
        zeros = {"max_radius": self.radius, "max_shift_voxels": self.shift, "common_radius": self.common}
        half_sets = "shared" if self.half_sets == "auto" else self.half_sets
        return {**self.values(), **zeros, "half_sets": half_sets}


def is_lost(share: float, classes: int) -> bool:
    """Whether a class with this ``share`` of the subtomograms has lost nearly all of its own."""
    return share < 0.1 / classes


def fold_of(symmetry: str, name: str = "symmetry") -> int:
    """``C7`` → 7; raises ZooError for anything but a cyclic group."""
    text = str(symmetry).strip().upper()
    if not (text.startswith("C") and text[1:].isdecimal() and 1 <= int(text[1:]) <= _LARGEST_FOLD):
        raise ZooError(f"{name}={symmetry}: expected C1, C2, ... C{_LARGEST_FOLD} (turns about z)")
    return int(text[1:])


_SHARED: dict[str, Any] = {
    "config": FamlConfig,
    "verbs": ("align",),
    "presets": {
        "default": {},
        "paper": {
            "mode": "magnitude",
            "candidates": 50,
            "coverage": 0.0,
            "refill_epochs": 0,
            "regularise": "none",
            "noise": "white",
            "half_sets": "shared",
        },
    },
    "default_preset": "default",
    "takes": {"data": "subtomograms"},
    "learns": "epochs",
    "paper": "Zhao et al., Bioinformatics 34 (2018) i227",
}
FAML = add(
    Entry(
        "faml",
        "zoo.models.faml.model:Faml",
        summary="averages and classifies subtomograms: fast alignment and maximum likelihood",
        **_SHARED,
    )
)
FA = add(
    Entry(
        "fa",
        "zoo.models.faml.model:FastAlignment",
        summary="averages subtomograms by their single best alignment (the baseline of faml)",
        **_SHARED,
    )
)
PRESETS = FAML.presets
