"""What decides the picks of a tomogram, checked before anything is read or imported."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from zoo.errors import ZooError

SMOOTH_PER_SIGMA, DISTANCE_PER_SIGMA = 0.4, 2.0
"""Smoothing and least distance that go with a sigma: 2, 5 and 10 voxels (Zeng et al. 2018, section 3.2)."""
_LARGEST_SIGMA_VOXELS = 100.0


@dataclass(frozen=True)
class PickSettings:
    """Smoothing, difference of Gaussians and choice of peaks; raises ZooError for what cannot be.

    The tomogram is smoothed by ``smooth_voxels`` and then by Gaussians of ``sigma_voxels`` and
    ``sigma_ratio`` times that, whose difference is the response. Peaks of it are kept, best first, that lie
    ``distance_voxels`` apart or more, score ``threshold`` or more (robust standard deviations above the
    median), and lie ``exclude_edge_voxels`` or more from every face; of these the best ``count`` (None: all).
    ``contrast`` is 0 (measured), +1 (particles are bright) or -1 (dark).
    """

    smooth_voxels: float = 2.0
    sigma_voxels: float = 5.0
    sigma_ratio: float = 1.1
    distance_voxels: float = 10.0
    threshold: float = 4.0
    count: int | None = None
    exclude_edge_voxels: int = 0
    contrast: int = 0

    def __post_init__(self):
        ranges = (
            ("smooth", self.smooth_voxels, 0.0, _LARGEST_SIGMA_VOXELS, "voxels"),
            ("sigma", self.sigma_voxels, 0.5, _LARGEST_SIGMA_VOXELS, "voxels"),
            ("ratio", self.sigma_ratio, 1.01, 4.0, ""),
            ("distance", self.distance_voxels, 1.0, 10_000.0, "voxels"),
            ("threshold", self.threshold, 0.0, 1e6, "standard deviations"),
            ("exclude-edge", self.exclude_edge_voxels, 0, 100_000, "voxels"),
        )
        for name, value, low, high, unit in ranges:
            if not low <= value <= high:  # NaN fails too
                raise ZooError(f"--{name} {value:g}: expected {low:g} to {high:g} {unit}".rstrip())
        if self.count is not None and self.count < 1:
            raise ZooError(f"--count {self.count}: expected 1 or more")
        if self.contrast not in (0, 1, -1):
            raise ZooError(f"--contrast {self.contrast}: expected auto, +1 or -1")

    @property
    def widths_voxel(self) -> tuple[float, float]:
        """Widths of the two Gaussians, smoothing included: Gaussians in a row are one Gaussian."""
        wide = self.sigma_voxels * self.sigma_ratio
        return math.hypot(self.smooth_voxels, self.sigma_voxels), math.hypot(self.smooth_voxels, wide)

    @property
    def radius_voxel(self) -> float:
        """Radius of the ball that the response is largest for: sqrt(3) widths."""
        first, second = self.widths_voxel
        return math.sqrt(3 * (first**2 + second**2) / 2)


def check_diameter(diameter_angstrom: float) -> None:
    """Raise ZooError for a diameter that is not a number above 0."""
    if not 0 < diameter_angstrom < math.inf:
        raise ZooError(f"--diameter {diameter_angstrom:g}: expected more than 0 Å")


def settings_for_diameter(
    settings: PickSettings,
    diameter_angstrom: float,
    voxel_size_angstrom: float,
    smooth_voxels: float | None = None,
    distance_voxels: float | None = None,
) -> PickSettings:
    """``settings`` with the sigma whose response is largest for balls of a diameter in Å.

    Smoothing and distance follow sigma (0.4 and 2 times) unless they are given. Raises ZooError for a
    diameter of less than 2 voxels or of hundreds.
    """
    unit = replace(
        settings, smooth_voxels=SMOOTH_PER_SIGMA, sigma_voxels=1.0, distance_voxels=DISTANCE_PER_SIGMA
    )
    sigma = diameter_angstrom / voxel_size_angstrom / 2 / unit.radius_voxel
    if not 0.5 <= sigma <= _LARGEST_SIGMA_VOXELS:
        raise ZooError(
            f"--diameter {diameter_angstrom:g}: is {diameter_angstrom / voxel_size_angstrom:.3g} voxels of "
            f"{voxel_size_angstrom:g} Å, expected {unit.radius_voxel:.2g} to "
            f"{2 * unit.radius_voxel * _LARGEST_SIGMA_VOXELS:.3g}; correct it, or --pixel-size"
        )
    return replace(
        settings,
        sigma_voxels=sigma,
        smooth_voxels=SMOOTH_PER_SIGMA * sigma if smooth_voxels is None else smooth_voxels,
        distance_voxels=DISTANCE_PER_SIGMA * sigma if distance_voxels is None else distance_voxels,
    )


def check_voxel_size(voxel_size_angstrom: float) -> None:
    """Raise ZooError for a voxel size that cannot be."""
    if not 0 < voxel_size_angstrom <= 10_000:
        raise ZooError(f"--pixel-size {voxel_size_angstrom:g}: expected more than 0 Å, at most 10000")
