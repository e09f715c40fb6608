"""Exhaustive search over even rotations and a grid of shifts with phases kept: products of matrices.

Every template is turned once into a bank (rotations × low frequencies). All rotations, shifts and
subtomograms of a batch are then one matrix product, which no FFT over Euler angles can beat at the few
frequencies that a low signal leaves.
"""

from keras import ops

from zoo.ops.matching.oversampled_transform import half_ball, zoom_size, zoomed_transform
from zoo.ops.matching.rotation_bank import (
    bank_index,
    bank_voxel_index,
    even_rotations,
    shift_grid,
    shift_phases,
)

PAD = 4  # samples per Fourier voxel, so that the nearest one will do
_TINY = 1e-20
_SPACING = 0.375  # of shifts, in periods of the highest frequency of the search


def prepare_bank(settings, maps, masks=None):
    """Real templates ``(k, n, n, n)`` → dict of the turned templates ``(k, m, 2j)`` and their power.

    re and im of a frequency lie side by side: one read fetches both.
    """
    size = zoom_size(settings.search_radius, PAD) ** 3
    index = bank_index(settings.step_deg, settings.search_radius, PAD)
    zoomed = ops.stack(zoomed_transform(maps, settings.search_radius, PAD), axis=-1)
    bank = ops.take(ops.reshape(zoomed, (-1, size, 2)), index, axis=1)
    prepared = {}
    if masks is not None:
        voxels = bank_voxel_index(settings.step_deg, settings.search_radius, settings.box)
        seen = ops.take(ops.reshape(masks, (-1, settings.box**3)), voxels, axis=1)
        bank = bank * seen[..., None]
        prepared["bank_seen"] = seen * seen
    prepared["bank"] = ops.reshape(bank, (-1, index.shape[0], 2 * index.shape[1]))
    prepared["bank_power"] = bank[..., 0] ** 2 + bank[..., 1] ** 2
    return prepared


def candidate_rotations(settings, prepared, x_re, x_im, weight):
    """The ``settings.pool`` best local maxima over rotations, best shift each → ``(b, k, pool, 3, 3)``.

    x_re, x_im, weight: subtomogram and squared wedge ``(b, j)`` on the search's half ball.
    """
    rotations, neighbours = even_rotations(settings.step_deg)
    frequency = half_ball(settings.search_radius)
    shifts = shift_grid(settings.max_shift_voxels, _SPACING * settings.box / settings.search_radius)
    half, count = len(frequency), len(shifts)
    subtomograms, templates = ops.shape(x_re)[0], ops.shape(prepared["bank"])[0]
    # subtomograms moved back by every shift of the grid: (b·s, 2j)
    phases = shift_phases(frequency, shifts, settings.box).T
    cosine, sine = phases[None, :, :half], -phases[None, :, half:]
    re, im = (x_re * weight)[:, None, :], (x_im * weight)[:, None, :]
    moved = ops.stack([re * cosine - im * sine, re * sine + im * cosine], axis=-1)

    def over_rotations(bank, columns):
        """The bank is the large one: it is read once, as it lies."""
        return ops.matmul(ops.reshape(bank, (-1, bank.shape[-1])), ops.transpose(columns))

    inner = over_rotations(prepared["bank"], ops.reshape(moved, (-1, 2 * half)))  # (k·m, b·s)
    inner = ops.max(ops.reshape(inner, (templates * len(rotations), subtomograms, count)), axis=-1)
    power = over_rotations(prepared["bank_power"], weight)
    score = inner / ops.sqrt(ops.maximum(power, _TINY))
    if "bank_seen" in prepared:
        seen = over_rotations(prepared["bank_seen"], weight * (x_re**2 + x_im**2))
        score = score / ops.sqrt(ops.maximum(seen, _TINY))
    score = ops.reshape(ops.transpose(score), (subtomograms, templates, len(rotations)))
    highest = ops.max(ops.take(score, neighbours, axis=-1), axis=-1)
    peaks = ops.where(score >= highest, score, score - 1e6)
    _, index = ops.top_k(peaks, min(settings.pool, len(rotations)))
    return ops.take(rotations, index, axis=0)
