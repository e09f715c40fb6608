"""Overlapping blocks that cover a volume: each is computed with a margin, and only its core is kept."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from scipy.fft import next_fast_len

Slices = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Block:
    """``core`` is what the block answers for, ``read`` what it has to see: the core and its margin."""

    core: Slices
    read: Slices

    @property
    def inside(self) -> Slices:
        """The core within what was read."""
        z, y, x = (slice(core.start - read.start, core.stop - read.start)
                   for core, read in zip(self.core, self.read, strict=True))  # fmt: skip
        return z, y, x


def plan_blocks(shape: tuple[int, int, int], margin: int, side: int) -> list[Block]:
    """Blocks of at most about ``side`` voxels along each axis, the margin included; cores tile the volume.

    A core is never narrower than its margin (unless the volume is), so that a wide margin costs
    memory and not a multiple of the work.
    """
    return [
        Block((z[0], y[0], x[0]), (z[1], y[1], x[1]))
        for z, y, x in product(*(list(_along(size, margin, side)) for size in shape))
    ]


def _along(size: int, margin: int, side: int) -> Iterator[tuple[slice, slice]]:
    if size <= side:
        yield slice(0, size), slice(0, size)
        return
    widest = max(side - 2 * margin, margin, 1)
    count = math.ceil(size / widest)
    edges = [round(size * number / count) for number in range(count + 1)]
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        low, high = max(start - margin, 0), min(stop + margin, size)
        more = next_fast_len(high - low, real=True) - (high - low)  # transforms of some lengths are slow
        if high + more <= size and high < size:
            high += more
        elif low - more >= 0 and low > 0:
            low -= more
        yield slice(start, stop), slice(low, high)
