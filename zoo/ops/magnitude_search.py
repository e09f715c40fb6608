"""Candidates of rotation from magnitudes alone, which no shift changes (FAML, equation 2).

Numerator Σ w²·|X|·R|A| and squared denominator Σ w²·R|A|² are both correlations over all rotations.
Magnitudes of a real map's transform are even functions of the frequency, so that even degrees and half
the sphere do.
"""

from functools import lru_cache

import numpy as np
from keras import ops

from zoo.ops import fourier_zoom, so3, spherical

_TINY = 1e-20


def prepare_magnitudes(settings, zoomed, radius, pad, masks=None):
    """``half_zoom`` of templates → dict of shell coefficients of |A| and |A|²."""
    size = fourier_zoom.zoom_size(radius, pad)
    re, im = _on_shells(settings, zoomed[..., :2], radius, pad, steps=(size**2, size, 1))
    power = re**2 + im**2
    if masks is not None:
        power = power * _voxels_on_shells(settings, masks)
    # the root's slope is infinite at 0
    return {
        "magnitude": _coefficients(settings, ops.sqrt(power + _TINY)),
        "magnitude_power": _coefficients(settings, power),
    }


def candidate_rotations(settings, prepared, maps, wedges):
    """Local maxima of the bound over all rotations → ``(b, k, pool, 3, 3)``.

    maps: real subtomograms ``(b, n, n, n)``, whose transform is 0 where the wedges (same shape) are.
    """
    pad = 2
    half = fourier_zoom.half_transform(maps, settings.magnitude_radius, pad)
    size, width = half[0].shape[-2:]
    zoomed = ops.stack([ops.reshape(part, (-1, size * size * width)) for part in half], axis=-1)
    steps = (1, width, size * width)
    re, im = _on_shells(settings, zoomed, settings.magnitude_radius, pad, steps)
    weight = _voxels_on_shells(settings, wedges)
    shells = np.arange(1, settings.magnitude_radius + 1, dtype="float32") ** 2
    area = shells[None, :, None]
    seen = _coefficients(settings, area * weight)
    found = _coefficients(settings, area * weight * ops.sqrt(re**2 + im**2 + _TINY))
    inner, power = so3.correlate_rotations(
        [found, seen],
        [prepared["magnitude"], prepared["magnitude_power"]],
        settings.bandwidth,
        grid_size(settings),
        even=True,
    )
    # Band limits let the squared denominator ring below its true lowest value.
    floor = 0.05 * ops.max(power, axis=(-3, -2, -1), keepdims=True)
    score = inner / ops.sqrt(ops.maximum(power, ops.maximum(floor, _TINY)))
    return so3.local_maxima(score, settings.pool)[1]


def grid_size(settings):
    """Euler angles per axis: a number above 2·bandwidth that FFTs like."""
    size = 2 * settings.bandwidth + 1
    while any(size % prime == 0 for prime in range(7, size + 1) if _is_prime(prime)) or size % 2:
        size += 1
    return size


def _is_prime(number):
    return all(number % d for d in range(2, int(number**0.5) + 1))


def _on_shells(settings, zoomed, radius, pad, steps):
    """Half transforms ``(b, …, 2)`` → re, im ``(b, s, p)`` by trilinear interpolation, conjugated or not.

    steps: how far apart neighbours in x, y and z lie in it.
    """
    shells = settings.magnitude_radius
    index, weights = _corners(shells, settings.bandwidth, radius, pad, steps)
    value = sum(ops.take(zoomed, i, axis=1) * w[:, None] for i, w in zip(index, weights, strict=True))
    value = ops.reshape(value, (-1, shells, index.shape[1] // shells, 2))
    return value[..., 0], value[..., 1]


def _voxels_on_shells(settings, volumes):
    """Squares of ``(b, n, n, n)`` at the nearest voxels of the shells' points → ``(b, s, p)``."""
    n = settings.box
    index = fourier_zoom.voxel_index(_points(settings.magnitude_radius, settings.bandwidth), n)
    value = ops.take(ops.reshape(volumes, (-1, n**3)), index.ravel(), axis=1)
    return ops.reshape(value * value, (-1, *index.shape))


def _coefficients(settings, values):
    matrix_re, matrix_im = _analysis(settings.bandwidth)
    return ops.matmul(values, matrix_re), ops.matmul(values, matrix_im)


@lru_cache(maxsize=8)
def _analysis(bandwidth):
    matrix = spherical.analysis_matrix(bandwidth, even=True)
    return matrix.real.astype("float32"), matrix.imag.astype("float32")


@lru_cache(maxsize=8)
def _points(shells, bandwidth):
    directions, _ = spherical.sphere_grid(bandwidth, even=True)
    return np.arange(1, shells + 1)[:, None, None] * directions[None]


@lru_cache(maxsize=8)
def _corners(shells, bandwidth, radius, pad, steps):
    """Flat indices and weights ``(8, s·p)`` of the samples around each point k of the shells, or −k."""
    size = fourier_zoom.zoom_size(radius, pad)
    points = _points(shells, bandwidth).reshape(-1, 3)
    points = np.where(points[:, :1] < 0, -points, points)
    place = points * pad + np.array([0, 1, 1]) * (size // 2)
    low = np.minimum(np.floor(place).astype("int32"), np.array([size // 2, size - 1, size - 1]) - 1)
    fraction = place - low
    index, weights = [], []
    for corner in np.ndindex(2, 2, 2):
        weights.append(np.prod(np.where(corner, fraction, 1 - fraction), axis=-1))
        index.append((low + corner) @ np.array(steps))
    return np.array(index, "int32"), np.array(weights, "float32")
