"""A map in any pose, in 3D: rotated and shifted in Fourier space."""

import numpy as np
from scipy import fft

from zoo.simulate.project import PAD, padded_transform, sample_transform


class Rotator:
    """Posed copies of one map (z, y, x), as `relion_refine` compares them with subtomograms.

    The map is padded twice and divided by sinc^2 before its transform is interpolated, as for projections.
    Frequencies from Nyquist on are left out.
    """

    def __init__(self, density: np.ndarray):
        self.box = n = density.shape[-1]
        self._transform = padded_transform(np.asarray(density, np.float64))
        axis = np.arange(n) - n // 2
        kz, ky, kx = np.meshgrid(axis, axis, np.arange(n // 2 + 1), indexing="ij")
        inside = kx**2 + ky**2 + kz**2 < (n / 2) ** 2
        self._place = (kz[inside] % n, ky[inside] % n, kx[inside])
        self._frequency = (np.stack([kx[inside], ky[inside], kz[inside]]) / n).astype(np.float32)

    def __call__(self, matrix: np.ndarray, origin_voxels: np.ndarray) -> np.ndarray:
        """The map (z, y, x) float32 turned by RELION's matrix A (3, 3) and moved by minus the origin (3,).

        A point at r of the map, from voxel n // 2, comes to A r - origin.
        """
        n = self.box
        zyx_of_map = np.asarray(matrix, np.float32).T[::-1]  # A^T k, in the order z, y, x
        at = _combine(zyx_of_map, self._frequency * (PAD * n)) + PAD * n // 2
        values = sample_transform(self._transform, at)
        angle = _combine(2 * np.pi * np.asarray(origin_voxels, np.float32), self._frequency)
        half = np.zeros((n, n, n // 2 + 1), np.complex64)
        half[self._place] = values * (np.cos(angle) + 1j * np.sin(angle))
        volume = fft.irfftn(half, s=(n, n, n))
        return np.ascontiguousarray(np.roll(volume, (n // 2,) * 3, axis=(0, 1, 2)), np.float32)


def _combine(factors, vectors):
    """factors (..., 3) times vectors (3, m), summed: (..., m), without BLAS and its roundings."""
    return sum(factors[..., i, None] * vectors[i] for i in range(3))
