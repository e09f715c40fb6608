"""Particle images of a table, straight from their stacks, as Fourier coefficients with their CTFs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from zoo.data.formats.images import ImageReader
from zoo.data.packing.ctf_undo import undo_ctf
from zoo.data.packing.normalise import normalise
from zoo.data.tables.particle_table import ParticleTable
from zoo.ops.fourier_volume import HalfPlane
from zoo.ops.fourier_volume.threads import in_ranges

_BATCH_VALUES = 1 << 21  # coefficients in memory at once, 12 bytes each
_LARGEST_BATCH = 2048
_PIECE = 16  # images that one thread works on
_CACHE_BYTES = 1 << 30
_POWER_SAMPLE, _SAMPLE_VALUES = 1000, 1 << 24


@dataclass(frozen=True)
class Grey:
    """How grey values become those that maps are made of.

    ``sign`` makes particles bright; ``method`` and ``radius_share`` (of the box) are those of
    `zoo.data.packing.normalise`; "none" leaves the values as they are, as RELION does.
    """

    sign: int = 1
    method: str = "none"
    radius_share: float = 0.375


class Batch(NamedTuple):
    """Rows of the table ``(b,)``, coefficients and CTFs ``(b, m)`` of their images on the half plane."""

    rows: np.ndarray
    values: np.ndarray
    ctf: np.ndarray


class ParticleImages:
    """Images of a table in a box of ``box`` pixels, at most their own, by batches; memory is flat.

    The field of view stays that of the stack: a smaller box keeps fewer Fourier shells, up to
    ``plane.radius``. Values keep the scale of the images, so that the sum of a map along the beam has their
    grey values. A set that fits into a gigabyte is kept; a larger one is read again each time.
    """

    def __init__(self, table: ParticleTable, box: int, grey: Grey | None = None):
        self.table, self.box, self.grey = table, box, grey or Grey()
        self.reader = ImageReader(table)
        own = self.reader.box
        self.plane = HalfPlane(own, min(box // 2, (own + 1) // 2) - 1)
        # shells and points count periods in the field of view: the same in both boxes
        self.scale = np.float32(box / own)
        self.pixel_size_angstrom = table.pixel_size_angstrom * (own / box)
        self._known = np.isfinite(table.ctf()).all(axis=1)
        self._kept: dict[tuple[int, int], Batch] = {}
        self._order = np.lexsort((table.row_in_stack, table.stack_index))
        self.batch_size = int(np.clip(_BATCH_VALUES // len(self.plane), _PIECE, _LARGEST_BATCH))
        self._keep = len(table) * len(self.plane) * 12 <= _CACHE_BYTES

    def __len__(self) -> int:
        return len(self.table)

    def batches(self) -> Iterator[Batch]:
        """All images, in the order in which they lie in their stacks."""
        for start in range(0, len(self), self.batch_size):
            key = (start, start + self.batch_size)
            batch = self._kept.get(key) or self.read(self._order[start : start + self.batch_size])
            if self._keep:
                self._kept[key] = batch
            yield batch

    def sample(self, count: int = _POWER_SAMPLE) -> Batch:
        """At most ``count`` images, spread evenly over the table."""
        count = min(count, len(self), max(_SAMPLE_VALUES // len(self.plane), _PIECE))
        return self.read(np.unique(np.linspace(0, len(self) - 1, count).round().astype(np.int64)))

    def read(self, rows: np.ndarray) -> Batch:
        """The images at ``rows`` of the table."""
        part = self.table.select(rows)
        images = undo_ctf(self.reader.read(rows), part)
        values = np.empty((len(rows), len(self.plane)), np.complex64)
        ctf = np.ones(values.shape, np.float32)
        parameters, pixels, known = part.ctf(), part.pixel_size_angstrom, self._known[rows]
        radius = self.grey.radius_share * self.reader.box

        def piece(a, b):
            block = images[a:b] if self.grey.sign > 0 else -images[a:b]
            if self.grey.method != "none":
                block = normalise(block, radius, self.grey.method)
            values[a:b] = self.plane.transform(block)[0] * self.scale
            inside = np.arange(a, b)[known[a:b]]
            ctf[inside] = self.plane.ctf(parameters[inside], pixels[inside])

        in_ranges(piece, len(rows), _PIECE)
        return Batch(rows, values, ctf)
