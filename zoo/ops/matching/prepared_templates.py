"""Templates made ready for any number of subtomograms: their transforms at some frequencies. NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft

from zoo.ops.matching import fourier_grid


@dataclass(frozen=True)
class SearchSettings:
    """Box in voxels and how finely to search; radii in Fourier voxels (box / radius = resolution in voxels).

    Raises ValueError for settings that cannot work.
    """

    box: int
    step_deg: float = 13.0
    search_radius: int = 5
    radius: int | None = None  # of the score: a third of the box, at most 12, if None
    max_shift_voxels: float | None = None  # box/8 if None
    candidates: int = 4  # rotations followed uphill
    whiten: bool = False  # every shell of a subtomogram has the same power

    def __post_init__(self):
        if self.box < 12:
            raise ValueError(f"matching needs a box of at least 12 voxels, got {self.box}")
        if not 4 <= self.step_deg <= 40:
            raise ValueError(f"the step is 4 to 40 degrees, got {self.step_deg:g}")
        largest = self.box // 2 - 1
        radius = min(self.box // 3, 12) if self.radius is None else self.radius
        if not 2 <= radius <= largest:
            raise ValueError(f"the radius is 2 to {largest} Fourier voxels, got {radius}")
        object.__setattr__(self, "radius", radius)
        if self.search_radius < 2:
            raise ValueError(f"search_radius is at least 2 Fourier voxels, got {self.search_radius}")
        object.__setattr__(self, "search_radius", min(self.search_radius, radius))
        if self.max_shift_voxels is None:
            object.__setattr__(self, "max_shift_voxels", self.box / 8)
        if not 0 <= self.max_shift_voxels <= self.box / 2:
            raise ValueError(f"the largest shift is 0 to box/2, got {self.max_shift_voxels:g} voxels")
        if not 1 <= self.candidates <= 32:
            raise ValueError(f"candidates is 1 to 32, got {self.candidates}")

    @property
    def frequencies(self) -> np.ndarray:
        """Float32 (j, 3) xyz in Fourier voxels."""
        return frequencies_of(self.radius)


def prepare(settings: SearchSettings, maps: np.ndarray) -> np.ndarray:
    """Maps (k, n, n, n) → complex64 (k, 4, j): transform, and its derivatives by turns about x, y and z.

    Computed once for any number of subtomograms. Of a map counts what lies in the sphere that stays in the
    box when turned; a template has the norm 1 over the frequencies. Raises ValueError for a map that is empty
    there.
    """
    n, frequency = settings.box, settings.frequencies
    index = fourier_grid.voxel_index(frequency, n)
    axis = (np.arange(n) - n // 2).astype(np.float32)
    places = (axis, axis[:, None], axis[:, None, None])  # x, y, z
    out = np.empty((len(maps), 4, len(frequency)), np.complex64)
    for number, density in enumerate(maps):
        density = inside_sphere(np.asarray(density, np.float32))
        value = _transform(density, index)
        norm = np.linalg.norm(value)
        if not norm > 0:
            raise ValueError(f"map {number}: nothing in the sphere of the box")
        # the transform's gradient belongs to the map times the place
        slope = [-2j * np.pi / n * _transform(density * place, index) for place in places]
        k = frequency.T
        turns = [k[2] * slope[1] - k[1] * slope[2], k[0] * slope[2] - k[2] * slope[0],
                 k[1] * slope[0] - k[0] * slope[1]]  # fmt: skip
        out[number] = np.stack([value, *turns]) / norm
    return out


def with_shell_power_of(settings: SearchSettings, prepared: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Prepared templates (k, 4, j) with the power in every shell that the template ``like`` (4, j) has."""
    shell, count = _shells(settings.radius)
    wanted = np.bincount(shell, np.abs(like[0]) ** 2, count)
    out = np.empty_like(prepared)
    for number, template in enumerate(prepared):
        power = np.bincount(shell, np.abs(template[0]) ** 2, count)
        gain = np.sqrt(wanted / np.maximum(power, 1e-12 * power.sum()))
        out[number] = template * gain[shell].astype(np.float32)
    return out


def inside_sphere(density: np.ndarray) -> np.ndarray:
    """A map (n, n, n) minus the mean at the edge of the box's sphere, faded to 0 there."""
    window, rim = _sphere(density.shape[-1])
    return (density - (density * rim).sum()) * window


def _transform(volume, index):
    """Unitary transform of a centred real map at flat places of the centred transform, complex64."""
    n = volume.shape[-1]
    whole = fft.fftshift(fft.fftn(fft.ifftshift(volume)))
    return (whole.ravel()[index] / n**1.5).astype(np.complex64)


@lru_cache(maxsize=8)
def frequencies_of(radius):
    """Float32 (j, 3) xyz: one of every pair ±k of Fourier voxels within a radius, without 0."""
    return fourier_grid.half_ball(radius)


@lru_cache(maxsize=32)
def frequencies_within(large, radius):
    """Which frequencies of the half ball of radius ``large`` lie in a smaller one."""
    return np.flatnonzero((frequencies_of(large) ** 2).sum(-1) <= radius**2)


@lru_cache(maxsize=8)
def _shells(radius):
    shell = np.rint(np.sqrt((frequencies_of(radius) ** 2).sum(-1))).astype(int)
    return shell, radius + 1


@lru_cache(maxsize=4)
def _sphere(n):
    """Window (n, n, n) that fades to 0 at the sphere's edge, and the weights of the mean there."""
    axis = (np.arange(n) - n // 2).astype(float)
    r = np.sqrt(axis**2 + axis[:, None] ** 2 + axis[:, None, None] ** 2)
    fade = np.clip((n / 2 - r) / max(2.0, n / 16), 0.0, 1.0)
    rim = ((fade > 0) & (fade < 1)).astype(np.float32)
    return (0.5 - 0.5 * np.cos(np.pi * fade)).astype(np.float32), rim / rim.sum()
