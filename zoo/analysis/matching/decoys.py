"""Six simple maps made from a template: what scores as well where its structure does not matter."""

from __future__ import annotations

import numpy as np
from scipy import fft, ndimage

from zoo.metrics.alignment import mirror

DECOYS = ("sphere", "gaussian", "ellipsoid", "mirrored", "scaled", "phases_randomised")
_SCALE = 1.25
_EDGE_VOXELS = 1.0


def decoys_of(density: np.ndarray, seed: int = 0) -> np.ndarray:
    """A template (n, n, n) → the maps (6, n, n, n) called ``DECOYS``, in that order, float32.

    Sphere, Gaussian and ellipsoid have the template's centre of mass; the sphere and the Gaussian its radius
    of gyration, the ellipsoid its moments of inertia (of what lies above a tenth of the peak). The mirrored
    one is mirrored in x, the scaled one 1.25 times as large; with phases randomised the power of every
    frequency stays. Raises ValueError for a map without density.
    """
    density = np.asarray(density, np.float32)
    n = density.shape[-1]
    dense = np.where(density > 0.1 * density.max(), density, 0).astype(float)
    if not dense.sum() > 0:
        raise ValueError("no density")
    places = np.stack(np.meshgrid(*(np.arange(n, dtype=float),) * 3, indexing="ij"), -1)
    weight = dense / dense.sum()
    centre = np.einsum("zyx,zyxi->i", weight, places)
    away = places - centre
    spread = np.einsum("zyx,zyxi,zyxj->ij", weight, away, away) + 0.1 * np.eye(3)
    mean = np.trace(spread) / 3
    distance = (away**2).sum(-1)
    # a homogeneous body has a fifth of its squared half axes as second moments
    bodies = [
        distance < 5 * mean,
        np.exp(-distance / (2 * mean)),
        np.einsum("zyxi,ij,zyxj->zyx", away, np.linalg.inv(5 * spread), away) < 1,
    ]
    bodies[0], bodies[2] = (
        ndimage.gaussian_filter(bodies[number].astype(float), _EDGE_VOXELS) for number in (0, 2)
    )
    middle = np.full(3, n // 2)
    scaled = ndimage.affine_transform(density, np.eye(3) / _SCALE, middle - middle / _SCALE, order=1)
    return np.stack([*bodies, mirror(density), scaled, _phases_randomised(density, seed)]).astype(np.float32)


def _phases_randomised(density, seed):
    noise = fft.fftn(np.random.default_rng([seed, 41]).normal(size=density.shape))
    noise /= np.maximum(np.abs(noise), 1e-12)
    return fft.fftshift(fft.ifftn(np.abs(fft.fftn(density)) * noise).real)
