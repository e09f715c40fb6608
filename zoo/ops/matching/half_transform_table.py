"""A finely sampled half transform of real maps with its slopes, and reading it anywhere.

F(−k) is the conjugate of F(k): frequencies with kx ≥ 0 hold all. Value and slope at the nearest sample do the
work of interpolation. Coordinates are xyz in Fourier voxels of the map (cycles per box).
"""

from functools import lru_cache

import numpy as np
from keras import ops

from zoo.ops.matching.oversampled_transform import MARGIN, fourier_matrix, whole_components, zoom_size

# Where a table has the derivatives by kx, ky and kz of re, and of im.
SLOPES_RE, SLOPES_IM = (4, 6, 2), (5, 7, 3)


def half_zoom(maps, radius, pad):
    """Real maps ``(b, n, n, n)`` → ``(b, h·q·q, 8)``, every 1/pad Fourier voxels, kx ≥ 0 slowest, kz fastest.

    The last axis is re and im of the transform, then of its derivatives by kz, kx and ky. Each axis is one
    product of matrices, with re and im side by side in what is summed over.
    """
    n = maps.shape[-1]
    size = zoom_size(radius, pad)
    half = size // 2 + 1
    first, both, value = _matrices(n, radius, pad)
    x = ops.matmul(ops.cast(maps, "float32"), first)  # (b, z, y, [value, slope]·[re, im]·kx)
    x = ops.transpose(ops.reshape(x, (-1, n, n, 2, 2, half)), (3, 0, 1, 5, 4, 2))
    x = ops.reshape(x, (2, -1, n, half, 2 * n))
    plain = ops.reshape(ops.matmul(x[0], both), (-1, n, half, 2, 2, size))
    slope = ops.reshape(ops.matmul(x[1], value), (-1, n, half, 1, 2, size))
    y = ops.concatenate([plain, slope], axis=3)  # (b, z, kx, [value, by y, by x], [re, im], ky)
    y = ops.reshape(ops.transpose(y, (3, 0, 2, 5, 4, 1)), (3, -1, half, size, 2 * n))
    last = _by_frequency(both, 2, size), _by_frequency(value, 1, size)
    parts = [ops.matmul(y[kind], last[min(kind, 1)]) for kind in (0, 2, 1)]
    parts = [ops.reshape(part, (-1, half * size * size, 4 if i == 0 else 2)) for i, part in enumerate(parts)]
    return ops.concatenate(parts, axis=-1)


def read_half_zoom(table, points, radius, pad, which=None):
    """``half_zoom`` of ``b`` maps at xyz ``(b, ..., 3)`` within the radius → (re, im) ``(b, ...)``.

    With ``which``, int32 that broadcasts against the points without their last axis, each is read of the map
    that it names.
    """
    points, sign = folded(points)
    index, offset = nearest_sample(points, radius, pad)
    if which is None:
        which = ops.arange(ops.shape(table)[0], dtype="int32")
        which = ops.reshape(which, (-1,) + (1,) * (len(points.shape) - 2))
    first = which * samples(radius, pad)
    value = ops.take(ops.reshape(table, (-1, 8)), index + first, axis=0)
    re, im = (
        value[..., part] + sum(value[..., slopes[axis]] * offset[..., axis] for axis in range(3))
        for part, slopes in enumerate((SLOPES_RE, SLOPES_IM))
    )
    return re, sign * im


def folded(points, axis=-1):
    """xyz along ``axis``, those with kx < 0 exchanged for −k, and the sign that im needs then."""
    sign = ops.where(ops.take(points, 0, axis=axis) < 0.0, -1.0, 1.0)
    return points * ops.expand_dims(sign, axis), sign


def nearest_sample(points, radius, pad, axis=-1):
    """Which sample of a map's table is nearest to xyz with kx ≥ 0 along ``axis``, and the offset from it."""
    rounded = ops.round(points * float(pad))
    size, origin = zoom_size(radius, pad), (radius + MARGIN) * pad
    x, y, z = whole_components(rounded, axis)
    return (x * size + y) * size + z + origin * (size + 1), points - rounded / float(pad)


def samples(radius, pad):
    """Samples in the table of one map."""
    size = zoom_size(radius, pad)
    return (size // 2 + 1) * size * size


def _by_frequency(matrix, kinds, size):
    """Columns (kind, part, k) → (k, kind, part)."""
    return matrix.reshape(-1, 2 * kinds, size).swapaxes(1, 2).reshape(len(matrix), -1)


@lru_cache(maxsize=8)
def _matrices(n, radius, pad):
    """Matrices of the first axis ``(n, 4h)``, and for complex data: value and slope, value ``(2n, …q)``."""
    value = fourier_matrix(n, radius, pad).T
    x = (np.arange(n) - n // 2)[:, None]
    slope = -2j * np.pi * x / n * value  # d/dk of exp(−2πi·k·x/n)
    positive = slice(zoom_size(radius, pad) // 2, None)
    first = [part[:, positive] for f in (value, slope) for part in (f.real, f.imag)]

    def on_pairs(f):
        return np.concatenate([np.block([f.real, f.imag]), np.block([-f.imag, f.real])])

    matrices = (
        np.concatenate(first, axis=1),
        np.concatenate([on_pairs(value), on_pairs(slope)], axis=1),
        on_pairs(value),
    )
    return tuple(np.ascontiguousarray(matrix, "float32") for matrix in matrices)
