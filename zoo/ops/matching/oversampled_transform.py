"""The low-frequency ball of a real map's transform, finely sampled, and reading it anywhere.

A fine enough grid makes one look-up do the work of interpolation. Coordinates are xyz in Fourier
voxels of the unpadded map (cycles per box); the transform is centred as in ``zoo.ops.fourier``.
"""

import numpy as np
from keras import ops

from zoo.ops.matching.fourier_grid import (  # noqa: F401  (NumPy alone: they lie where no backend is needed)
    MARGIN,
    fourier_matrix,
    half_ball,
    voxel_index,
    zoom_size,
)


def zoomed_transform(maps, radius, pad):
    """Real maps ``(b, n, n, n)`` → transform at every 1/pad Fourier voxel → (re, im) ``(b, q, q, q)``."""
    re, im = half_transform(maps, radius, pad)
    # The transform of a real map is Hermitian: the other half is the mirrored conjugate.
    axes = (-3, -2, -1)
    re = ops.concatenate([ops.flip(re[..., 1:], axis=axes), re], axis=-1)
    return re, ops.concatenate([-ops.flip(im[..., 1:], axis=axes), im], axis=-1)


def half_transform(maps, radius, pad):
    """As ``zoomed_transform`` for kx ≥ 0 alone → (re, im) ``(b, q, q, q//2 + 1)``.

    Three matrix products instead of the FFT of a padded box, of which only this corner would be kept.
    """
    n = maps.shape[-1]
    matrix = fourier_matrix(n, radius, pad)
    size = zoom_size(radius, pad)
    half = size // 2 + 1
    both = np.concatenate([matrix.real, matrix.imag])
    x = np.concatenate([matrix.real[size // 2 :], matrix.imag[size // 2 :]]).T
    values = ops.matmul(ops.cast(maps, "float32"), x)  # (b, z, y, re|im of kx >= 0)
    values = _next_axis(ops.matmul(both, values), size, half)
    values = ops.reshape(values, (-1, n, size * 2 * half))
    values = ops.reshape(ops.matmul(both, values), (-1, 2 * size, size, 2 * half))
    values = _next_axis(values, size, half, axis=-3)
    return values[..., :half], values[..., half:]


def nearest_voxel(coordinates, n, axis=-1):
    """Flat index of the voxel of a centred ``(n, n, n)`` nearest to xyz along ``axis``, without it."""
    x, y, z = whole_components(ops.round(coordinates), axis)
    return (z * n + y) * n + x + n // 2 * (1 + n + n * n)


def whole_components(rounded, axis):
    """Rounded xyz along ``axis`` → three int32 tensors without it."""
    whole = ops.cast(rounded, "int32")
    return (ops.take(whole, i, axis=axis) for i in range(3))


def _next_axis(product, size, half, axis=-2):
    """Rows re and im of a matrix times columns re and im → columns re and im of the complex product."""
    rows = (slice(None),) * (-1 - axis)
    first = product[(..., slice(0, size), *rows)]
    second = product[(..., slice(size, None), *rows)]
    re = first[..., :half] - second[..., half:]
    im = first[..., half:] + second[..., :half]
    return ops.concatenate([re, im], axis=-1)
