"""Centred Fourier transforms as (re, im) pairs, frequency grids, masks and Hermitian symmetry.

The origin is at index N//2 in real and in Fourier space, on every transformed axis: a delta at voxel
N//2 has a real, constant transform. Forward transforms are sums, inverse ones divide by N per axis.
Arrays are ``(..., y, x)`` and ``(..., z, y, x)``; frequency vectors are ``xyz`` columns in cycles/pixel.
"""

import math

import numpy as np
from keras import ops


def fft2(re, im=None):
    """Centred 2D transform of ``(..., y, x)`` → (re, im)."""
    return _centred(_plain_fft2, re, im, axes=(-2, -1))


def ifft2(re, im):
    """Centred inverse 2D transform of ``(..., y, x)`` → (re, im)."""
    return _inverse(fft2, re, im, axes=(-2, -1))


def fft3(re, im=None):
    """Centred 3D transform of ``(..., z, y, x)`` → (re, im)."""
    return _centred(plain_fft3, re, im, axes=(-3, -2, -1))


def ifft3(re, im):
    """Centred inverse 3D transform of ``(..., z, y, x)`` → (re, im)."""
    return _inverse(fft3, re, im, axes=(-3, -2, -1))


def frequency_axis(n):
    """NumPy float32 ``(n,)``: frequencies in cycles/pixel with 0 at index n//2."""
    return ((np.arange(n) - n // 2) / n).astype("float32")


def frequency_grid_2d(n):
    """NumPy float32 ``(n, n, 2)``, index [y, x]: (kx, ky) in cycles/pixel."""
    k = frequency_axis(n)
    ky, kx = np.meshgrid(k, k, indexing="ij")
    return np.stack([kx, ky], axis=-1)


def frequency_grid_3d(n):
    """NumPy float32 ``(n, n, n, 3)``, index [z, y, x]: (kx, ky, kz) in cycles/pixel."""
    k = frequency_axis(n)
    kz, ky, kx = np.meshgrid(k, k, k, indexing="ij")
    return np.stack([kx, ky, kz], axis=-1)


def radial_mask_2d(n, cutoff=0.5):
    """NumPy float32 ``(n, n)``: 1 where the frequency is at most cutoff cycles/pixel, else 0."""
    return _ball(frequency_grid_2d(n), cutoff)


def radial_mask_3d(n, cutoff=0.5):
    """NumPy float32 ``(n, n, n)``: 1 where the frequency is at most cutoff cycles/pixel, else 0."""
    return _ball(frequency_grid_3d(n), cutoff)


def shift_phase(n, shift_xy_pixels):
    """Factors (re, im) ``(b, n, n)`` that move an image's content by ``(b, 2)`` pixels along +x, +y.

    exp(−2πi k·shift). RELION's origins have the other sign: pass −origin/apix.
    """
    shift = ops.cast(shift_xy_pixels, "float32")
    k = frequency_axis(n)
    angle = (
        -2.0
        * math.pi
        * (shift[:, 0, None, None] * k[None, None, :] + shift[:, 1, None, None] * k[None, :, None])
    )
    return ops.cos(angle), ops.sin(angle)


def multiply(re, im, other_re, other_im):
    """Product of two complex arrays given as pairs → (re, im)."""
    return re * other_re - im * other_im, re * other_im + im * other_re


def negated_frequencies(x, rank):
    """x(−k) for centred ``x(k)`` over the last ``rank`` axes; −N/2 of an even N is its own negative."""
    axes = tuple(range(-rank, 0))
    x = ops.flip(x, axis=axes)
    even = tuple(axis for axis in axes if x.shape[axis] % 2 == 0)
    return ops.roll(x, (1,) * len(even), axis=even) if even else x


def hermitian(re, im, rank):
    """Nearest transform of a real array: ½(F(k) + conj F(−k)) over the last ``rank`` axes → (re, im)."""
    return (re + negated_frequencies(re, rank)) / 2.0, (im - negated_frequencies(im, rank)) / 2.0


def fill_half_space(re, im, rank):
    """Columns kx ≤ 0 of a centred transform ``(..., n, n//2 + 1)`` → the whole Hermitian ``(..., n, n)``.

    Half the frequencies of a real image (rank 2) or map (rank 3: ``(..., n, n, n//2 + 1)``) decide the rest:
    a network needs to be asked for half only.
    """
    n = re.shape[-2]
    first = 1 - n % 2  # an even n has the column −n/2, which has no partner +n/2
    axes = tuple(range(-rank, 0))

    def mirrored(x):
        x = ops.flip(x[..., first : n // 2], axis=axes)
        return ops.roll(x, (1,) * (rank - 1), axis=axes[:-1]) if n % 2 == 0 else x

    re, im = ops.concatenate([re, mirrored(re)], axis=-1), ops.concatenate([im, -mirrored(im)], axis=-1)
    # The columns kx = 0 and −n/2 hold both members of a pair.
    return hermitian(re, im, rank)


def pad_centred(x, n, rank):
    """Zero-pad the last ``rank`` axes to n, voxel N//2 staying at the new centre n//2."""
    widths = [(0, 0)] * (len(x.shape) - rank)
    for size in x.shape[-rank:]:
        before = n // 2 - size // 2
        widths.append((before, n - size - before))
    return ops.pad(x, widths)


def crop_centred(x, n, rank):
    """Cut the last ``rank`` axes to n around N//2; of a transform this is down-sampling."""
    index = [slice(None)] * (len(x.shape) - rank)
    for size in x.shape[-rank:]:
        start = size // 2 - n // 2
        index.append(slice(start, start + n))
    return x[tuple(index)]


def _plain_fft2(re, im):
    return ops.fft2((re, im))


def plain_fft3(re, im):
    """Transform of the last three axes with the origin at index 0 in both spaces → (re, im)."""
    re, im = ops.fft2((re, im))
    axes = list(range(len(re.shape)))
    axes[-3], axes[-1] = axes[-1], axes[-3]
    re, im = ops.fft((ops.transpose(re, axes), ops.transpose(im, axes)))
    return ops.transpose(re, axes), ops.transpose(im, axes)


def _centred(transform, re, im, axes):
    re = ops.cast(re, "float32")
    im = ops.zeros_like(re) if im is None else ops.cast(im, "float32")
    to_first = tuple(-(re.shape[axis] // 2) for axis in axes)
    to_centre = tuple(re.shape[axis] // 2 for axis in axes)
    re, im = transform(ops.roll(re, to_first, axis=axes), ops.roll(im, to_first, axis=axes))
    return ops.roll(re, to_centre, axis=axes), ops.roll(im, to_centre, axis=axes)


def _inverse(forward, re, im, axes):
    # Exchanging the parts turns the forward into the inverse transform.
    im, re = forward(im, re)
    count = math.prod(re.shape[axis] for axis in axes)
    return re / count, im / count


def _ball(grid, cutoff):
    # The margin keeps points that lie on the sphere up to float32 rounding.
    return ((grid.astype("float64") ** 2).sum(-1) <= (cutoff * (1.0 + 1e-6)) ** 2).astype("float32")
