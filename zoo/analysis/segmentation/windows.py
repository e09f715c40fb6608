"""The windows that a tomogram is given to a model in, and what it says of each voxel, put together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np

from zoo.analysis.segmentation.grey_values import GreyValues, Part

Predict = Callable[[np.ndarray], np.ndarray]
_AT_ONCE = 16  # windows of the size of a record


def mirrored_ways(predict: Predict) -> Predict:
    """The mean of what a model says of windows (b, z, y, x) and their seven mirror images, brought back."""

    def mean(cubes: np.ndarray) -> np.ndarray:
        total: np.ndarray | float = 0.0
        for way in product((False, True), repeat=3):
            axes = tuple(axis + 1 for axis, mirror in enumerate(way) if mirror)
            total = total + np.flip(predict(np.ascontiguousarray(np.flip(cubes, axes))), axes)
        return np.asarray(total / 8, np.float32)

    return mean


def plan_cores(shape: tuple[int, int, int], side: int, multiple: int) -> list[Part]:
    """Parts of at most ``side`` voxels along each axis that tile a volume; all begin at a ``multiple``."""
    axes = []
    for size in shape:
        step = math.ceil(size / math.ceil(size / side) / multiple) * multiple
        axes.append([slice(start, min(start + step, size)) for start in range(0, size, step)])
    return [(z, y, x) for z, y, x in product(*axes)]


class WholeWindows:
    """Windows larger than a core by as far as the model sees, but no larger than the tomogram.

    The result is that of the whole tomogram at once, to float rounding: of a model that treats all places
    alike but for their remainder by ``multiple``, and sees no farther than ``reach`` voxels beyond a block of
    so many. The faces of the tomogram are seen as those of the records were; where its sides are no whole
    multiples, it is mirrored at the far ones up to the next.
    """

    def __init__(self, grey: GreyValues, predict: Predict, reach: int, multiple: int):
        self._grey, self._predict, self._multiple = grey, predict, multiple
        self._reach = math.ceil(reach / multiple) * multiple

    def of(self, core: Part) -> np.ndarray:
        """What the model says of the voxels of a core, (z, y, x, classes)."""
        parts, inside = [], []
        for each, size in zip(core, self._grey.shape, strict=True):
            start = max(each.start - self._reach, 0)
            stop = min(self._whole(each.stop) + self._reach, self._whole(size))
            parts.append(slice(start, stop))
            inside.append(slice(each.start - start, each.stop - start))
        window = self._grey.read((parts[0], parts[1], parts[2]))
        return self._predict(window[None])[0][tuple(inside)]

    def _whole(self, place: int) -> int:
        """The next whole multiple; cores begin at one."""
        return math.ceil(place / self._multiple) * self._multiple


class BlendedWindows:
    """Windows of the size of the records, each normalised by itself as these were, half over one another.

    They lie on one grid, whatever the cores. Their weights, sin² along each axis, add up to 1 everywhere and
    are nearly 0 at their faces, so that there are no seams.
    """

    def __init__(
        self,
        grey: GreyValues,
        predict: Predict,
        box: int,
        normalise: Callable[[np.ndarray], np.ndarray],
    ):
        self._grey, self._predict, self._normalise = grey, predict, normalise
        self._box, self._step = box, box // 2
        edge = np.sin(np.pi * (np.arange(box) + 0.5) / box) ** 2
        self._weight = (edge[:, None, None] * edge[:, None] * edge).astype(np.float32)[..., None]

    def of(self, core: Part) -> np.ndarray:
        """What the model says of the voxels of a core, (z, y, x, classes)."""
        starts = [list(self._starts(each)) for each in core]
        first = [each[0] for each in starts]
        part = [slice(each[0], each[-1] + self._box) for each in starts]
        grey = self._grey.read((part[0], part[1], part[2]))
        places = [tuple(np.subtract(place, first)) for place in product(*starts)]
        total: np.ndarray | None = None
        for some in range(0, len(places), _AT_ONCE):
            chosen = places[some : some + _AT_ONCE]
            cubes = np.stack([grey[self._at(place)] for place in chosen])
            missing = _AT_ONCE - len(chosen) if len(places) > _AT_ONCE else 0  # one size is compiled once
            cubes = np.concatenate([cubes, np.repeat(cubes[-1:], missing, axis=0)])
            found = self._predict(self._normalise(cubes))
            if total is None:
                total = np.zeros((*grey.shape, found.shape[-1]), np.float32)
            for place, each in zip(chosen, found, strict=False):
                total[self._at(place)] += each * self._weight
        assert total is not None
        return total[
            tuple(slice(each.start - low, each.stop - low) for each, low in zip(core, first, strict=True))
        ]

    def _starts(self, core: slice) -> Iterator[int]:
        """First voxels of the windows that have a part in a core."""
        first = (core.start // self._step - 1) * self._step
        return iter(range(first, core.stop, self._step))

    def _at(self, place) -> tuple[slice, ...]:
        return tuple(slice(int(start), int(start) + self._box) for start in place)
