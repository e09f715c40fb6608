"""What a person may set of ``abinitio3d``, and its presets; no Keras."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from zoo.errors import ZooError

_LEAST_BOX = 16
_LARGEST_RADIUS = 31
_EXTRA_SHELLS = 5
"""Shells that the maps of the mini-batches hold beyond the last that is compared: the mask needs them."""


@dataclass(frozen=True)
class Config:
    """Hyperparameters; lists hold one value per band of the mini-batches. Raises ZooError for what cannot be.

    ``box`` px, ``voxel_size_angstrom`` Å and ``count`` (particles) are the data's. ``max_radius``: Fourier
    shells used in the end, 0: all of the box, but 31 at most; ``mask_radius``: of the box; ``max_shift``: of
    the box, along each axis. A band of k compares the shells up to k at ``views`` even views of ``turns``
    in-plane turns; each of ``updates`` reads ``images`` (for ``reseed``: of each class).
    """

    box: int = 32
    voxel_size_angstrom: float = 10.0
    count: int = 9000
    classes: int = 3
    batch_size: int = 500
    seed: int = 0
    max_radius: int = 0
    mask_radius: float = 0.4
    max_shift: float = 0.05
    draws: int = 8
    measured_images: int = 4000
    bands: tuple[int, ...] = (3, 4, 5)
    views: tuple[int, ...] = (140, 220, 330)
    turns: tuple[int, ...] = (20, 24, 30)
    start_updates: tuple[int, ...] = (8, 8, 8)
    start_images: tuple[int, ...] = (500, 500, 1000)
    reseed_updates: tuple[int, ...] = (0, 4, 5)
    reseed_images: tuple[int, ...] = (300, 500, 700)
    joint_updates: tuple[int, ...] = (0, 0, 4)
    joint_images: tuple[int, ...] = (300, 600, 1200)
    share_images: int = 600
    attempts: int = 3
    reseed_trust: float = 0.6
    start_share: float = 0.93
    good_share: float = 0.99
    least_evidence: float = 2.0
    survey_draws: int = 6
    refine_steps: int = 3
    final_rounds: int = 2
    same_class: float = 0.05

    def __post_init__(self):
        for name in (
            "bands",
            "views",
            "turns",
            *(f"{p}_{w}" for p in _PHASES for w in ("updates", "images")),
        ):
            object.__setattr__(self, name, tuple(int(value) for value in getattr(self, name)))
        for wrong, message in self._problems():
            if wrong:
                raise ZooError(message)

    def _problems(self):
        largest = (self.box - 1) // 2
        yield self.box < _LEAST_BOX, f"box {self.box}: expected at least {_LEAST_BOX} px"
        yield (
            not self.voxel_size_angstrom > 0,
            f"voxel_size_angstrom={self.voxel_size_angstrom}: expected more",
        )
        for name in ("classes", "batch_size", "draws", "survey_draws", "refine_steps", "final_rounds"):
            yield getattr(self, name) < 1, f"{name}={getattr(self, name)}: expected 1 or more"
        for name in ("attempts", "share_images", "measured_images"):
            yield getattr(self, name) < 1, f"{name}={getattr(self, name)}: expected 1 or more"
        yield (
            self.count < 20 * self.classes,
            f"{self.count} particles for classes={self.classes}: expected at least 20 for each class; "
            "ask for fewer classes",
        )
        yield (
            self.max_radius and not 8 <= self.max_radius <= largest,
            f"max_radius={self.max_radius}: expected 0, or 8 to {largest} for a box of {self.box}",
        )
        yield not 0.1 <= self.mask_radius <= 0.5, f"mask_radius={self.mask_radius}: expected 0.1 to 0.5"
        yield not 0 <= self.max_shift <= 0.25, f"max_shift={self.max_shift}: expected 0 to 0.25 of the box"
        yield not 0 < self.reseed_trust < 1, f"reseed_trust={self.reseed_trust}: expected 0 to 1"
        yield not 0 <= self.same_class < 1, f"same_class={self.same_class}: expected 0 to below 1"
        for name in ("start_share", "good_share"):
            yield not 0 < getattr(self, name) <= 1, f"{name}={getattr(self, name)}: expected above 0, up to 1"
        yield not self.bands, "bands: expected at least one"
        yield (
            list(self.bands) != sorted(self.bands)
            or not 2 <= self.bands[0] <= self.bands[-1] <= self.radius - 2,
            f"bands={self.bands}: expected rising shells from 2 to {self.radius - 2}",
        )
        for name in ("views", "turns", *(f"{p}_{w}" for p in _PHASES for w in ("updates", "images"))):
            values = getattr(self, name)
            least = 0 if name.endswith("_updates") else 1
            yield (
                len(values) != len(self.bands) or min(values) < least,
                f"{name}={values}: expected {len(self.bands)} values of at least {least}, one per band",
            )
        yield sum(self.start_updates) < 2, f"start_updates={self.start_updates}: expected 2 or more in all"

    @property
    def radius(self) -> int:
        """Fourier shells that the final maps hold."""
        return self.max_radius or min((self.box - 1) // 2, _LARGEST_RADIUS)

    @property
    def map_box(self) -> int:
        """Voxels along an edge of the maps: as few as their shells need."""
        return 2 * (self.radius + 1)

    @property
    def small_box(self) -> int:
        """Voxels along an edge of the maps of the mini-batches, which see low shells only."""
        return min(2 * (self.bands[-1] + _EXTRA_SHELLS), self.map_box)

    @property
    def map_voxel_size_angstrom(self) -> float:
        """Voxel of the maps in Å: their edge is the images'."""
        return self.voxel_size_angstrom * self.box / self.map_box

    @property
    def steps_per_pass(self) -> int:
        """Batches in which each particle is seen once; the last may be smaller."""
        return -(-self.count // self.batch_size)

    def batches(self, images: int) -> int:
        """Batches that hold about ``images``, one at least."""
        return max(1, round(min(images, self.count) / self.batch_size))


_PHASES = ("start", "reseed", "joint")

PRESETS: dict[str, dict] = {
    "default": {},
    # for tests and a first look: coarse, few images
    "tiny": {
        "batch_size": 300,
        "views": (60, 100, 160),
        "turns": (12, 16, 20),
        "start_updates": (6, 6, 6),
        "start_images": (300, 300, 600),
        "attempts": 1,
    },
}


def from_preset(preset: str, **overrides) -> Config:
    """Configuration of a preset with other values; ZooError for an unknown preset or name."""
    if preset not in PRESETS:
        raise ZooError(f"abinitio3d has no preset called {preset!r}; known: {', '.join(sorted(PRESETS))}")
    known = {field.name for field in dataclasses.fields(Config)}
    for name in overrides:
        if name not in known:
            raise ZooError(
                f"abinitio3d has no hyperparameter called {name!r}; known: {', '.join(sorted(known))}"
            )
    return Config(**{**PRESETS[preset], **overrides})
