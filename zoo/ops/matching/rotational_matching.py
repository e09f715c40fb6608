"""Where do templates lie in subtomograms? Candidates of rotation and shift, best first.

subtomogram(x) = template(Rᵀ(x − c − t) + c), c = voxel N//2, x and t xyz in voxels. Scores are the
constrained correlation of Zhao et al. (FAML), equation 1, divided by the norm of the observed subtomogram,
so that they lie in [−1, 1]; the zero frequency is left out.

Two ways to find candidates: ``magnitude`` bounds the correlation over all shifts by the magnitudes of what
lies in the box's sphere, for all rotations at once; ``phase`` searches even rotations and a grid of shifts
jointly with low frequencies. Both then find the shift of each and refine on more frequencies.
"""

import numpy as np
from keras import ops

from zoo.ops import fourier
from zoo.ops.matching import magnitude_search, phase_search
from zoo.ops.matching.half_transform_table import half_zoom
from zoo.ops.matching.match_settings import MatchSettings
from zoo.ops.matching.oversampled_transform import half_ball, voxel_index
from zoo.ops.matching.rigid_refinement import (
    Observation,
    padded_frequencies,
    refine,
    turn_matrix,
    turned_templates,
)
from zoo.ops.matching.rotation_bank import shift_grid, shift_phases

UNUSED_SCORE = -2.0  # below any correlation: a place without a candidate of its own
_FINE_PAD = 2
_SHIFT_SPACING = 0.2  # in periods of the highest frequency of the search
_QUICK_STEPS = 2
_TINY = 1e-20
# Two candidates nearer than this are one.
_SAME_CHORD, _SAME_SHIFT = 0.05, 0.02  # |R1 − R2| (about 2 degrees) and shift in boxes


def prepare_templates(settings: MatchSettings, templates_ft, masks=None):
    """Templates as centred transforms (re, im) ``(k, n, n, n)`` → dict of all that ``match`` needs of them.

    Compute it once for any number of subtomograms. masks ``(k, n, n, n)``: 1 where the template itself was
    observed (an average keeps its own wedge hole); None if everywhere. Templates are taken inside the
    sphere that stays in the box when turned.
    """
    n = settings.box
    maps = _inside_sphere(fourier.ifft3(*templates_ft)[0])
    maps = maps / ops.maximum(_norm(maps), _TINY)
    radius = settings.zoom_radius
    prepared = {"fine": half_zoom(maps, radius, _FINE_PAD)}
    if masks is not None:
        masks = ops.reshape(ops.cast(masks, "float32"), (-1, n, n, n))
        prepared["masks"] = masks
    if settings.mode == "phase":
        prepared.update(phase_search.prepare_bank(settings, maps, masks))
    else:
        prepared.update(
            magnitude_search.prepare_magnitudes(settings, prepared["fine"], radius, _FINE_PAD, masks)
        )
    return prepared


def match(settings: MatchSettings, subtomograms_ft, wedges, prepared, near=None, range_deg=0.0, own=None):
    """Subtomograms (re, im) and Fourier masks ``(b, n, n, n)``, prepared templates → candidates, best first.

    Returns rotations ``(b, k, c, 3, 3)``, shifts ``(b, k, c, 3)`` in voxels and scores ``(b, k, c)``.
    Transforms are centred at N//2; those of subtomograms as measured, wedges their weights. Candidates that
    climbed the same peak as a better one have ``UNUSED_SCORE`` and come last. Scores, not poses, have
    gradients. With ``near (b, 3, 3)`` the search is a local one: it begins from rotations up to ``range_deg``
    away from these and does not leave that range. With ``own (b,)``, 0 or 1, the templates are two sets of k,
    one after the other, and each subtomogram is compared with its own.
    """
    n = settings.box
    wedges = ops.cast(wedges, "float32")
    re, im = (ops.cast(part, "float32") for part in subtomograms_ft)
    large = half_ball(settings.refine_radius)
    index = voxel_index(large, n)
    x_re, x_im, wedge = (ops.take(ops.reshape(a, (-1, n**3)), index, axis=1) for a in (re, im, wedges))
    scale = ops.sqrt(ops.sum(wedge**2 * (x_re**2 + x_im**2), axis=-1, keepdims=True) + _TINY)
    x_re, x_im = x_re / scale, x_im / scale

    low = _subset(large, settings.search_radius)
    x_low = [ops.take(a, low, axis=1) for a in (x_re, x_im, wedge**2)]
    templates = prepared["fine"].shape[0] // (1 if own is None else 2)
    if near is not None:
        rotations = _around(near, range_deg, settings.pool, templates)
    elif settings.mode == "phase":
        rotations = phase_search.candidate_rotations(settings, prepared, *x_low)
    else:
        seen = ops.cast(wedges > 0.0, "float32")
        # Magnitudes take up the noise of the whole box, of which the sphere holds less than half.
        maps = _inside_sphere(fourier.ifft3(re * seen, im * seen)[0])
        rotations = magnitude_search.candidate_rotations(settings, prepared, maps / _norm(maps), wedges)
    if own is not None and near is None:
        # The search is a small part of the work: both sets are searched, the one that is not its own dropped.
        second = ops.reshape(ops.equal(own, 1), (-1, 1, 1, 1, 1))
        rotations = ops.where(second, rotations[:, templates:], rotations[:, :templates])

    def view(radius):
        subset = _subset(large, radius)
        none = ((0, 0), (0, padded_frequencies(len(subset)) - len(subset)))
        x = [ops.pad(ops.take(a, subset, axis=1), none) for a in (x_re, x_im, wedge)]
        frequency = np.pad(large[subset], none[::-1])
        zoomed = ops.reshape(prepared["fine"], (-1, 8))
        where = (frequency, n, settings.zoom_radius, _FINE_PAD, zoomed)
        return Observation(*where, *x, prepared.get("masks"), own)

    found = _with_shifts(settings, view(settings.search_radius), ops.stop_gradient(rotations))
    rotations, shifts, scores = (ops.stop_gradient(part) for part in found)
    largest_step = n / (4.0 * settings.search_radius)
    for radius, count in settings.rounds:
        rotations, shifts, scores = _best(rotations, shifts, scores, count)
        steps = settings.refine_steps if radius == settings.refine_radius else _QUICK_STEPS
        before = rotations, shifts, scores
        rotations, shifts, scores = refine(view(radius), rotations, shifts, steps, largest_step)
        if near is not None:  # what climbs out of the range stays where it began
            cosine = (ops.sum(rotations * near[:, None, None], axis=(-2, -1)) - 1.0) / 2.0
            inside = cosine >= np.cos(np.radians(range_deg)) - 1e-5
            scores = ops.where(inside, scores, before[2])
            shifts = ops.where(inside[..., None], shifts, before[1])
            rotations = ops.where(inside[..., None, None], rotations, before[0])
    return _distinct(*_best(rotations, shifts, scores, settings.candidates), n)


