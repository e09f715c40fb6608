"""Particle images, read lazily by row: memory does not grow with the stack."""

from __future__ import annotations

import copy
import dataclasses
import os
from collections import OrderedDict

import numpy as np

from zoo.data.formats.mrc import MrcHeader, read_header
from zoo.data.tables.particle_table import ParticleTable
from zoo.errors import ZooError

_OPEN_FILES = 64
_READ_BYTES = 1 << 24


class ImageReader:
    """Reads the images of a particle table by index; can be pickled and used from several processes.

    Opening it reads the header of every stack in use and raises ZooError for a missing or truncated
    stack, a row beyond the end of a stack, images that are not square and stacks of different box.
    """

    def __init__(self, table: ParticleTable):
        if not len(table):
            raise ZooError("no particles: nothing to read images of")
        self.table = table
        self._files: OrderedDict[int, int] = OrderedDict()
        self.headers: dict[int, MrcHeader] = {}
        for stack in np.unique(table.stack_index).tolist():
            self.headers[stack] = self._open_header(stack)
        self.box = next(iter(self.headers.values())).shape[1]
        self._check_boxes()
        self._check_rows()

    def __len__(self) -> int:
        return len(self.table)

    def read(self, indices) -> np.ndarray:
        """Images of the particles at ``indices``, (k, y, x) float32, in that order.

        Raises ZooError naming the particle if an image holds NaN or infinite values.
        """
        return self._read_of_box(np.atleast_1d(np.arange(len(self))[indices]), self.box)

    def _read_of_box(self, indices: np.ndarray, box: int) -> np.ndarray:
        """``read`` of particles whose stacks have this box."""
        out = np.empty((len(indices), box, box), dtype=np.float32)
        if not len(indices):
            return out
        stacks, rows = self.table.stack_index[indices], self.table.row_in_stack[indices]
        order = np.lexsort((rows, stacks))
        starts = np.flatnonzero(
            (np.diff(stacks[order], prepend=-1) != 0) | (np.diff(rows[order], prepend=-2) != 1)
        )
        for start, stop in zip(starts, [*starts[1:], len(order)], strict=True):
            places = order[start:stop]
            block = out[places[0] : places[-1] + 1]
            if (np.diff(places) != 1).any():
                out[places] = self._read_run(int(stacks[places[0]]), int(rows[places[0]]), len(places))
            else:
                self._read_run(int(stacks[places[0]]), int(rows[places[0]]), len(places), block)
        check_finite(out, self.table, indices)
        return out

    def close(self) -> None:
        """Close the open files; they are opened again when needed."""
        while self._files:
            os.close(self._files.popitem()[1])

    def __enter__(self) -> ImageReader:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __del__(self):
        if hasattr(self, "_files"):
            self.close()

    def __getstate__(self):
        table = copy.copy(self.table)
        if table.source is not None:  # the blocks are only for writing back, and may be large
            table.source = dataclasses.replace(table.source, blocks={})
        return {**self.__dict__, "table": table, "_files": OrderedDict()}

    def _read_run(self, stack: int, row: int, count: int, out: np.ndarray | None = None) -> np.ndarray:
        """``count`` consecutive images; straight into ``out`` where the file holds native float32."""
        header = self.headers[stack]
        if out is None:
            out = np.empty((count, *header.shape[1:]), dtype=np.float32)
        native = header.dtype == np.float32
        raw = out if native else np.empty(out.shape, dtype=header.dtype)
        view = memoryview(raw.reshape(-1).view(np.uint8))
        offset = header.data_offset + row * header.section_bytes
        done = 0
        while done < len(view):
            piece = os.pread(self._file(stack), min(len(view) - done, _READ_BYTES), offset + done)
            if not piece:
                raise ZooError(f"{header.path}: ends at byte {offset + done}; cut short while being read")
            view[done : done + len(piece)] = piece
            done += len(piece)
        if not native:
            out[...] = raw
        return out

    def _file(self, stack: int) -> int:
        if stack not in self._files:
            if len(self._files) >= _OPEN_FILES:
                os.close(self._files.popitem(last=False)[1])
            self._files[stack] = os.open(self.headers[stack].path, os.O_RDONLY)
        self._files.move_to_end(stack)
        return self._files[stack]

    def _open_header(self, stack: int) -> MrcHeader:
        path = self.table.stack_paths[stack]
        if not os.path.exists(path):
            first = int(np.flatnonzero(self.table.stack_index == stack)[0])
            raise ZooError(
                f"{_where(self.table, first)}: image stack {self.table.stack_names[stack]} not found "
                f"(looked for {path} and in the folders above); put the stack there or correct the name"
            )
        header = read_header(path)
        if header.compressed:
            raise ZooError(f"{path}: a compressed stack cannot be read by row; gunzip it")
        return header

    def _check_boxes(self) -> None:
        for stack, header in self.headers.items():
            if header.shape[1] != header.shape[2]:
                size = f"{header.shape[2]} x {header.shape[1]}"
                raise ZooError(f"{header.path}: images of {size} pixels, expected square ones; crop them")
            if header.shape[1] != self.box:
                first = int(np.flatnonzero(self.table.stack_index == stack)[0])
                raise ZooError(
                    f"{_where(self.table, first)}: {header.path} has a box of {header.shape[1]} pixels, "
                    f"the stacks before it {self.box}; bring all to one box size first (zoo-pack --rescale)"
                )

    def _check_rows(self) -> None:
        counts = np.zeros(len(self.table.stack_paths), dtype=np.int64)
        for stack, header in self.headers.items():
            counts[stack] = header.shape[0]
        beyond = np.flatnonzero(self.table.row_in_stack >= counts[self.table.stack_index])
        if beyond.size:
            first = int(beyond[0])
            stack = int(self.table.stack_index[first])
            raise ZooError(
                f"{_where(self.table, first)}: image {self.table.row_in_stack[first] + 1} of "
                f"{self.headers[stack].path}, which holds {counts[stack]} images; "
                f"correct the row or copy the stack again"
            )


def stack_boxes(table: ParticleTable) -> np.ndarray:
    """Box in pixels of every stack of a table, (number of stacks,) int64; 0 where it cannot be read."""
    boxes = np.zeros(len(table.stack_paths), dtype=np.int64)
    for stack in np.unique(table.stack_index).tolist():
        try:
            boxes[stack] = read_header(table.stack_paths[stack]).shape[1]
        except ZooError:
            pass  # a table can be written without its images
    return boxes


def check_finite(images: np.ndarray, table: ParticleTable | None = None, indices=None) -> None:
    """Raise ZooError naming the first of the (k, y, x) images that holds NaN or infinite values."""
    with np.errstate(over="ignore", invalid="ignore"):
        suspects = np.flatnonzero(~np.isfinite(images.sum(axis=(1, 2))))  # a sum is cheap; then look closely
    for index in suspects.tolist():
        bad = np.argwhere(~np.isfinite(images[index]))
        if len(bad):
            row = index if indices is None else int(np.asarray(indices)[index])
            where = f"image {row + 1}"
            if table is not None:
                where = f"{_where(table, row)} ({table.select([row]).image_names()[0]})"
            raise ZooError(
                f"{where}: {len(bad)} values are NaN or infinite, the first at y={bad[0][0]}, x={bad[0][1]}; "
                f"remove the particle or repair the stack"
            )


def _where(table: ParticleTable, index: int) -> str:
    """ "file: row N" of a particle."""
    path = table.source.path if table.source else table.stack_paths[int(table.stack_index[index])]
    return f"{path}: row {int(table.source_row[index]) + 1}"
