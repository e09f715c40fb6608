"""Large volumes read in parts: few files are open at a time, and only the parts are in memory."""

from __future__ import annotations

import gzip
import math
import os
import shutil
import tempfile
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

import numpy as np

from zoo.data.formats.em import em_layout
from zoo.data.formats.mrc import read_header
from zoo.errors import ZooError

_MOST_OPEN = 8
_MOST_UNPACKED = 32
_WHOLE_ROWS = 16  # times what is asked for: as much is read at once rather than row by row


@dataclass(frozen=True)
class _Layout:
    """Where samples begin, their type, shape (sections, rows, columns), and the order that makes it zyx."""

    dtype: np.dtype
    offset: int
    shape: tuple[int, int, int]
    order: list[int]
    compressed: bool


class _Opened(NamedTuple):
    file: IO[bytes]
    layout: _Layout


class VolumeParts:
    """Parts of MRC and EM volumes of any axis order, by path; can be pickled, the copy has none open.

    Read with plain reads, not through a memory map: the pages of a map count as the process's own memory,
    and how many the system keeps differs from one to another. At most 8 files are open at once. A compressed
    file is unpacked once, into an unnamed file in TMPDIR (at most 32 are kept).
    """

    def __init__(self) -> None:
        self._opened: OrderedDict[str, _Opened] = OrderedDict()
        self._unpacked: OrderedDict[str, IO[bytes]] = OrderedDict()

    def __len__(self) -> int:
        """How many are open."""
        return len(self._opened)

    def part(self, path: str, inside: tuple[slice, slice, slice]) -> np.ndarray:
        """A part (z, y, x) of a volume as a new float32 array; slices as of an array, without steps.

        Raises ZooError for a file that is cut short or damaged, and where it cannot be unpacked.
        """
        file, layout = self._open(path)
        stored: list[slice] = [slice(0)] * 3
        for axis, place in enumerate(layout.order):
            stored[place] = slice(*inside[axis].indices(layout.shape[place])[:2])
        found = _read_part(file, path, layout, (stored[0], stored[1], stored[2]))
        return np.array(found.transpose(layout.order), order="C")

    def close(self) -> None:
        """Let go of all; they are opened again when needed."""
        while self._opened:
            self._opened.popitem()[1].file.close()
        while self._unpacked:
            self._unpacked.popitem()[1].close()

    def __del__(self):
        if hasattr(self, "_unpacked"):
            self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"_opened": OrderedDict(), "_unpacked": OrderedDict()}

    def _open(self, path: str) -> _Opened:
        if path in self._opened:
            self._opened.move_to_end(path)
            return self._opened[path]
        while len(self._opened) >= _MOST_OPEN:
            self._opened.popitem(last=False)[1].file.close()
        layout = _layout(path)
        if layout.compressed:  # a descriptor of its own: the unpacked file outlives it
            file: IO[bytes] = os.fdopen(os.dup(self._unpack(path).fileno()), "rb", buffering=0)
        else:
            file = open(path, "rb", buffering=0)
        if os.fstat(file.fileno()).st_size < layout.offset + math.prod(layout.shape) * layout.dtype.itemsize:
            file.close()
            raise ZooError(f"{path}: cut short: its header states more samples; copy it again")
        self._opened[path] = _Opened(file, layout)
        return self._opened[path]

    def _unpack(self, path: str) -> IO[bytes]:
        if path in self._unpacked:
            self._unpacked.move_to_end(path)
            return self._unpacked[path]
        while len(self._unpacked) >= _MOST_UNPACKED:
            self._unpacked.popitem(last=False)[1].close()
        file: IO[bytes] = tempfile.TemporaryFile(prefix="zoo-")
        try:
            with gzip.open(path, "rb") as packed:
                shutil.copyfileobj(packed, file, 1 << 22)
            file.flush()
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            file.close()
            raise ZooError(f"{path}: cannot be read to its end: {error}; the file is cut short") from error
        except OSError as error:
            file.close()
            raise ZooError(
                f"{path}: cannot be unpacked into {tempfile.gettempdir()}: {error.strerror or error}; "
                "gunzip it, or set TMPDIR to a folder with room"
            ) from error
        self._unpacked[path] = file
        return file


def _read_part(file: IO[bytes], path: str, layout: _Layout, inside: tuple[slice, slice, slice]) -> np.ndarray:
    """Stored samples of a part as float32: section by section whole rows, or each row's piece by itself."""
    sections, rows, columns = inside
    _, height, width = layout.shape
    count, wide = rows.stop - rows.start, columns.stop - columns.start
    out = np.empty((sections.stop - sections.start, count, wide), np.float32)
    whole = width <= _WHOLE_ROWS * wide
    first, length = (0, width) if whole else (columns.start, wide)
    buffer = np.empty((count, length), layout.dtype)
    size = layout.dtype.itemsize
    for number in range(len(out)):
        start = ((sections.start + number) * height + rows.start) * width + first
        if whole:
            _fill(file, path, buffer, layout.offset + start * size)
            out[number] = buffer[:, columns]
        else:
            for row in range(count):
                _fill(file, path, buffer[row], layout.offset + (start + row * width) * size)
            out[number] = buffer
    return out


def _fill(file: IO[bytes], path: str, buffer: np.ndarray, offset: int) -> None:
    view, done = memoryview(buffer.view(np.uint8).reshape(-1)), 0
    while done < len(view):
        read = os.preadv(file.fileno(), [view[done:]], offset + done)
        if not read:
            raise ZooError(f"{path}: was cut short while it was read; copy it again")
        done += read


def _layout(path: str) -> _Layout:
    if path.lower().endswith((".em", ".em.gz")):
        shape, dtype, offset, compressed = em_layout(path)
        return _Layout(dtype, offset, shape, [0, 1, 2], compressed)
    header = read_header(path)
    order = [header.axes[::-1].index(axis) for axis in (3, 2, 1)]
    return _Layout(header.dtype, header.data_offset, header.shape, order, header.compressed)
