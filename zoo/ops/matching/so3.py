"""Correlation of two sets of shells over all rotations at once (Kovacs & Wriggers 2002).

C(R) = Σ_shells ∫ p(x)·conj(q(R⁻¹x)) dx for R = Rz(alpha)·Ry(beta)·Rz(gamma) on a cubic grid of Euler angles,
from spherical harmonic coefficients, by one 3D FFT. Both functions are real on the sphere.
"""

from functools import lru_cache

import numpy as np
from keras import ops
from scipy.spatial.transform import Rotation

from zoo.ops import fourier
from zoo.ops.matching import spherical
from zoo.ops.matching.wigner import small_d_spectrum


def grid_angles(size):
    """Euler angles in radians along each axis of the correlation grid: 2π·i/size."""
    return 2.0 * np.pi * np.arange(size) / size


@lru_cache(maxsize=8)
def grid_rotations(size):
    """NumPy float32 ``(size·beta·size, 3, 3)``: rotations of the grid's half with beta ≤ π, flattened."""
    angle = grid_angles(size)
    angles = np.stack(np.meshgrid(angle, angle[: unique_betas(size)], angle, indexing="ij"), axis=-1)
    matrices = Rotation.from_euler("ZYZ", angles.reshape(-1, 3)).as_matrix().astype("float32")
    matrices.setflags(write=False)
    return matrices


def unique_betas(size):
    """How many beta of the grid lie in [0, π]; the others repeat rotations of the first half."""
    return size // 2 + 1


def correlate_rotations(p, q, bandwidth, size, even=False):
    """All rotational correlations of ``b`` with ``k`` functions, two at a time → two ``(b, k, n, n, n)``.

    p, q: each a list of one or two (re, im) coefficient pairs ``(b, s, c)`` and ``(k, s, c)`` of s shells
    (weight the shells of p with their area). Gives a list of real correlations over (alpha, beta,
    gamma), n = size ≥ 2·bandwidth + 1. Two correlations share one FFT, as its real and imaginary part.
    """
    if size < 2 * bandwidth + 1:
        raise ValueError(f"a grid of {size} angles cannot hold bandwidth {bandwidth}")
    re, im = _spectrum(p, q, bandwidth, size, even)
    shape = ops.shape(re)
    re, im = (ops.reshape(part, (-1, size, size, size)) for part in (re, im))
    # Exchanged parts: the sum over exp(+i·angle) is an inverse transform without its division.
    im, re = fourier.plain_fft3(im, re)
    return [ops.reshape(part, shape) for part in (re, im)[: len(p)]]


def local_maxima(correlation, count):
    """The ``count`` highest local maxima of ``(b, k, n, n, n)`` → values ``(b, k, count)``, rotations.

    Rotations are ``(b, k, count, 3, 3)``. A maximum is no lower than its 26 neighbours on the torus of
    Euler angles. If there are too few, the remaining values are far below all others.
    """
    size = correlation.shape[-1]
    highest = correlation
    for axis in (-3, -2, -1):
        around = ops.maximum(ops.roll(highest, 1, axis=axis), ops.roll(highest, -1, axis=axis))
        highest = ops.maximum(highest, around)
    betas = unique_betas(size)
    here, highest = correlation[..., :betas, :], highest[..., :betas, :]
    shape = (*ops.shape(correlation)[:2], size * betas * size)
    peaks = ops.reshape(ops.where(here >= highest, here, here - 1e6), shape)
    values, index = ops.top_k(peaks, count)
    return values, ops.take(grid_rotations(size), index, axis=0)


def _spectrum(p, q, bandwidth, size, even):
    """First correlation + i·second: coefficients ``(b, k, n, n, n)`` over (m, h, m'), (re, im)."""
    layout, quarter_turns, kernel = _tables(bandwidth, size, even)
    p = [_spread(part, layout) for pair in p for part in _turned(*pair, quarter_turns)]
    q = [_spread(part, layout) for pair in q for part in _turned(*pair, quarter_turns)]
    # Σ_shells p_lm·conj(q_lm'): shells and correlations stand in the last place of a product of matrices
    for_re, for_im = [q[0], q[1]], [-q[1], q[0]]
    if len(q) == 4:
        for_re, for_im = [*for_re, q[3], -q[2]], [*for_im, q[2], q[3]]
    right = [ops.concatenate(parts, axis=-1) for parts in (for_re, for_im)]
    product = _outer(ops.concatenate(p, axis=-1), ops.concatenate(right, axis=-2))
    spectrum = ops.matmul(product, kernel)  # (m, m', b, [re, im]·k, h)
    spectrum = ops.reshape(spectrum, (size, size, -1, 2, ops.shape(q[0])[-2], size))
    spectrum = ops.transpose(spectrum, (3, 2, 4, 0, 5, 1))
    return spectrum[0], spectrum[1]


def _turned(re, im, quarter_turns):
    """Coefficients times i^(−m), which leaves a real kernel."""
    cosine, sine = quarter_turns
    return re * cosine - im * sine, re * sine + im * cosine


def _spread(coefficients, layout):
    """``(b, s, c)`` → ``(l, m, b, s)``, orders in FFT order and zeros where there is no coefficient."""
    padded = ops.pad(ops.transpose(coefficients, (2, 0, 1)), ((0, 1), (0, 0), (0, 0)))
    return ops.take(padded, layout, axis=0)


def _outer(p, q):
    """``(l, m, b, s)`` and ``(l, m', k, s)`` → ``(m, m', b·k, l)``."""
    degrees, orders = p.shape[:2]
    b, k, shells = ops.shape(p)[2], ops.shape(q)[2], p.shape[-1]
    left = ops.reshape(p, (degrees, orders * b, shells))
    right = ops.transpose(ops.reshape(q, (degrees, orders * k, shells)), (0, 2, 1))
    product = ops.reshape(ops.matmul(left, right), (degrees, orders, b, orders, k))
    return ops.reshape(ops.transpose(product, (1, 3, 2, 4, 0)), (orders, orders, b * k, degrees))


@lru_cache(maxsize=8)
def _tables(bandwidth, size, even):
    """Places of coefficients (l, m), their factors i^(−m) as (re, im), the kernel ``(m, m', l, h)``."""
    degree, order = spherical.degrees_and_orders(bandwidth, even)
    degrees = np.unique(degree)
    layout = np.full((len(degrees), size), len(degree), "int32")
    layout[np.searchsorted(degrees, degree), order % size] = np.arange(len(degree))
    quarter_turns = np.array([[1, 0, -1, 0], [0, -1, 0, 1]], "float32")[:, order % 4]
    kernel = np.zeros((size, size, len(degrees), size), "float32")
    for row, degree in enumerate(degrees):
        at = np.arange(-degree, degree + 1) % size
        # conj(D) has the phases exp(+i·m·alpha), exp(+i·m'·gamma); d is real: h may take its + sign too
        kernel[np.ix_(at, at, [row], at)] = small_d_spectrum(int(degree)).transpose(0, 2, 1)[:, :, None]
    return layout, quarter_turns, kernel
