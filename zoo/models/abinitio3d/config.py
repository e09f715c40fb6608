"""What a person may set of ``abinitio3d``, and its presets; no Keras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from zoo import config as zoo_config
from zoo.config import setting
from zoo.errors import ZooError
from zoo.models import pose_settings
from zoo.registry import Entry, add

FEWEST_PER_CLASS = 20
_LARGEST_RADIUS = 31
_EXTRA_SHELLS = 5
"""Shells that the maps of the mini-batches hold beyond the last that is compared: the mask needs them."""
_CARRIED_SHELLS = 3
SPLIT_UPDATES = 4
"""More of all classes together, where one was split."""
SPLITS = 2
"""Times that classes which can be spared part the images of others, at most."""
AGAIN_ROUNDS = 3
"""Passes of the last search: one that searches, others that refine what it found."""
_AGAIN_SHELLS = 2
_MOST = 10**9


@dataclass(frozen=True)
class AbInitio3DConfig(zoo_config.Config):
    """Every hyperparameter of ``abinitio3d``; lists hold one value per band of the mini-batches.

    ``box``, ``voxel_size_angstrom`` and ``count`` are the data's. A band of k compares the shells up to k at
    ``views`` even views of ``turns`` in-plane turns; each of ``updates`` reads ``images`` (for ``reseed``: of
    each class).
    """

    ends_itself: ClassVar[bool] = True
    smallest: ClassVar[Mapping[str, Any]] = {
        "batch_size": 4,
        "classes": 1,
        "bands": (2, 3),
        "views": (12, 20),
        "turns": (6, 8),
        "start_updates": (1, 1),
        "start_images": (8, 8),
        "reseed_updates": (0, 1),
        "reseed_images": (8, 8),
        "joint_updates": (0, 1),
        "joint_images": (8, 8),
        "measured_images": 8,
        "share_images": 8,
        "attempts": 1,
        "final_rounds": 1,
    }

    box: int = setting(32, "edge of the images", unit="pixels", least=16, most=4096)
    voxel_size_angstrom: float = setting(10.0, "edge of a pixel", unit="Å", above=0, most=1e4)
    count: int = setting(9000, "particles of the data set", least=1, most=_MOST)
    classes: int = setting(3, "maps to look for; those that turn out the same are merged", least=1, most=50)
    poses: str = pose_settings.poses("of the particles: found from nothing, or known from their own file")
    pose_range_deg: float = pose_settings.pose_range_deg()
    pose_range_angstrom: float = pose_settings.pose_range_angstrom()
    batch_size: int = setting(500, "images in a step", least=1, most=100_000)
    max_radius: int = setting(
        0,
        "shells of the final maps; 0: all of the box, but 31 at most",
        unit="Fourier pixels",
        least=0,
        most=2047,
    )
    mask_radius: float = setting(0.4, "of the sphere that holds the particle, in boxes", least=0.1, most=0.5)
    max_shift: float = setting(0.05, "largest shift along an axis, in boxes", least=0, most=0.25)
    draws: int = setting(8, "poses drawn for each image of a mini-batch", least=1, most=1000)
    measured_images: int = setting(4000, "read to measure signal and noise first", least=1, most=_MOST)
    bands: tuple[int, ...] = setting((3, 4, 5), "last shells of the mini-batches, rising", least=2, most=2047)
    views: tuple[int, ...] = setting((140, 220, 330), "even views searched in a band", least=1, most=10**6)
    turns: tuple[int, ...] = setting((20, 24, 30), "in-plane turns searched in a band", least=1, most=10**4)
    start_updates: tuple[int, ...] = setting((8, 8, 8), "of random maps", least=0, most=10**6)
    start_images: tuple[int, ...] = setting((500, 500, 1000), "in each of them", least=1, most=_MOST)
    reseed_updates: tuple[int, ...] = setting((0, 4, 5), "of classes started anew", least=0, most=10**6)
    reseed_images: tuple[int, ...] = setting((300, 500, 700), "of each class in them", least=1, most=_MOST)
    joint_updates: tuple[int, ...] = setting((0, 0, 4), "of all classes after that", least=0, most=10**6)
    joint_images: tuple[int, ...] = setting((300, 600, 1200), "in each of them", least=1, most=_MOST)
    share_images: int = setting(600, "of each class, to see what its map explains", least=1, most=_MOST)
    attempts: int = setting(3, "at a start, and at starting classes from the best", least=1, most=100)
    reseed_trust: float = setting(0.6, "in the best map while others start from it", above=0, below=1)
    start_share: float = setting(0.93, "of the signal that the best map must explain", above=0, most=1)
    good_share: float = setting(0.99, "of the signal that a settled map explains", above=0, most=1)
    least_evidence: float = setting(2.0, "for a particle, per image, or the set is noise", least=0, most=1e6)
    survey_draws: int = setting(6, "poses refined for each image and class", least=1, most=1000)
    refine_steps: int = setting(3, "of Gauss and Newton for each of them", least=1, most=100)
    final_rounds: int = setting(12, "passes of the halves apart, at most", least=1, most=100)
    search_again_below: float = setting(
        100.0,
        "evidence per image, below which all are searched once more, finer, at the end; 0: never",
        least=0,
        most=1e6,
    )
    same_class: float = setting(
        0.01,
        "evidence of an image that is lost under another map, below which both are one; 0: never",
        least=0,
        below=1,
    )

    def check(self):
        for wrong, message in self._problems():
            if wrong:
                raise ZooError(message)

    def _problems(self):
        largest = (self.box - 1) // 2
        unused = pose_settings.range_without_poses(self)
        yield bool(unused), unused
        yield (
            self.count < FEWEST_PER_CLASS * self.classes,
            f"{self.count} particles for classes={self.classes}: expected at least {FEWEST_PER_CLASS} for "
            "each class; ask for fewer classes",
        )
        yield (
            self.max_radius and not 8 <= self.max_radius <= largest,
            f"max_radius={self.max_radius}: expected 0, or 8 to {largest} for a box of {self.box}",
        )
        yield (
            list(self.bands) != sorted(self.bands) or self.bands[-1] > self.radius - 2,
            f"bands={_listed(self.bands)}: expected rising shells from 2 to {self.radius - 2}",
        )
        for name in ("views", "turns", *(f"{p}_{w}" for p in _PHASES for w in ("updates", "images"))):
            values = getattr(self, name)
            yield (
                len(values) != len(self.bands),
                f"{name}={_listed(values)}: expected {len(self.bands)} values, one per band",
            )
        yield (
            sum(self.start_updates) < 2,
            f"start_updates={_listed(self.start_updates)}: expected 2 or more in all",
        )

    def steps_of(self, epochs: int, steps_per_pass: int) -> int:
        """Steps after which every run has finished: it ends by itself."""
        return self.most_steps()

    @property
    def radius(self) -> int:
        """Fourier shells that the final maps hold."""
        return self.max_radius or radius_of(self.box)

    @property
    def map_box(self) -> int:
        """Voxels along an edge of the maps: as few as their shells need."""
        return map_box_of(self.radius)

    @property
    def small_box(self) -> int:
        """Voxels along an edge of the maps of the mini-batches, which see low shells only."""
        return min(2 * (self.bands[-1] + _EXTRA_SHELLS), self.map_box)

    @property
    def map_voxel_size_angstrom(self) -> float:
        """Voxel of the maps in Å: their edge is the images'."""
        return self.voxel_size_angstrom * self.box / self.map_box

    @property
    def start_shell(self) -> int:
        """Last shell of the maps that both half sets start from before they are refined apart."""
        return min(self.bands[-1] + 1, self.radius)

    @property
    def silent_shell(self) -> int:
        """Shell up to which the FSC of the halves tells nothing: their common start, and what the mask and
        poses fitted to it carry beyond; of poses that stay as the file has them, the first alone."""
        return 1 if self.poses_stay else self.start_shell + _CARRIED_SHELLS

    @property
    def poses_stay(self) -> bool:
        """Whether poses are those of the file, to the end."""
        return self.poses == "known" and not (self.pose_range_deg or self.pose_range_angstrom)

    @property
    def halves_in_words(self) -> str:
        """What the FSC of the half maps is between."""
        start = f"from common maps of {self.box * self.voxel_size_angstrom / self.start_shell:.0f} Å"
        if self.poses == "find":
            return f"half sets, refined apart {start}"
        if self.poses_stay:
            return f"half sets at the poses of the file, classes told apart {start}"
        return f"half sets, refined apart {start} and the poses of the file"

    @property
    def again_band(self) -> int:
        """Last shell that the last search compares."""
        return min(self.bands[-1] + _AGAIN_SHELLS, self.radius)

    @property
    def steps_per_pass(self) -> int:
        """Batches in which each particle is seen once; the last may be smaller."""
        return -(-self.count // self.batch_size)

    def batches(self, images: int) -> int:
        """Batches that hold about ``images``, one at least."""
        return max(1, round(min(images, self.count) / self.batch_size))

    def most_steps(self) -> int:
        """Steps after which every run has finished."""
        k, batches = self.classes, [self.batches(self.measured_images)]
        for updates, images, times in (
            (self.start_updates, self.start_images, self.attempts),
            (self.joint_updates, self.joint_images, self.attempts + SPLITS),
            (self.reseed_updates, [k * i for i in self.reseed_images], self.attempts * k),
        ):
            batches.append(times * sum(u * self.batches(i) for u, i in zip(updates, images, strict=True)))
        batches.append(self.attempts * (self.classes + 1) * self.batches(self.classes * self.share_images))
        batches.append((self.attempts + SPLITS) * SPLIT_UPDATES * self.batches(self.joint_images[-1]))
        passes = 2 * (self.attempts + SPLITS) * 4 + self.final_rounds + AGAIN_ROUNDS + 2
        return sum(batches) + (passes + 2) * self.steps_per_pass


@dataclass(frozen=True)
class Config(AbInitio3DConfig):
    """The hyperparameters of one run, with the seed of all that it draws."""

    seed: int = setting(0, "of maps, poses and classes that are drawn", least=0, most=2**31 - 1)


def radius_of(box: int) -> int:
    """Fourier shells of the maps of images of ``box`` pixels, where nobody sets another number."""
    return min((box - 1) // 2, _LARGEST_RADIUS)


def map_box_of(radius: int) -> int:
    """Voxels along an edge of maps that hold so many shells."""
    return 2 * (radius + 1)


def _listed(values) -> str:
    return ",".join(str(value) for value in values)


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

add(
    Entry(
        "abinitio3d",
        "zoo.models.abinitio3d.model:AbInitio3D",
        AbInitio3DConfig,
        PRESETS,
        "default",
        takes={"data": "particles"},
        learns="epochs",
        summary="raw particles → maps of several states with class and pose of each particle, from nothing",
        paper="expectation-maximisation of explicit maps with drawn poses; none in particular",
    )
)


def from_preset(preset: str, **overrides) -> Config:
    """Configuration of a preset with other values; ZooError for an unknown preset or name."""
    if preset not in PRESETS:
        raise ZooError(f"abinitio3d has no preset called {preset!r}; known: {', '.join(sorted(PRESETS))}")
    return Config.of({**PRESETS[preset], **overrides}, "abinitio3d")
