"""What one batch of subtomograms says about averages at given poses: residuals and back-rotated sums."""

import numpy as np
from keras import ops

from zoo.ops import fourier
from zoo.ops.interpolation import sample_trilinear
from zoo.ops.matching.rigid_refinement import template_starts


def turned_templates(ball, zoomed, rotations, shifts, own=None):
    """Averages at candidate poses → (re, im) ``(b, k, c, j)``.

    zoomed: ``ball.zoomed`` of the averages; rotations ``(b, k, c, 3, 3)``, shifts ``(b, k, c, 3)`` in
    voxels: R A(k) = A(Rᵀk)·exp(−2πi k·t/n). own: as `zoo.ops.matching.rotational_matching.match`.
    """
    points = ops.matmul(ball.frequency, rotations)  # rows k·R are Rᵀk
    re, im = ball.sampled(zoomed, points, which=template_starts(rotations, 1, own))
    angle = -_phase(ball, shifts)
    return _rotated(re, im, ops.cos(angle), ops.sin(angle))


def squared_residuals(templates, observed, wedge, seen):
    """|w·R A − X|² of each frequency ``(b, k, c, j)``, 0 where not seen.

    templates and observed: (re, im), ``(b, k, c, j)`` and ``(b, j)``; wedge and seen ``(b, j)``. For a wedge
    of 0 and 1 this is what equations 12 and 15 sum.
    """
    wedge, seen = wedge[:, None, None], seen[:, None, None]
    squares = [(wedge * t - x[:, None, None]) ** 2 for t, x in zip(templates, observed, strict=True)]
    return (squares[0] + squares[1]) * seen


def back_rotated(ball, transforms, wedges, rotations, shifts, weights):
    """Subtomograms seen from their averages: (re, im) of R⁻¹(w·X) and R⁻¹w², each ``(b, m, j)``.

    transforms: unitary (re, im) of X and wedges, centred ``(b, n, n, n)``; rotations ``(b, m, 3, 3)``, shifts
    ``(b, m, 3)`` in voxels, weights ``(b, m)``. The braces of equation 10, without what fills
    the missing part.
    """
    n = ball.n
    # Moved to the middle by their mean shift: the nearer it lies, the more exactly a transform is read.
    total = ops.maximum(ops.sum(weights, axis=1, keepdims=True), 1e-20)
    middle = ops.sum(shifts * (weights / total)[..., None], axis=1)
    angle = 2.0 * np.pi * ops.matmul(middle, fourier.frequency_grid_3d(n).reshape(-1, 3).T)
    angle = ops.reshape(angle, (-1, n, n, n))
    moved = _rotated(*(part * wedges for part in transforms), ops.cos(angle), ops.sin(angle))
    zoomed = ball.zoomed(fourier.ifft3(*moved)[0] * n**1.5)
    shifts = shifts - middle[:, None]
    points = ops.matmul(ball.frequency, ops.swapaxes(rotations, -1, -2))  # rows R k
    re, im = ball.sampled(zoomed, points)
    angle = 2.0 * np.pi / n * ops.sum(points * shifts[:, :, None], axis=-1)
    re, im = _rotated(re, im, ops.cos(angle), ops.sin(angle))
    weight = sample_trilinear((wedges**2)[..., None], points + float(n // 2))[..., 0]
    return re, im, weight


def _phase(ball, shifts):
    return ops.matmul(shifts, (2.0 * np.pi / ball.n * ball.frequency.T).astype("float32"))


def _rotated(re, im, cosine, sine):
    return re * cosine - im * sine, re * sine + im * cosine
