"""Spherical harmonics of functions on shells: a quadrature grid and the transform as a matrix.

Coefficients are ordered by degree, then order: (0,0), (1,−1), (1,0), (1,1), …; harmonics are
orthonormal with the Condon–Shortley phase. Points are unit vectors, xyz.
"""

from functools import lru_cache

import numpy as np
from scipy import special


def degrees_and_orders(bandwidth, even=False):
    """Degree and order ``(c,)`` of every coefficient up to ``bandwidth``; ``even``: even degrees only."""
    degrees = range(0, bandwidth + 1, 2 if even else 1)
    pairs = [(degree, order) for degree in degrees for order in range(-degree, degree + 1)]
    return tuple(np.array(column) for column in zip(*pairs, strict=True))


def sphere_grid(bandwidth, even=False):
    """Unit vectors ``(p, 3)`` and weights ``(p,)``: exact for products of two harmonics up to ``bandwidth``.

    Gauss–Legendre in cos(theta), evenly spaced in phi. ``even``: half the sphere, for functions with
    f(−x) = f(x); the weights then count each point twice.
    """
    cosine, weight = np.polynomial.legendre.leggauss(bandwidth + 1)
    count = 2 * bandwidth + 2
    phi = 2.0 * np.pi * np.arange(count // 2 if even else count) / count
    cosine, phi = (a.ravel() for a in np.meshgrid(cosine, phi, indexing="ij"))
    sine = np.sqrt(1.0 - cosine**2)
    points = np.stack([sine * np.cos(phi), sine * np.sin(phi), cosine], axis=-1)
    weights = np.repeat(weight, len(phi) // len(weight)) * 2.0 * np.pi / count
    return points, weights * (2.0 if even else 1.0)


def harmonics(points, bandwidth, even=False):
    """Y_lm at unit vectors ``(p, 3)`` → complex ``(p, c)``."""
    degree, order = degrees_and_orders(bandwidth, even)
    theta = np.arccos(np.clip(points[:, 2], -1.0, 1.0))
    phi = np.arctan2(points[:, 1], points[:, 0])
    # theta first, then phi in scipy >= 1.15; the older name has them exchanged
    if hasattr(special, "sph_harm_y"):
        return special.sph_harm_y(degree[None], order[None], theta[:, None], phi[:, None])
    return special.sph_harm(order[None], degree[None], phi[:, None], theta[:, None])


@lru_cache(maxsize=16)
def analysis_matrix(bandwidth, even=False):
    """Values on ``sphere_grid`` to coefficients: ``values @ matrix``, a complex ``(p, c)``."""
    points, weights = sphere_grid(bandwidth, even)
    matrix = weights[:, None] * np.conj(harmonics(points, bandwidth, even))
    matrix.setflags(write=False)
    return matrix
