"""Local maxima of a volume, and the best of them that lie far enough apart."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

_NEIGHBOURS = np.array(
    [(z, y, x) for z in (-1, 0, 1) for y in (-1, 0, 1) for x in (-1, 0, 1) if (z, y, x) != (0, 0, 0)]
)
_AT_ONCE = 4096


def local_maxima(
    volume: np.ndarray, part: tuple[slice, slice, slice], sign: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Voxels of ``part`` that exceed 0 and their 26 neighbours: places (n, 3) zyx in ``volume``, values (n,).

    The neighbours may lie outside of the part; what is outside of the volume is none. Of equal
    neighbours the first in the order of the array is the maximum. ``sign`` -1: of the negated volume.
    """
    exceeds = np.greater if sign > 0 else np.less
    candidates = exceeds(volume[part], 0)
    for axis in range(3):
        _keep_peaks_of_lines(candidates, volume, part, axis, exceeds)
    found = np.unravel_index(np.flatnonzero(candidates), candidates.shape)
    places = np.stack(found, axis=1) + [each.start for each in part]
    values = sign * volume[tuple(places.T)]
    is_peak = np.ones(len(places), bool)
    for number, step in enumerate(_NEIGHBOURS):
        beside = places + step
        inside = ((beside >= 0) & (beside < volume.shape)).all(axis=1)
        other = np.full(len(places), -np.inf, volume.dtype)
        other[inside] = sign * volume[tuple(beside[inside].T)]
        is_peak &= values > other if number < len(_NEIGHBOURS) // 2 else values >= other
    return places[is_peak], values[is_peak]


def _keep_peaks_of_lines(candidates, volume, part, axis: int, exceeds) -> None:
    """Drop candidates that do not exceed the voxel before along an axis, or that the one after exceeds."""
    low, high = part[axis].start, part[axis].stop
    first, last = max(low - 1, 0), min(high + 1, volume.shape[axis])

    def along(start: int, stop: int) -> tuple[slice, ...]:
        return tuple(slice(start, stop) if number == axis else part[number] for number in range(3))

    # from each voxel to the next
    rises = exceeds(volume[along(first + 1, last)], volume[along(first, last - 1)])

    def of(array, start: int, stop: int) -> np.ndarray:
        return array[tuple(slice(start, stop) if number == axis else slice(None) for number in range(3))]

    has_before, has_after = low - first, last - high  # 1, or 0 at a face
    before = of(candidates, 1 - has_before, high - low)
    before &= of(rises, 0, high - first - 1)
    after = of(candidates, 0, high - low - 1 + has_after)
    after &= ~of(rises, low - first, last - first - 1)


def best_apart(
    places: np.ndarray, scores: np.ndarray, distance: float, count: int | None = None
) -> np.ndarray:
    """Indices of peaks, best score first, each at least ``distance`` from all better ones that are kept.

    Of equal scores the one that comes first in (z, y, x) is taken. ``count`` ends the search.
    """
    order = np.lexsort((*places.T[::-1], -scores))
    places = places[order]
    tree = cKDTree(places)
    open_ = np.ones(len(places), bool)
    kept: list[int] = []
    reach = np.nextafter(distance, 0)
    for start in range(0, len(places), _AT_ONCE):
        batch = start + np.flatnonzero(open_[start : start + _AT_ONCE])
        near = tree.query_ball_point(places[batch], reach) if len(batch) else []
        for index, others in zip(batch.tolist(), near, strict=True):
            if not open_[index]:
                continue
            kept.append(index)
            if len(kept) == count:
                return order[kept]
            open_[others] = False
    return order[np.array(kept, dtype=np.int64)]
