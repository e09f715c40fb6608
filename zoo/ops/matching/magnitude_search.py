"""Candidates of rotation from magnitudes alone, which no shift changes (FAML, equation 2).

Numerator Σ w²·|X|·R|A| and squared denominator Σ w²·R|A|² are both correlations over all rotations.
Magnitudes of a real map's transform are even functions of the frequency, so that even degrees and half
the sphere do.
"""

from functools import lru_cache

import numpy as np
from keras import ops

from zoo.ops.matching import half_transform_table, oversampled_transform, so3, spherical

_PAD = 2  # samples per Fourier voxel
_TINY = 1e-20


def prepare_magnitudes(settings, zoomed, radius, pad, masks=None):
    """``half_zoom`` of templates → dict of shell coefficients of |A| and |A|²."""
    re, im = _on_shells(settings, zoomed, radius, pad)
    power = re**2 + im**2
    if masks is not None:
        power = power * _voxels_on_shells(settings, masks)
    # the root's slope is infinite at 0
    magnitude, power = _coefficients(settings, ops.sqrt(power + _TINY), power)
    return {"magnitude": magnitude, "magnitude_power": power}


def candidate_rotations(settings, prepared, maps, wedges):
    """Local maxima of the bound over all rotations → ``(b, k, pool, 3, 3)``.

    maps: real subtomograms ``(b, n, n, n)``, without what the wedges (same shape) do not observe.
    """
    radius = settings.magnitude_radius
    re, im = _on_shells(settings, half_transform_table.half_zoom(maps, radius, _PAD), radius, _PAD)
    area = np.arange(1, radius + 1, dtype="float32")[None, :, None] ** 2
    weight = area * _voxels_on_shells(settings, wedges)
    inner, power = so3.correlate_rotations(
        _coefficients(settings, weight * ops.sqrt(re**2 + im**2 + _TINY), weight),
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


def _on_shells(settings, zoomed, radius, pad):
    """``half_zoom`` tables → re, im ``(b, s, p)``."""
    points = _points(settings.magnitude_radius, settings.bandwidth)[None]
    return half_transform_table.read_half_zoom(zoomed, points, radius, pad)


def _voxels_on_shells(settings, volumes):
    """Squares of ``(b, n, n, n)`` at the nearest voxels of the shells' points → ``(b, s, p)``."""
    n = settings.box
    index = oversampled_transform.voxel_index(_points(settings.magnitude_radius, settings.bandwidth), n)
    value = ops.take(ops.reshape(volumes, (-1, n**3)), index.ravel(), axis=1)
    return ops.reshape(value * value, (-1, *index.shape))


def _coefficients(settings, first, second):
    """Spherical harmonic coefficients of two arrays ``(b, s, p)`` → two pairs (re, im) ``(b, s, c)``."""
    matrix = _analysis(settings.bandwidth)
    found = ops.matmul(ops.concatenate([first, second]), matrix)
    re, im = found[..., : matrix.shape[1] // 2], found[..., matrix.shape[1] // 2 :]
    batch = ops.shape(first)[0]
    return [(re[:batch], im[:batch]), (re[batch:], im[batch:])]


@lru_cache(maxsize=8)
def _analysis(bandwidth):
    """Float32 ``(p, 2c)``: re of all coefficients, then im."""
    matrix = spherical.analysis_matrix(bandwidth, even=True)
    return np.concatenate([matrix.real, matrix.imag], axis=1).astype("float32")


@lru_cache(maxsize=8)
def _points(shells, bandwidth):
    directions, _ = spherical.sphere_grid(bandwidth, even=True)
    return (np.arange(1, shells + 1)[:, None, None] * directions[None]).astype("float32")
