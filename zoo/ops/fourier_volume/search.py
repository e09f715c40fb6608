"""Posterior over maps, views, in-plane turns and shifts of each image, as one matrix product."""

from typing import NamedTuple

import numpy as np

from zoo.kernels import kernel
from zoo.ops.fourier_volume.half_plane import HalfPlane
from zoo.ops.fourier_volume.slices import central_slices
from zoo.ops.fourier_volume.threads import in_ranges

# Poses less likely than the best by exp(-14) are left out: a million of them would weigh less than it.
_NEGLIGIBLE = np.float32(14.0)
_BLOCK = 512
_CHUNK_VALUES = 4_000_000  # of the table of matches that a thread works on


class Bank(NamedTuple):
    """All slices that a search compares with: ``values (2 m, maps · frames)``, re before im.

    ``frames (q, 2, 3)``, ``points (m, 2)`` (the origin left out), ``power (m, maps · frames)`` = |S|².
    """

    values: np.ndarray
    power: np.ndarray
    frames: np.ndarray
    points: np.ndarray
    maps: int


class Found(NamedTuple):
    """Numbers of poses (see `decode`), ``drawn (b, d)`` and ``best (b,)``, and log evidence ``(b,)``.

    The evidence of an image is the log of the mean, over all poses, of the likelihood under the pose over
    that under no particle at all: it is about 0 or less on average where the maps know nothing of the image.
    """

    drawn: np.ndarray
    best: np.ndarray
    evidence: np.ndarray


def slice_bank(grids: np.ndarray, frames: np.ndarray, plane: HalfPlane, band: float) -> Bank:
    """Slices of each grid ``(maps, side, side, side)`` at ``frames (q, 2, 3)``, points 0 < |k| <= band."""
    points = plane.points[1 : plane.up_to(band)]
    values = np.concatenate([central_slices(grid, frames, points) for grid in grids])
    # slices as columns: the matrix product is twice as fast as with slices as rows
    values, count = np.ascontiguousarray(values.T), len(points)
    return Bank(values, values[:count] ** 2 + values[count:] ** 2, frames, points, len(grids))


@kernel(fastmath=True)
def _subtract(row, energy, highest):
    """row −= energy, and the highest value of each block of the row."""
    for block in range(highest.shape[0]):
        start = block * _BLOCK
        stop, top = min(start + _BLOCK, row.shape[0]), np.float32(-3e38)
        for q in range(start, stop):
            row[q] -= energy[q]
            top = max(top, row[q])
        highest[block] = top


@kernel()
def _draw(match, energy, uniform, drawn, best, evidence):
    images, shifts, poses = match.shape
    draws, blocks = drawn.shape[1], (poses + _BLOCK - 1) // _BLOCK
    highest = np.empty((shifts, blocks), np.float32)
    number, cumulated = np.empty(shifts * poses, np.int64), np.empty(shifts * poses)
    for i in range(images):
        for s in range(shifts):
            _subtract(match[i, s], energy[i], highest[s])
        top, kept, total = highest.max(), 0, 0.0
        for s in range(shifts):
            row = match[i, s]
            for block in range(blocks):
                if highest[s, block] < top - _NEGLIGIBLE:
                    continue
                for q in range(block * _BLOCK, min((block + 1) * _BLOCK, poses)):
                    if row[q] > top - _NEGLIGIBLE:
                        if row[q] == top:
                            best[i] = s * poses + q
                        total += np.exp(np.float64(row[q] - top))
                        number[kept], cumulated[kept] = s * poses + q, total
                        kept += 1
        evidence[i] = top + np.log(total / (shifts * poses))
        # systematic resampling: equally spaced points on the cumulative sum, one random offset
        at = 0
        for d in range(draws):
            while at < kept - 1 and cumulated[at] <= (uniform[i] + d) * total / draws:
                at += 1
            drawn[i, d] = number[at]


def search(bank: Bank, values, ctf, weights, shifts, box: int, draws: int, uniform) -> Found:
    """Posterior of images over all maps, frames and shifts, with equal prior.

    values, ctf ``(b, >= m + 1)`` of `HalfPlane`; weights ``(m,)`` or ``(b, m)``: 1 over the noise variance
    of each point of the bank; shifts ``(s, 2)`` pixels of ``box``; uniform ``(b,)`` in [0, 1) decides the
    ``draws`` of each image. log p = Σ w (2 Re(X* C S e^{-2πik·t}) − C²|S|²) (Sigworth 1998, eq. 12).
    """
    count, poses = bank.values.shape[0] // 2, bank.values.shape[1]
    x, c = values[:, 1 : count + 1], ctf[:, 1 : count + 1]
    weights = np.broadcast_to(np.asarray(weights, np.float32), (len(x), count))
    phase = np.exp(2j * np.pi / box * (shifts @ bank.points.T)).astype(np.complex64)
    found = Found(
        np.empty((len(x), draws), np.int64), np.empty(len(x), np.int64), np.empty(len(x), np.float64)
    )

    def part(start, stop):
        rows = slice(start, stop)
        moved = (x[rows] * (2 * c[rows] * weights[rows]))[:, None] * phase
        moved = np.concatenate([moved.real, moved.imag], axis=-1).reshape(-1, 2 * count)
        match = (moved @ bank.values).reshape(stop - start, len(shifts), poses)
        energy = (c[rows] ** 2 * weights[rows]) @ bank.power
        _draw(match, energy, uniform[rows], found.drawn[rows], found.best[rows], found.evidence[rows])

    in_ranges(part, len(x), max(1, _CHUNK_VALUES // (len(shifts) * poses)))
    return found


def decode(bank: Bank, shifts: np.ndarray, number: np.ndarray):
    """Numbers of poses ``(...)`` → which map ``(...)``, frames ``(..., 2, 3)`` and shifts ``(..., 2)``."""
    poses, frames = bank.values.shape[1], len(bank.frames)
    inside = number % poses
    return inside // frames, bank.frames[inside % frames], shifts[number // poses]
