"""Subtomograms that are stacks of their tilt images: reconstructed one by one as they are read."""

from __future__ import annotations

import copy
import dataclasses
import os

import numpy as np

from zoo.data.formats.fourier_weights import crop_weight
from zoo.data.formats.mrc import MrcHeader, read_header, read_raw
from zoo.data.tables.subtomogram_table import SubtomogramTable
from zoo.data.tilts.backproject import TiltBackprojector
from zoo.data.tilts.tilt_series import TiltParticles
from zoo.errors import ZooError


class TiltStackReader:
    """Reads the subtomograms of a table with ``tilts``; what ``VolumeReader`` is to volumes.

    A volume is √C × particle + white noise (``TiltBackprojector``), C counting the tilts that measure a
    frequency, each by its CTF² and dose weight². Opening it reads every header and raises ZooError for a
    missing file, images of another box and stacks whose images do not fit the tilts.
    """

    clip = False
    stores_masks = True

    def __init__(self, table: SubtomogramTable):
        self.table = table
        self.headers = {stack: self._open(stack) for stack in np.unique(table.stack_index).tolist()}
        self.box = self._common_box()
        self._check_frames()
        self.keeps = self.box
        self._backprojector: TiltBackprojector | None = None
        self._weights: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.table)

    @property
    def tilts(self) -> TiltParticles:
        """Tilts and places of the particles of the table."""
        assert self.table.tilts is not None  # VolumeReader is for the others
        return self.table.tilts

    def read(self, indices) -> np.ndarray:
        """Volumes at ``indices``, (k, z, y, x) float32; their weights are kept until ``wedge`` or ``close``.

        Raises ZooError naming the subtomogram whose images hold NaN or infinite values.
        """
        indices = np.atleast_1d(np.arange(len(self))[indices])
        out = np.empty((len(indices), self.box, self.box, self.box), dtype=np.float32)
        for place, index in enumerate(indices.tolist()):
            out[place], weight = self._reconstruct(index)
            # float16 as in the records: those of a shard are kept, and no more
            kept = crop_weight(weight, self.keeps).astype(np.float16)
            self._weights[int(self.table.source_row[index])] = kept
        return out

    def wedge(self, index: int, box: int) -> np.ndarray:
        """Fourier weight, half form (box, box, box // 2 + 1) float32, of a volume cropped to ``box``."""
        kept = self._weights.pop(int(self.table.source_row[index]), None)
        if kept is None or kept.shape[0] < box:
            kept = self._reconstruct(index)[1]
        return crop_weight(kept, box).astype(np.float32)

    def close(self) -> None:
        """Nothing is open; there for readers of every kind."""

    def where(self, index: int) -> str:
        """ "file: row N" of a subtomogram."""
        return f"{self.table.known_source().path}: row {int(self.table.source_row[index]) + 1}"

    def __getstate__(self):
        table = copy.copy(self.table)
        table.source = dataclasses.replace(table.source, blocks={})  # large, and only for writing back
        return {**self.__dict__, "table": table, "_weights": {}, "_backprojector": None}

    def _reconstruct(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if self._backprojector is None:
            self._backprojector = TiltBackprojector(self.box)
        tilts, images = self._images(index)
        particles = self.tilts
        series = particles.series[int(particles.series_index[index])]
        frequency = self._backprojector.frequency / float(self.table.pixel_size_angstrom[index])
        transfer = series.transfer(tilts, particles.position_angstrom[index], frequency)
        used = np.abs(transfer).max(axis=1) > 0  # WarpTools gives tilts that are left out a scale of 0
        if not used.any():
            raise ZooError(f"{self.where(index)}: every visible tilt has a scale of 0; remove the particle")
        tilts, transfer = tilts[used], transfer[used]
        lines = self._backprojector.lines(images[used])
        if not particles.premultiplied[index]:
            lines = lines * transfer
        matrices = series.matrices[tilts] @ particles.turns[index]
        return self._backprojector.volume(lines, transfer, matrices)

    def _images(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the visible tilts and their images (k, y, x) float32."""
        header = self.headers[int(self.table.stack_index[index])]
        tilts = self.tilts.seen(index)
        images = read_raw(header)
        if len(images) != len(tilts):
            images = images[tilts]
        images = images.astype(np.float32)
        bad = int(images.size - np.isfinite(images).sum())
        if bad:
            raise ZooError(
                f"{self.where(index)} ({header.path}): {bad} pixels are NaN or infinite; "
                "remove the particle or repair the file"
            )
        return tilts, images

    def _open(self, stack: int) -> MrcHeader:
        path = self.table.stack_paths[stack]
        if not os.path.exists(path):
            first = int(np.flatnonzero(self.table.stack_index == stack)[0])
            raise ZooError(
                f"{self.where(first)}: stack {self.table.stack_names[stack]} not found (looked for {path} "
                "and in the folders above); put the file there or correct the name"
            )
        return read_header(path)

    def _common_box(self) -> int:
        known = 0
        for index, stack in enumerate(self.table.stack_index.tolist()):
            _, height, width = self.headers[stack].shape
            if height != width or width % 2:
                raise ZooError(
                    f"{self.where(index)}: {self.headers[stack].path} has images of {width} x {height} "
                    "pixels, expected square ones of an even side; extract them again"
                )
            if known not in (0, width):
                raise ZooError(
                    f"{self.where(index)}: {self.headers[stack].path} has a box of {width} pixels, the "
                    f"stacks before it {known}; bring all to one box first"
                )
            known = width
        return known

    def _check_frames(self) -> None:
        tilts = self.tilts
        for index, stack in enumerate(self.table.stack_index.tolist()):
            found, seen = self.headers[stack].shape[0], len(tilts.seen(index))
            series = tilts.series[int(tilts.series_index[index])]
            if found not in (seen, len(series)):  # RELION writes the visible tilts, WarpTools all
                raise ZooError(
                    f"{self.where(index)}: {self.headers[stack].path} holds {found} images, but tomogram "
                    f"{series.name} has {len(series)} tilts, {seen} of them visible; "
                    "give the tomograms.star of these particles with --tomograms, or extract them again"
                )
