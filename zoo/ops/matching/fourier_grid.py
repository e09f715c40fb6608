"""Places in the transform of a box, and matrices that sample it finely: NumPy alone.

Coordinates are xyz in Fourier voxels of the map (cycles per box).
"""

from functools import lru_cache

import numpy as np

MARGIN = 1  # Fourier voxels kept beyond the radius, so that rounding stays on the grid


def zoom_size(radius, pad):
    """Edge of the cube that ``zoomed_transform`` gives."""
    return 2 * (radius + MARGIN) * pad + 1


def half_ball(radius):
    """NumPy float32 ``(j, 3)``: one of every pair ±k of Fourier voxels within ``radius``, without 0."""
    axis = np.arange(-radius, radius + 1)
    kz, ky, kx = (k.ravel() for k in np.meshgrid(axis, axis, axis, indexing="ij"))
    length = kx**2 + ky**2 + kz**2
    half = (kz > 0) | ((kz == 0) & ((ky > 0) | ((ky == 0) & (kx > 0))))
    keep = half & (length <= radius**2)
    return np.stack([kx, ky, kz], axis=-1)[keep].astype("float32")


def voxel_index(frequency, n):
    """NumPy int32 ``(...)``: flat index of the nearest voxel of ``(..., 3)`` in a centred ``(n, n, n)``."""
    k = np.rint(frequency).astype("int32") + n // 2
    return (k[..., 2] * n + k[..., 1]) * n + k[..., 0]


@lru_cache(maxsize=16)
def fourier_matrix(n, radius, pad):
    """NumPy complex64 ``(q, n)``: the transform of one axis at every 1/pad Fourier voxel."""
    k = np.arange(-(radius + MARGIN) * pad, (radius + MARGIN) * pad + 1) / pad
    matrix = np.exp(-2j * np.pi * np.outer(k, np.arange(n) - n // 2) / n).astype("complex64")
    matrix.setflags(write=False)
    return matrix


@lru_cache(maxsize=8)
def reading_gain(n, pad):
    """NumPy float32 ``(n, n, n)``: by how much a voxel is overrated when its transform is read off the grid.

    Value and slope at the nearest of 1/pad Fourier voxels give (1 + iφ) for exp(iφ), φ the sum of one phase
    per axis, each even in ±π·x/(n·pad): the mean over offsets of Re (1 + iφ)·exp(−iφ).
    """
    half = np.pi * (np.arange(n) - n // 2) / (n * pad)
    safe = np.where(half == 0.0, 1.0, half)
    cosine = np.where(half == 0.0, 1.0, np.sin(safe) / safe)  # mean of cos φ
    sine = np.where(half == 0.0, 0.0, np.sin(safe) / safe - np.cos(safe))  # mean of φ sin φ
    axes = ((-1, 1, 1), (1, -1, 1), (1, 1, -1))
    z, y, x = (cosine.reshape(shape) for shape in axes)
    dz, dy, dx = (sine.reshape(shape) for shape in axes)
    gain = (x * y * z + dx * y * z + x * dy * z + x * y * dz).astype("float32")
    gain.setflags(write=False)
    return gain