def _with_shifts(settings, view, rotations):
    """Rotations, the best shift of each, and its score, by a transform of few frequencies."""
    found = turned_templates(view, rotations)
    re, im = found.weight * found.re, found.weight * found.im
    x_re, x_im = (found.weight * part[:, None, None, :] for part in (view.x_re, view.x_im))
    product = ops.concatenate([x_re * re + x_im * im, x_im * re - x_re * im], axis=-1)
    shifts = shift_grid(settings.max_shift_voxels, _SHIFT_SPACING * settings.box / settings.search_radius)
    inner = ops.matmul(product, shift_phases(view.frequency, shifts, settings.box))
    power = ops.sum(re**2 + im**2, axis=-1)
    scores = ops.max(inner, axis=-1) / ops.sqrt(ops.maximum(power, _TINY))
    return rotations, ops.take(shifts, ops.argmax(inner, axis=-1), axis=0), scores


def _around(near, range_deg, count, templates):
    """``near (b, 3, 3)`` and ``count`` - 1 rotations evenly up to ``range_deg`` about it, (b, k, c, 3, 3)."""
    index = np.arange(count)
    height = 1 - 2 * (index + 0.5) / count
    ring = np.pi * (1 + 5**0.5) * index  # a spiral over the sphere of axes, its angles filling the ball
    axes = np.stack([np.cos(ring), np.sin(ring), np.zeros(count)]) * np.sqrt(1 - height**2)
    axes[2] = height
    angles = np.radians(range_deg) * ((index * 0.6180339887) % 1) ** (1 / 3)  # 0 for the first
    turns = turn_matrix(ops.convert_to_tensor((axes * angles).T.astype("float32")))
    around = ops.matmul(near[:, None], turns)
    return ops.repeat(around[:, None], templates, axis=1)


def _subset(frequency, radius):
    """Which frequencies lie within a smaller ball; the same order as ``half_ball(radius)``."""
    return np.flatnonzero((frequency**2).sum(-1) <= radius**2).astype("int32")


def _best(rotations, shifts, scores, count):
    count = min(count, scores.shape[-1])
    scores, index = ops.top_k(scores, count)
    shifts = ops.take_along_axis(shifts, index[..., None], axis=2)
    return ops.take_along_axis(rotations, index[..., None, None], axis=2), shifts, scores


def _distinct(rotations, shifts, scores, n):
    """Candidates sorted by score: those on the peak of a better one go to the end."""
    chord = ops.sum((rotations[:, :, :, None] - rotations[:, :, None]) ** 2, axis=(-2, -1))
    apart = ops.sum((shifts[:, :, :, None] - shifts[:, :, None]) ** 2, axis=-1)
    same = ops.logical_and(chord < _SAME_CHORD**2, apart < (_SAME_SHIFT * n) ** 2)
    earlier = np.tril(np.ones((scores.shape[-1],) * 2, bool), -1)
    repeated = ops.any(ops.logical_and(same, earlier), axis=-1)
    return _best(rotations, shifts, ops.where(repeated, UNUSED_SCORE, scores), scores.shape[-1])


def _norm(maps):
    return ops.sqrt(ops.sum(maps**2, axis=(-3, -2, -1), keepdims=True) + _TINY) * maps.shape[-1] ** 1.5


def _inside_sphere(maps):
    """Maps minus the mean at the sphere's edge, faded to 0 there."""
    n = maps.shape[-1]
    edge = max(2.0, n / 16)
    r = np.sqrt((fourier.frequency_grid_3d(n).astype("float64") ** 2).sum(-1)) * n
    fade = np.clip((n / 2 - r) / edge, 0.0, 1.0)
    window = (0.5 - 0.5 * np.cos(np.pi * fade)).astype("float32")
    rim = ((fade > 0) & (fade < 1)).astype("float32")
    background = ops.sum(maps * (rim / rim.sum()), axis=(-3, -2, -1), keepdims=True)
    return (maps - background) * window
