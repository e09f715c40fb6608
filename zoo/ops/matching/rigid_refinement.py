"""Refine rotations and shifts of many candidates at once on the constrained correlation.

The correlation is Re Σ w²·X·conj(T) / (‖w·X‖·‖w·T‖) with T the turned and shifted template: equation 1 of
Zhao et al. (FAML), divided by the norm of what is observed of X. Gauss–Newton steps with Levenberg's damping
on the three angles, the shift and the amplitude.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from zoo.ops.matching import half_transform_table, oversampled_transform

_DAMPING = 1e-3
_LARGEST_TURN = 0.25  # radians in one step
_TINY = 1e-20
# Products of 8 rows over more frequencies than this take a path of TensorFlow's that is three times slower.
_LONGEST_BLOCK = 128


@dataclass(frozen=True)
class Observation:
    """Subtomograms ``b`` and templates ``k`` on a half ball of ``j`` frequencies.

    frequency ``(j, 3)`` in Fourier voxels of a box of n, j best from ``padded_frequencies``; zoomed
    ``(…, 8)`` of all templates from ``half_zoom`` with its radius and pad; x_re, x_im and weight (the
    wedge, not its square) ``(b, j)``; masks of the templates ``(k, n, n, n)`` or None. With ``own (b,)``
    int32 there are several sets of k templates, one after the other, and each subtomogram has one of them.
    """

    frequency: np.ndarray
    n: int
    radius: int
    pad: int
    zoomed: Any
    x_re: Any
    x_im: Any
    weight: Any
    masks: Any = None
    own: Any = None


def correlation(gram):
    """Constrained correlation ``(...)`` in [−1, 1] from a Gram matrix; 0 where nothing is observed."""
    return _normalised(gram[..., 0, 7], gram[..., 0, 0], gram[..., 7, 7])


def _normalised(inner, power_t, power_x):
    seen = ops.logical_and(power_t > _TINY, power_x > _TINY)
    power_t, power_x = (ops.where(seen, power, 1.0) for power in (power_t, power_x))
    return ops.where(seen, inner, 0.0) / (ops.sqrt(power_t) * ops.sqrt(power_x))


class Turned(NamedTuple):
    """Templates at Rᵀk ``(b, k, c, j)``, from the nearest sample and its slope.

    folded: the xyz of Rᵀk, or of −Rᵀk where its kx < 0, and sign −1 there; re and im of the template at Rᵀk;
    slope_re and slope_im: by the three components at ``folded``; weight: wedge times mask.
    """

    folded: list
    sign: Any
    re: Any
    im: Any
    slope_re: list
    slope_im: list
    weight: Any


def turned_templates(view, rotations):
    """Templates turned by ``(b, k, c, 3, 3)`` on the half ball → ``Turned``."""
    # Components before frequencies: every slice below is contiguous.
    turned = ops.matmul(ops.swapaxes(rotations, -1, -2), view.frequency.T)
    folded, sign = half_transform_table.folded(turned, axis=-2)
    index, offset = half_transform_table.nearest_sample(folded, view.radius, view.pad, axis=-2)
    first = template_starts(rotations, half_transform_table.samples(view.radius, view.pad), view.own)
    value = ops.swapaxes(ops.take(view.zoomed, index + first, axis=0), -1, -2)
    slopes = [
        [value[..., i, :] for i in part]
        for part in (half_transform_table.SLOPES_RE, half_transform_table.SLOPES_IM)
    ]
    re, im = (
        value[..., part, :] + sum(slopes[part][axis] * offset[..., axis, :] for axis in range(3))
        for part in (0, 1)
    )
    weight = view.weight[:, None, None, :]
    if view.masks is not None:
        voxel = oversampled_transform.nearest_voxel(turned, view.n, axis=-2) + template_starts(
            rotations, view.n**3, view.own
        )
        weight = weight * ops.take(ops.reshape(view.masks, (-1,)), voxel, axis=0)
    return Turned([folded[..., i, :] for i in range(3)], sign, re, sign * im, *slopes, weight)


def gram_matrix(view, rotations, shifts):
    """Weighted inner products ``(b, k, c, 8, 8)`` of template, its 6 derivatives, and subtomogram.

    view: an ``Observation``. rotations ``(b, k, c, 3, 3)``, shifts ``(b, k, c, 3)`` in voxels, xyz.
    Order: template, small turns about its own x, y, z, shifts along x, y, z, subtomogram.
    """
    found = turned_templates(view, rotations)
    x_re, x_im, phase = _moved_back(view, shifts)
    re, im, x_re, x_im = (found.weight * part for part in (found.re, found.im, x_re, x_im))
    folded = [found.weight * part for part in found.folded]
    # The slopes by Rᵀk are those by its partner, of re with the sign exchanged: times Rᵀk only im keeps it.
    turns_re = _cross(found.slope_re, folded)
    turns_im = [turn * found.sign for turn in _cross(found.slope_im, folded)]
    # T(k)·exp(−2πi·k·t/n): its derivative by t is −2πi·k/n times it
    rows_re = [re, *turns_re, *(im * part for part in phase), x_re]
    rows_im = [im, *turns_im, *(-re * part for part in phase), x_im]
    blocks = _blocks(len(view.frequency))
    products = 0.0
    for rows in (rows_re, rows_im):
        rows = _in_blocks(rows, blocks)
        products = products + ops.einsum("...if,...jf->...ij", rows, rows)
    return ops.sum(products, axis=-3)


def padded_frequencies(count):
    """To how many frequencies ``count`` should be padded, with weights of 0, for a fast ``gram_matrix``."""
    blocks = -(-count // _LONGEST_BLOCK)
    return -(-count // blocks) * blocks


def _blocks(count):
    """The least number of equal blocks that are short enough."""
    return next(n for n in range(-(-count // _LONGEST_BLOCK), count + 1) if count % n == 0)


def _in_blocks(rows, blocks):
    """Rows ``(..., j)`` → ``(..., blocks, rows, j / blocks)``."""
    shape = (*rows[0].shape[1:-1], blocks, 1, rows[0].shape[-1] // blocks)
    return ops.concatenate([ops.reshape(row, (-1, *shape)) for row in rows], axis=-2)


def correlation_at(view, rotations, shifts):
    """As ``correlation(gram_matrix(...))``, without the derivatives that make up most of its cost."""
    found = turned_templates(view, rotations)
    x_re, x_im, _ = _moved_back(view, shifts)
    re, im, x_re, x_im = (found.weight * part for part in (found.re, found.im, x_re, x_im))
    inner, power_t, power_x = (
        ops.sum(product, axis=-1)
        for product in (re * x_re + im * x_im, re * re + im * im, x_re * x_re + x_im * x_im)
    )
    return _normalised(inner, power_t, power_x)


def _moved_back(view, shifts):
    """The subtomogram moved back, which spares moving templates and derivatives: re, im, phase per voxel."""
    x_re, x_im = (part[:, None, None, :] for part in (view.x_re, view.x_im))
    phase = (2.0 * np.pi / view.n * view.frequency.T).astype("float32")
    angle = ops.matmul(shifts, phase)
    cosine, sine = ops.cos(angle), ops.sin(angle)
    return x_re * cosine - x_im * sine, x_re * sine + x_im * cosine, phase


def template_starts(rotations, size, own=None):
    """Where each template begins in a flat table, ``(1, k, 1, 1)``; ``(b, k, 1, 1)`` with ``own (b,)``.

    own: which of several sets of k templates, one after the other in the table, a subtomogram has.
    """
    count = ops.shape(rotations)[1]
    first = ops.reshape(ops.arange(count, dtype="int32"), (1, -1, 1, 1))
    if own is not None:
        first = first + ops.reshape(ops.cast(own, "int32") * count, (-1, 1, 1, 1))
    return first * size


def refine(view, rotations, shifts, steps, largest_shift):
    """Climb ``steps`` times from every candidate → rotations, shifts, correlations ``(b, k, c)``.

    A step that does not raise the correlation is undone and damped more. largest_shift: voxels per step.
    """
    gram = gram_matrix(view, rotations, shifts)
    score = correlation(gram)
    damping = ops.full_like(score, _DAMPING)
    for left in reversed(range(steps)):
        turn, move = _step(ops.stop_gradient(gram), damping)
        turn, move = _at_most(turn, _LARGEST_TURN), _at_most(move, largest_shift)
        new_rotations = ops.matmul(rotations, turn_matrix(turn))
        new_shifts = shifts + move
        if left:
            new_gram = gram_matrix(view, new_rotations, new_shifts)
            new_score = correlation(new_gram)
        else:
            new_score = correlation_at(view, new_rotations, new_shifts)
        better = new_score > score
        rotations = ops.where(better[..., None, None], new_rotations, rotations)
        shifts = ops.where(better[..., None], new_shifts, shifts)
        score = ops.where(better, new_score, score)
        if left:
            gram = ops.where(better[..., None, None], new_gram, gram)
            damping = ops.where(better, damping * 0.3, damping * 10.0)
    return rotations, shifts, score


def turn_matrix(vector):
    """Rotation ``(..., 3, 3)`` by the angle |v| radians about v ``(..., 3)``: the quaternion (1, v/2) scaled.

    Exact axis; the angle 2·atan(|v|/2) agrees with |v| to third order, and no root of zero is taken.
    """
    x, y, z = (vector[..., i] / 2.0 for i in range(3))
    norm = 1.0 + x * x + y * y + z * z
    rows = [
        [1 + x * x - y * y - z * z, 2 * (x * y - z), 2 * (x * z + y)],
        [2 * (x * y + z), 1 - x * x + y * y - z * z, 2 * (y * z - x)],
        [2 * (x * z - y), 2 * (y * z + x), 1 - x * x - y * y + z * z],
    ]
    return ops.stack([ops.stack(row, axis=-1) for row in rows], axis=-2) / norm[..., None, None]


def _step(gram, damping):
    """Least squares of subtomogram ≈ amplitude·template over amplitude, turn and shift."""
    diagonal = ops.diagonal(gram[..., :7, :7], axis1=-2, axis2=-1)
    scale = 1.0 / ops.sqrt(ops.where(diagonal > _TINY, diagonal, 1.0))
    normal = gram[..., :7, :7] * scale[..., :, None] * scale[..., None, :]
    normal = normal + ops.eye(7) * (damping + 1e-6)[..., None, None]
    amplitude = gram[..., 0, 7] * scale[..., 0] ** 2
    residual = gram[..., :7, 7] - amplitude[..., None] * gram[..., :7, 0]
    # Where the template is not even positively correlated the linear model points nowhere.
    usable = amplitude * ops.sqrt(ops.maximum(gram[..., 0, 0], _TINY)) > 1e-6
    normal = ops.where(usable[..., None, None], normal, ops.eye(7))
    solution = ops.solve(normal, (residual * scale)[..., None])[..., 0] * scale
    step = solution / ops.where(usable, amplitude, 1.0)[..., None]
    step = ops.where(usable[..., None], step, 0.0)
    return step[..., 1:4], step[..., 4:7]


def _at_most(vector, length):
    norm = ops.sqrt(ops.sum(vector * vector, axis=-1, keepdims=True) + _TINY)
    return vector * ops.minimum(1.0, length / norm)


def _cross(a, b):
    """Cross product of three arrays each."""
    (ax, ay, az), (bx, by, bz) = a, b
    return [ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx]
