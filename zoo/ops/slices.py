"""Central slices of a map's transform, and projections made from them (Fourier slice theorem).

Volumes ``(z, y, x)``, images ``(b, y, x)``, rotations RELION's A ``(b, 3, 3)``.
"""

import numpy as np
from keras import ops

from zoo.ops import fourier
from zoo.ops.interpolation import sample_trilinear


def slice_coordinates(rotations, n):
    """A ``(b, 3, 3)`` → frequencies Aᵀ(kx, ky, 0) ``(b, n, n, 3)`` as xyz in cycles/pixel."""
    a = ops.cast(rotations, "float32")
    k = fourier.frequency_axis(n)
    kx, ky = k[None, None, :, None], k[None, :, None, None]
    # Rows of A are columns of Aᵀ.
    return kx * a[:, None, None, 0, :] + ky * a[:, None, None, 1, :]


def central_slice(volume_ft, rotations, n=None):
    """Trilinear slices of a centred transform → (re, im) ``(b, n, n)``; zero beyond Nyquist's sphere.

    volume_ft: (re, im), each ``(N, N, N)`` shared by all rotations or ``(b, N, N, N)``. N > n is the
    transform of a map padded from n to N voxels: the slice then has its n frequencies in a box of n.
    """
    re, im = volume_ft
    padded = re.shape[-1]
    n = padded if n is None else n
    grid = ops.stack([re, im], axis=-1)
    if len(grid.shape) == 4:
        grid = grid[None]
    frequency = slice_coordinates(rotations, n)
    # A discrete transform is periodic, so the neighbour beyond the last index is the first.
    values = sample_trilinear(grid, frequency * padded + padded // 2, boundary="wrap")
    values = values * fourier.radial_mask_2d(n)[None, :, :, None]
    return values[..., 0], values[..., 1]


def padded_transform(volume, pad=2, gridding_correction=True):
    """Real map ``([b,] n, n, n)`` → centred transform (re, im) of the map padded to pad·n voxels.

    The map is divided by sinc²(r/(pad·n)) beforehand, which trilinear interpolation in Fourier space
    multiplies it with (RELION ``Projector::griddingCorrect``).
    """
    volume = ops.cast(volume, "float32")
    n = volume.shape[-1]
    if gridding_correction:
        volume = volume / gridding_window(n, pad)
    return fourier.fft3(fourier.pad_centred(volume, pad * n, rank=3))


def gridding_window(n, pad=2):
    """NumPy float32 ``(n, n, n)``: sinc²(r/(pad·n)), r = distance to voxel n//2, as in RELION."""
    r = np.sqrt((fourier.frequency_grid_3d(n).astype("float64") ** 2).sum(-1)) / pad
    return (np.sinc(r) ** 2).astype("float32")


def project_slices(volume_ft, rotations, n, ctf=None, shifts_px=None):
    """Transform from ``padded_transform`` → projections ``(b, n, n)``; see ``project``."""
    re, im = central_slice(volume_ft, rotations, n)
    if ctf is not None:
        re, im = re * ctf, im * ctf
    if shifts_px is not None:
        phase = fourier.shift_phase(n, -ops.cast(shifts_px, "float32"))
        re, im = fourier.multiply(re, im, *phase)
    return fourier.ifft2(re, im)[0]


def project(volume, rotations, ctf=None, shifts_px=None, pad=2):
    """Real map ``([b,] n, n, n)`` → projections ``(b, n, n)``, as ``relion_project`` makes them.

    ctf: ``(b, n, n)`` from ``ctf_2d``. shifts_px: RELION origins ``(b, 2)`` in pixels (x, y): the image
    moves by −origin. pad: zero-padding before the transform (accuracy of the interpolation).
    """
    n = volume.shape[-1]
    return project_slices(padded_transform(volume, pad), rotations, n, ctf, shifts_px)


def volume_from_fourier(re, im):
    """Centred transform ``(..., n, n, n)`` → real map; its non-Hermitian part is dropped."""
    # The real part of the inverse is the inverse of the Hermitian part.
    return fourier.ifft3(re, im)[0]
