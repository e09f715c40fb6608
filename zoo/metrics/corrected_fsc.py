"""FSC of half maps in a mask, corrected for what the mask itself correlates, and the B-factor of a map."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from zoo.metrics.fsc import check_cube, fsc, resolution_at, shell_index

_RANDOMISE_AT = 0.8
_KEPT_SHELLS = 2


class CorrectedFsc(NamedTuple):
    """Curves ``(box // 2 + 1,)`` from shell 0: without mask, in the mask, of maps with random phases in the
    mask, and corrected; ``random_from``: the first shell whose phases were made random."""

    unmasked: np.ndarray
    masked: np.ndarray
    random: np.ndarray
    corrected: np.ndarray
    random_from: int

    def resolution_angstrom(self, voxel_size_angstrom: float, threshold: float = 0.143) -> float:
        """Where the corrected curve falls below ``threshold``; infinity where it never was above."""
        return resolution_at(self.corrected, threshold, voxel_size_angstrom).angstrom


def corrected_fsc(half_1: np.ndarray, half_2: np.ndarray, mask: np.ndarray, seed: int = 0) -> CorrectedFsc:
    """FSC of two half maps (z, y, x), corrected by phase randomisation as `relion_postprocess` does.

    From the shell on where the FSC without mask falls below 0.8 the phases of both maps are drawn anew; what
    they still correlate in the mask is the mask's doing: (FSC − FSC_random)/(1 − FSC_random), from two
    shells later on (Chen et al., Ultramicroscopy 135 (2013)). Raises ZooError for maps that are not cubes of
    one box.
    """
    half_1, half_2 = check_cube(half_1, "first half map"), check_cube(half_2, "second half map")
    unmasked, masked = fsc(half_1, half_2), fsc(half_1, half_2, mask)
    low = np.flatnonzero(unmasked[1:] < _RANDOMISE_AT)
    start = int(low[0]) + 1 if len(low) else len(unmasked)
    rng = np.random.default_rng(seed)
    first, second = (with_random_phases(half, start, rng) for half in (half_1, half_2))
    random = fsc(first, second, mask)
    shells = np.arange(len(masked))
    changed = np.where(random > masked, 0.0, (masked - random) / np.maximum(1 - random, 1e-6))
    corrected = np.where(shells < start + _KEPT_SHELLS, masked, changed)
    return CorrectedFsc(unmasked, masked, random, corrected, start)


def with_random_phases(volume: np.ndarray, first_shell: int, rng: np.random.Generator) -> np.ndarray:
    """The map (z, y, x) with its amplitudes, and uniform phases at radii of ``first_shell`` and more."""
    spectrum, box = np.fft.rfftn(volume), volume.shape[0]
    full, half = np.fft.fftfreq(box, 1 / box), np.fft.rfftfreq(box, 1 / box)
    far = full[:, None, None] ** 2 + full[:, None] ** 2 + half**2 >= first_shell**2
    angle = rng.uniform(0, 2 * np.pi, int(far.sum()))
    spectrum[far] = np.abs(spectrum[far]) * np.exp(1j * angle)
    return np.fft.irfftn(spectrum, volume.shape, axes=(0, 1, 2))


class Guinier(NamedTuple):
    """ln of the mean amplitude ``(s,)`` over 1/d² ``(s,)`` by shell, which shells were fitted, and the line
    ``intercept + slope / d²``; ``bfactor_angstrom2`` = 4 slope, negative where the map falls off."""

    inverse_square: np.ndarray
    log_amplitude: np.ndarray
    fitted: np.ndarray
    intercept: float
    slope: float

    @property
    def bfactor_angstrom2(self) -> float:
        """The B-factor that sharpening undoes."""
        return 4 * self.slope


def guinier_fit(
    volume: np.ndarray,
    voxel_size_angstrom: float,
    low_angstrom: float,
    high_angstrom: float,
    weight: np.ndarray | None = None,
) -> Guinier | None:
    """Line through ln |F| of a map (z, y, x) between two resolutions (Rosenthal & Henderson 2003).

    ``weight`` (box // 2 + 1,) multiplies the amplitudes first. None where fewer than 5 shells lie between.
    """
    box = volume.shape[0]
    shell = shell_index(box)
    inside = shell <= box // 2
    total = np.bincount(shell[inside], np.abs(np.fft.rfftn(volume))[inside])
    amplitude = total / np.maximum(np.bincount(shell[inside]), 1)
    if weight is not None:
        amplitude = amplitude * weight
    frequency = np.arange(box // 2 + 1) / (box * voxel_size_angstrom)
    fitted = (frequency >= 1 / low_angstrom) & (frequency <= 1 / high_angstrom) & (amplitude > 0)
    if fitted.sum() < 5:
        return None
    with np.errstate(divide="ignore"):
        logarithm = np.log(amplitude)
    slope, intercept = np.polyfit(frequency[fitted] ** 2, logarithm[fitted], 1)
    return Guinier(frequency**2, logarithm, fitted, float(intercept), float(slope))


def sharpened(
    volume: np.ndarray,
    curve: np.ndarray,
    voxel_size_angstrom: float,
    bfactor_angstrom2: float,
    resolution_angstrom: float,
    edge_shells: float = 2.0,
) -> np.ndarray:
    """The map weighted by √(2 FSC/(1 + FSC)), with a B-factor undone, and low-passed at its resolution.

    Amplitudes are multiplied with exp(−B/(4 d²)): a negative B sharpens. Beyond the resolution they fall to 0
    as a raised cosine of ``edge_shells``. Source: Rosenthal & Henderson 2003; `relion_postprocess`.
    """
    box = volume.shape[0]
    shell = shell_index(box)
    trusted = np.clip(curve, 0, 1)
    weight = np.append(np.sqrt(2 * trusted / (1 + trusted)), 0.0)[np.minimum(shell, len(curve))]
    full, half = np.fft.fftfreq(box, voxel_size_angstrom), np.fft.rfftfreq(box, voxel_size_angstrom)
    square = full[:, None, None] ** 2 + full[:, None] ** 2 + half**2
    last = box * voxel_size_angstrom / resolution_angstrom
    beyond = np.clip((np.sqrt(square) * box * voxel_size_angstrom - last) / edge_shells + 0.5, 0, 1)
    weight = weight * np.exp(-bfactor_angstrom2 / 4 * square) * (0.5 + 0.5 * np.cos(np.pi * beyond))
    return np.fft.irfftn(np.fft.rfftn(volume) * weight, volume.shape, axes=(0, 1, 2)).astype(np.float32)
