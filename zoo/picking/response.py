"""The response of a volume to a difference of Gaussians, by cosine transforms."""

from __future__ import annotations

import math

import numpy as np
from scipy import fft

_MARGIN_WIDTHS = 6.0  # beyond it lies 2e-9 of a Gaussian: less than the rounding of float32


def margin_voxels(widths_voxel: tuple[float, float]) -> int:
    """How far a voxel acts on the response, in voxels, to float rounding."""
    return math.ceil(_MARGIN_WIDTHS * max(widths_voxel))


def difference_of_gaussians(
    volume: np.ndarray, widths_voxel: tuple[float, float], workers: int = 1
) -> np.ndarray:
    """Volume (z, y, x) filtered by the narrower Gaussian minus that by the wider one, float32.

    ``widths_voxel`` are their standard deviations. Beyond its faces the volume is continued by its mirror
    image, as ``scipy.ndimage`` does with ``mode="reflect"``: the cosine transform diagonalises that. The
    kernels are not cut off. ``volume`` is overwritten if it is a float32 array that may be written to.
    """
    volume = np.require(volume, np.float32, ["C", "W"])
    # The response to a constant is 0; without it the rounding is that of the grey values' spread.
    volume -= volume.mean(dtype=np.float64).astype(np.float32)
    spectrum = fft.dctn(volume, overwrite_x=True, workers=workers)
    narrow, wide = ([_damping(size, width) for size in spectrum.shape] for width in widths_voxel)
    first, second = (np.multiply.outer(each[1], each[2]) for each in (narrow, wide))
    for index, section in enumerate(spectrum):
        section *= narrow[0][index] * first - wide[0][index] * second
    return fft.idctn(spectrum, overwrite_x=True, workers=workers)


def _damping(size: int, width: float) -> np.ndarray:
    """What a Gaussian leaves of the cosines of a line of ``size`` voxels, (size,) float32."""
    frequency = np.arange(size) / (2 * size)  # cycles per voxel
    return np.exp(-2 * (np.pi * frequency * width) ** 2).astype(np.float32)
