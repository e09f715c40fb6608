"""The grey values of a whole tomogram on one scale, the same for each of its parts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from zoo.errors import ZooError

_MOST_SAMPLES = 1_000_000
_PADDING = 0.1  # one grey value in so large a share of a tomogram is what its corners were filled with
_TAIL = 1.0  # per cent left out at either end: beads and ice are few and very dark


class Blocks(Protocol):
    """What gives a volume by parts: a tomogram (`TomogramBlocks`), or one that is made of it."""

    path: str
    shape: tuple[int, int, int]

    def read(self, part: tuple[slice, slice, slice]) -> np.ndarray:
        """Voxels of a part (slices along z, y, x with start and stop), float32, a copy."""
        ...


@dataclass(frozen=True)
class GreyScale:
    """Mean and standard deviation of a tomogram's grey values, and what it is padded with (NaN: nothing)."""

    mean: float
    std: float
    padding: float = math.nan

    def of(self, values: np.ndarray, sign: int = 1) -> np.ndarray:
        """Grey values with mean 0 and standard deviation 1, times ``sign``; padding is 0; float32."""
        scaled = ((values - np.float32(self.mean)) * np.float32(sign / self.std)).astype(np.float32)
        scaled[values == np.float32(self.padding)] = 0
        return scaled


def measure_scale(tomogram: Blocks) -> GreyScale:
    """The scale of a tomogram, of voxels spread evenly over it, without padding and the tails.

    Raises ZooError for NaN or infinite values among them, and where all are equal.
    """
    step = max(math.ceil((math.prod(tomogram.shape) / _MOST_SAMPLES) ** (1 / 3)), 1)
    sizes, found = tomogram.shape, []
    for z in range(step // 2 % sizes[0], sizes[0], step):
        section = tomogram.read((slice(z, z + 1), slice(0, sizes[1]), slice(0, sizes[2])))[0]
        found.append(section[::step, ::step].ravel())
    values = np.concatenate(found)
    finite = np.isfinite(values)
    if not finite.all():
        raise ZooError(
            f"{tomogram.path}: {100 * (1 - finite.mean()):.2g} % of the voxels are NaN or infinite; repair "
            "the tomogram (set them to its mean)"
        )
    kinds, counts = np.unique(values, return_counts=True)
    most = int(counts.argmax())
    padding = float(kinds[most]) if counts[most] > _PADDING * len(values) and len(kinds) > 1 else math.nan
    values = values[values != np.float32(padding)]
    low, high = np.percentile(values, (_TAIL, 100 - _TAIL))
    inside = values[(values >= low) & (values <= high)].astype(np.float64)
    scale = GreyScale(float(inside.mean()), float(inside.std()), padding)
    if not scale.std > 1e-6 * abs(scale.mean):
        raise ZooError(f"{tomogram.path}: its voxels are all equal, so there is nothing to tell apart")
    return scale
