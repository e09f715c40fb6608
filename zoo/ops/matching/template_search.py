"""One subtomogram against many templates: the subtomogram is turned, once for all of them. NumPy alone.

Score of a template T at rotation R and shift u (in its own frame; subtomogram(x) = template(Rᵀx − u)):
Re Σ X·conj(w·T) / (‖w·T‖·‖X‖) with X and its weights w turned into the template's frame, over one of every
pair ±k of frequencies within a radius that w leaves, without 0: the constrained correlation of Förster et al.
(2008), with the template as the microscope would show it. X = w·T scores 1. With ``whiten`` X and w are
divided by the root of the mean power of X in each shell first: the matched filter of noise that is not white.

A coarse search multiplies the subtomogram, at every rotation of an even grid, with all templates at every
shift of a grid: one product of matrices. The best rotations are followed uphill (Gauss-Newton in turn and
shift, as `zoo.ops.matching.rigid_refinement` does for few templates).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft

from zoo.ops.matching import fourier_grid
from zoo.ops.matching.prepared_templates import SearchSettings, frequencies_of, frequencies_within
from zoo.ops.matching.rotation_bank import shift_grid, shift_phases
from zoo.ops.rotation_grid import so3_grid

# Samples per Fourier voxel: of the transform, of which value and slope are read, and of the weights, of which
# the nearest is (from the nearest voxel, without samples between, ‖w·T‖ would be 4 % off).
_PAD, _WEIGHT_PAD = 2, 4
_COARSE_SPACING, _FINE_SPACING = 0.375, 0.25  # of shifts, in periods of the highest frequency
_POOL = 64
_ROWS, _BATCH = 512, 32  # rotations and templates of one product of matrices: what the caches hold
_LARGEST_TURN = 0.15  # radians in one step
_DAMPING = 1e-3
_LEAST_POWER = 1e-3  # of the strongest shell: what a map without noise has in its last is not raised more
_TINY = 1e-20


@dataclass(frozen=True)
class Found:
    """Score (k,), rotation (k, 3, 3) and shift (k, 3) in voxels xyz of each of k templates.

    Shifts are those of the subtomogram: subtomogram(x) = template(Rᵀ(x − shift)). ``rotations_scored`` of
    ``rotations_known`` were compared with all translations, where a search counts them.
    """

    scores: np.ndarray
    rotations: np.ndarray
    shifts: np.ndarray
    rotations_scored: int = 0
    rotations_known: int = 0


class Subtomogram:
    """A subtomogram (n, n, n) and its Fourier weights, ready to be compared with any number of templates.

    weights (n, n, n), DC at n // 2, 1 where measured; the volume as measured (its wedge is missing). Raises
    ValueError where the weights leave nothing.
    """

    def __init__(self, settings: SearchSettings, volume: np.ndarray, weights: np.ndarray):
        self.settings = settings
        n, radius = settings.box, settings.radius
        weights = np.asarray(weights, np.float32)
        volume = np.asarray(volume, np.float32)
        spectrum = fft.fftn(fft.ifftshift(volume - volume.mean()))
        if settings.whiten:
            gain = _whitening(np.abs(fft.fftshift(spectrum)) ** 2, weights)
            spectrum, weights = spectrum * fft.ifftshift(gain), weights * gain
        index = fourier_grid.voxel_index(settings.frequencies, n)
        power = np.abs(fft.fftshift(spectrum).ravel()[index]) ** 2 / n**3
        norm = float(np.sqrt(power[weights.ravel()[index] > 0].sum()))
        if not norm > 0:
            raise ValueError("the weights leave no frequency, or the volume is constant")
        # w·X is sampled, not X: between a frequency that is measured and one that is not lies half of it
        weighted = fft.fftshift(fft.ifftn(spectrum * fft.ifftshift(weights)).real)
        self._table = _table(weighted.astype(np.float32) / norm, radius)
        self._weights = _between(np.square(weights), radius)
        self._coarse: tuple[np.ndarray, np.ndarray] | None = None

    def match(self, prepared: np.ndarray, threads: int = 1) -> Found:
        """The best pose of each prepared template (k, 4, j): coarse search, then uphill.

        Templates are taken in batches by ``threads`` threads, each of which multiplies matrices: those of the
        BLAS should then be one. The result does not depend on how many there are.
        """
        self._bank()
        parts = [prepared[start : start + _BATCH] for start in range(0, len(prepared), _BATCH)]
        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(lambda part: self._uphill(part, self._best_rotations(part)), parts))
        scores, turned, shifts = (np.concatenate(part) for part in zip(*found, strict=True))
        return Found(scores, turned, np.einsum("kij,kj->ki", turned, shifts))

    def match_exhaustively(self, prepared: np.ndarray, reach: float | None = None) -> Found:
        """All rotations of the grid, all translations by FFT, none in between: slow, and exact on its grid.

        A rotation's score at any translation is at most Σ |X|·w·|T| / (‖w·T‖·‖X‖): rotations are taken in
        the order of this bound, and left out where it says that they cannot be the best. With ``reach``
        templates are left out that cannot score as much at any rotation: their score is −2, the rest is
        as without.
        """
        grid = _grid(self.settings.step_deg)
        bank, weights = self._turned(grid, self.settings.radius)
        magnitude = np.abs(bank)
        shifts, size, allowed = _all_shifts(self.settings)
        scores, best, moved = (np.full(len(prepared), -2.0), np.zeros(len(prepared), int),
                               np.zeros((len(prepared), 3)))  # fmt: skip
        scored = 0
        for number, (template, *_) in enumerate(prepared):
            norm = np.sqrt(np.maximum(weights @ np.abs(template) ** 2, _TINY))
            bound = (magnitude @ np.abs(template)) / norm + 1e-6  # the sums' own rounding
            for row in np.argsort(-bound):
                if bound[row] <= scores[number] or (reach is not None and bound[row] < reach):
                    break
                scored += 1
                value = self._over_shifts(bank[row] * np.conj(template), size)[allowed] / norm[row]
                at = int(value.argmax())
                if value[at] > scores[number]:
                    scores[number], best[number], moved[number] = value[at], row, shifts[at]
            if reach is not None and scores[number] < reach:
                scores[number] = -2.0
        turned = grid[best]
        known = len(prepared) * len(grid)
        return Found(scores, turned, np.einsum("kij,kj->ki", turned, moved), scored, known)

    def scores_at(self, prepared: np.ndarray, rotations: np.ndarray, shifts: np.ndarray) -> np.ndarray:
        """Scores (k,) of prepared templates at given rotations (k, 3, 3) and shifts (k, 3) in voxels."""
        own = np.einsum("kji,kj->ki", rotations, shifts)
        x, weight = self._read(rotations, self.settings.radius)
        return self._score(prepared[:, 0], x, weight, own, self.settings.frequencies)

    def _best_rotations(self, prepared: np.ndarray) -> np.ndarray:
        """The rotations to follow uphill, (k, c, 3, 3)."""
        settings = self.settings
        grid = _grid(settings.step_deg)
        bank, weights = self._bank()
        low = frequencies_within(settings.radius, settings.search_radius)
        frequency = settings.frequencies[low]
        spacing = _COARSE_SPACING * settings.box / settings.search_radius
        shifts = shift_grid(settings.max_shift_voxels, spacing)
        phase = np.exp(-2j * np.pi / settings.box * (frequency @ shifts.T)).astype(np.complex64)
        low_part = prepared[:, 0][:, low]
        moved = low_part.T[:, None, :] * phase[:, :, None]  # (j, s, k)
        columns = np.concatenate([moved.real, moved.imag]).reshape(2 * len(low), -1)
        power = (np.abs(low_part) ** 2).T
        score = np.empty((len(grid), len(prepared)), np.float32)
        for row in range(0, len(grid), _ROWS):
            inner = bank[row : row + _ROWS] @ columns
            best = inner.reshape(len(inner), len(shifts), -1).max(axis=1)
            norm = weights[row : row + _ROWS] @ power
            score[row : row + _ROWS] = best / np.sqrt(np.maximum(norm, _TINY))
        return grid[_apart(score.T, settings)]

    def _bank(self) -> tuple[np.ndarray, np.ndarray]:
        if self._coarse is None:
            bank, weights = self._turned(_grid(self.settings.step_deg), self.settings.search_radius)
            self._coarse = (np.concatenate([bank.real, bank.imag], axis=1), weights)
        return self._coarse

    def _turned(self, rotations, radius):
        parts = [
            self._read(rotations[start : start + _ROWS], radius) for start in range(0, len(rotations), _ROWS)
        ]
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))

    def _read(self, rotations, radius):
        """w·X complex64 and w² float32 at R·k, (m, j) each: by value and slope at the nearest sample."""
        settings = self.settings
        frequency = settings.frequencies[frequencies_within(settings.radius, radius)]
        points = np.matmul(frequency, np.swapaxes(rotations, -1, -2).astype(np.float32))
        whole = np.rint(points * _PAD)
        off = points - whole / _PAD
        size = fourier_grid.zoom_size(settings.radius, _PAD)
        flat = whole @ np.array([1, size, size * size], np.float32)
        value = self._table[flat.astype(np.int32) + size**3 // 2]
        x = value[..., 0] + off[..., 0] * value[..., 1]
        x += off[..., 1] * value[..., 2]
        x += off[..., 2] * value[..., 3]
        size = fourier_grid.zoom_size(settings.radius, _WEIGHT_PAD)
        flat = np.rint(points * _WEIGHT_PAD) @ np.array([1, size, size * size], np.float32)
        return x, self._weights[flat.astype(np.int32) + size**3 // 2]

    def _uphill(self, prepared, rotations):
        """Best score, rotation and shift (in the template's frame) of each template from its candidates."""
        settings = self.settings
        middle = round((settings.search_radius * settings.radius) ** 0.5)
        shifts = self._best_shifts(prepared, rotations, middle)
        keep = min(2, rotations.shape[1])
        rotations, shifts, scores = self._climb(prepared, rotations, shifts, middle, 1)
        order = np.argsort(-scores, axis=1)[:, :keep]
        rotations = np.take_along_axis(rotations, order[..., None, None], 1)
        shifts = np.take_along_axis(shifts, order[..., None], 1)
        rotations, shifts, scores = self._climb(prepared, rotations, shifts, settings.radius, 2)
        row, best = np.arange(len(prepared)), scores.argmax(axis=1)
        return scores[row, best], rotations[row, best], shifts[row, best]

    def _best_shifts(self, prepared, rotations, radius):
        """The best fine shift at each candidate rotation, (k, c, 3), in the template's frame."""
        settings = self.settings
        k, c = rotations.shape[:2]
        inside = frequencies_within(settings.radius, radius)
        frequency = settings.frequencies[inside]
        x, _ = self._read(rotations.reshape(-1, 3, 3), radius)
        product = x.reshape(k, c, -1) * np.conj(prepared[:, 0][:, inside])[:, None]
        shifts = shift_grid(settings.max_shift_voxels, _FINE_SPACING * settings.box / radius)
        columns = shift_phases(frequency, shifts, settings.box)
        both = np.concatenate([product.real, product.imag], axis=-1).reshape(k * c, -1)
        return shifts[(both @ columns).argmax(axis=1)].reshape(k, c, 3)

    def _climb(self, prepared, rotations, shifts, radius, steps):
        """Gauss-Newton: rotations, shifts and scores (k, c) after ``steps`` that are kept where they help."""
        settings = self.settings
        k, c = rotations.shape[:2]
        inside = frequencies_within(settings.radius, radius)
        frequency = settings.frequencies[inside]
        templates = np.repeat(prepared[:, :, inside], c, axis=0)  # (k·c, 4, j)
        rotations, shifts = rotations.reshape(-1, 3, 3), shifts.reshape(-1, 3)
        x, weight = self._read(rotations, radius)
        scores = self._score(templates[:, 0], x, weight, shifts, frequency)
        damping = np.full(len(scores), _DAMPING)
        for left in range(steps, 0, -1):
            turn, move = self._step(templates, x, weight, shifts, frequency, damping)
            made = _turn_matrices(turn)
            new_rotations = rotations @ made
            new_shifts = np.einsum("mji,mj->mi", made, shifts + move)
            new_x, new_weight = self._read(new_rotations, radius)
            new_scores = self._score(templates[:, 0], new_x, new_weight, new_shifts, frequency)
            better = new_scores > scores
            better &= (new_shifts**2).sum(1) <= (1.2 * settings.max_shift_voxels + 1.0) ** 2
            scores = np.where(better, new_scores, scores)
            rotations = np.where(better[:, None, None], new_rotations, rotations)
            shifts = np.where(better[:, None], new_shifts, shifts)
            if left > 1:
                x = np.where(better[:, None], new_x, x)
                weight = np.where(better[:, None], new_weight, weight)
                damping = np.where(better, damping * 0.3, damping * 30.0)
        return rotations.reshape(k, c, 3, 3), shifts.reshape(k, c, 3), scores.reshape(k, c)

    def _score(self, template, x, weight, shifts, frequency):
        moved = x * _phases(frequency, shifts, self.settings.box)
        inner = (moved.real * template.real + moved.imag * template.imag).sum(axis=1)
        power = (weight * (template.real**2 + template.imag**2)).sum(axis=1)
        return inner / np.sqrt(np.maximum(power, _TINY))

    def _step(self, templates, x, weight, shifts, frequency, damping):
        """Turn about the template's own axes (radians) and shift (voxels), (m, 3) each, of least squares."""
        n = self.settings.box
        along = templates[:, :1] * (-2j * np.pi / n * frequency.T.astype(np.complex64))
        rows = np.concatenate([templates, along], axis=1)  # (m, 7, j)
        moved = (x * _phases(frequency, shifts, n)).view(np.float32)
        inner = np.matmul(rows.view(np.float32), moved[..., None])[..., 0].astype(np.float64)
        rows *= np.sqrt(weight)[:, None]
        rows = rows.view(np.float32)
        gram = np.matmul(rows, np.swapaxes(rows, 1, 2)).astype(np.float64)
        scale = 1.0 / np.sqrt(np.maximum(np.einsum("mii->mi", gram), _TINY))
        normal = gram * scale[:, :, None] * scale[:, None, :]
        normal += np.eye(7) * (damping[:, None, None] + 1e-6)
        amplitude = inner[:, 0] * scale[:, 0] ** 2
        usable = amplitude > 1e-9
        residual = (inner - amplitude[:, None] * gram[:, :, 0]) * scale
        solved = np.linalg.solve(normal, residual[..., None])[..., 0] * scale
        step = np.where(usable[:, None], solved / np.where(usable, amplitude, 1.0)[:, None], 0.0)
        largest = n / (4.0 * self.settings.search_radius)
        return _at_most(step[:, 1:4], _LARGEST_TURN), _at_most(step[:, 4:], largest)

    def _over_shifts(self, product, size):
        """Re Σ product·exp(2πi·k·u/n) at every u = n·i/size, flat: one transform."""
        cube = np.zeros((size,) * 3, np.complex64)
        cube[_cube_index(self.settings.radius, size)] = product
        return fft.ifftn(cube).real.ravel() * size**3


def _whitening(power, weights):
    """1 / root of the mean power (n, n, n) of every shell where ``weights`` are not 0; DC at n // 2."""
    n = power.shape[0]
    axis = np.square(np.arange(n) - n // 2, dtype=float)
    radius = np.sqrt(axis + axis[:, None] + axis[:, None, None])
    seen = (weights > 0) & (radius > 0)
    shell = np.rint(radius[seen]).astype(int)
    count = np.bincount(shell, minlength=n)
    known = np.flatnonzero(np.bincount(shell, power[seen], n) > 0)
    if not len(known):
        return np.ones(power.shape, np.float32)
    mean = np.bincount(shell, power[seen], n)[known] / count[known]
    gain = np.interp(radius, known, 1.0 / np.sqrt(np.maximum(mean, _LEAST_POWER * mean.max())))
    return (gain / gain.max()).astype(np.float32)


def _table(volume, radius):
    """Transform and its slopes by kx, ky, kz at every 1/pad Fourier voxel: complex64 (q³, 4), z slowest."""
    n = volume.shape[-1]
    volume = volume / (n**1.5 * fourier_grid.reading_gain(n, _PAD))
    axis = (np.arange(n) - n // 2).astype(np.float32)
    matrix = fourier_grid.fourier_matrix(n, radius, _PAD)
    places = (1.0, axis, axis[:, None], axis[:, None, None])
    table = np.empty((len(matrix) ** 3, 4), np.complex64)
    for column, place in enumerate(places):
        found = np.matmul(volume * np.float32(1.0) * place, matrix.T)  # (z, y, kx)
        found = np.matmul(matrix, found)  # (z, ky, kx)
        found = np.tensordot(matrix, found, axes=(1, 0))
        table[:, column] = (found if column == 0 else -2j * np.pi / n * found).ravel()
    return table


def _between(weights, radius):
    """Weights (n, n, n) by linear interpolation at every 1/pad Fourier voxel: float32 (q³,)."""
    n = weights.shape[0]
    reach = (radius + fourier_grid.MARGIN) * _WEIGHT_PAD
    at = np.arange(-reach, reach + 1)
    at = np.clip(at / _WEIGHT_PAD + n // 2, 0, n - 1)
    low = np.minimum(at.astype(int), n - 2)
    share = (at - low).astype(np.float32)
    for axis in range(3):
        shape = [-1 if each == axis else 1 for each in range(3)]
        first, second = np.take(weights, low, axis), np.take(weights, low + 1, axis)
        weights = first + share.reshape(shape) * (second - first)
    return np.ascontiguousarray(weights).ravel()


def _apart(score, settings):
    """Rows of ``score`` (k, m) → the places (k, c) of its best rotations, 1.5 steps apart where there are."""
    grid = _grid(settings.step_deg)
    pool = min(_POOL, len(grid))
    at = np.argpartition(-score, pool - 1, axis=1)[:, :pool]
    value = np.take_along_axis(score, at, 1)
    matrices = grid[at].reshape(*at.shape, 9)
    chosen = np.empty((len(score), settings.candidates), int)
    near = 1.0 + 2.0 * np.cos(np.radians(1.5 * settings.step_deg))
    row = np.arange(len(score))
    for place in range(settings.candidates):
        best = value.argmax(axis=1)
        chosen[:, place] = at[row, best]
        trace = np.einsum("kpi,ki->kp", matrices, matrices[row, best])
        value = np.where(trace > near, value - 10.0, value)
    return chosen


def _phases(frequency, shifts, n):
    angle = (shifts @ frequency.T) * (2.0 * np.pi / n)
    out = np.empty(angle.shape, np.complex64)
    out.real, out.imag = np.cos(angle, dtype=np.float32), np.sin(angle, dtype=np.float32)
    return out


def _turn_matrices(vector):
    """Rotations (m, 3, 3) by |v| radians about v (m, 3): the quaternion (1, v/2), scaled."""
    x, y, z = (vector[:, i] / 2.0 for i in range(3))
    norm = 1.0 + x * x + y * y + z * z
    rows = [
        [1 + x * x - y * y - z * z, 2 * (x * y - z), 2 * (x * z + y)],
        [2 * (x * y + z), 1 - x * x + y * y - z * z, 2 * (y * z - x)],
        [2 * (x * z - y), 2 * (y * z + x), 1 - x * x - y * y + z * z],
    ]
    return np.moveaxis(np.array(rows), -1, 0) / norm[:, None, None]


def _at_most(vector, length):
    norm = np.sqrt((vector**2).sum(axis=1, keepdims=True) + _TINY)
    return vector * np.minimum(1.0, length / norm)


@lru_cache(maxsize=4)
def _grid(step_deg):
    return so3_grid(step_deg).astype(np.float32)


@lru_cache(maxsize=4)
def _all_shifts(settings):
    """Shifts (s, 3) xyz that one transform gives within the largest, its size, and where they lie in it."""
    size = fft.next_fast_len(max(2 * settings.radius + 1, settings.box))
    axis = fft.fftfreq(size, 1.0 / size) * settings.box / size
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    shifts = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    allowed = np.flatnonzero((shifts**2).sum(1) <= settings.max_shift_voxels**2 * (1 + 1e-6))
    return shifts[allowed], size, allowed


@lru_cache(maxsize=4)
def _cube_index(radius, size):
    k = frequencies_of(radius).astype(int)
    return k[:, 2] % size, k[:, 1] % size, k[:, 0] % size
