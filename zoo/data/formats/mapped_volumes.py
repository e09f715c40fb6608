"""Large volumes read in parts: mapped into memory, few at a time, and let go again."""

from __future__ import annotations

import gzip
import mmap
import shutil
import tempfile
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from zoo.data.formats.em import em_layout
from zoo.data.formats.mrc import read_header
from zoo.errors import ZooError

_MOST_MAPPED = 8
_MOST_UNPACKED = 32
_MOST_TOUCHED = 64 << 20  # bytes of mapped files that stay in memory, about
_PAGE = 4096


@dataclass(frozen=True)
class _Layout:
    """Where samples begin, their type, shape (sections, rows, columns), and the order that makes it zyx."""

    dtype: np.dtype
    offset: int
    shape: tuple[int, int, int]
    order: list[int]
    compressed: bool


class MappedVolumes:
    """Parts of MRC and EM volumes of any axis order, by path; can be pickled, the copy has none open.

    At most 8 files are mapped at once, and the operating system is told when their pages are no longer
    needed. A compressed file is unpacked once, into an unnamed file in TMPDIR (at most 32 are kept).
    """

    def __init__(self) -> None:
        self._maps: OrderedDict[str, np.ndarray] = OrderedDict()
        self._unpacked: OrderedDict[str, IO[bytes]] = OrderedDict()
        self._touched = 0

    def __len__(self) -> int:
        """How many are mapped."""
        return len(self._maps)

    def part(self, path: str, inside: tuple[slice, slice, slice]) -> np.ndarray:
        """A part (z, y, x) of a volume as a new float32 array.

        Raises ZooError for a file that is cut short or damaged, and where it cannot be unpacked.
        """
        volume = self._mapped(path)
        found = np.array(volume[inside], dtype=np.float32, order="C")
        rows = max(found.size // max(found.shape[-1], 1), 1)
        self._touched += rows * (_PAGE + found.shape[-1] * volume.dtype.itemsize)
        if self._touched > _MOST_TOUCHED:
            self._let_go()
        return found

    def close(self) -> None:
        """Let go of all; they are opened again when needed."""
        self._maps.clear()
        while self._unpacked:
            self._unpacked.popitem()[1].close()

    def __del__(self):
        if hasattr(self, "_unpacked"):
            self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"_maps": OrderedDict(), "_unpacked": OrderedDict(), "_touched": 0}

    def _let_go(self) -> None:
        self._touched = 0
        for volume in self._maps.values():
            mapping = _mapping(volume)
            if mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
                mapping.madvise(mmap.MADV_DONTNEED)

    def _mapped(self, path: str) -> np.ndarray:
        if path in self._maps:
            self._maps.move_to_end(path)
            return self._maps[path]
        while len(self._maps) >= _MOST_MAPPED:
            self._maps.popitem(last=False)
        layout = _layout(path)
        source: Any = self._unpack(path) if layout.compressed else path
        try:
            stored = np.memmap(source, layout.dtype, "r", layout.offset, layout.shape)
        except ValueError as error:  # mmap length is greater than file size
            raise ZooError(f"{path}: cut short: its header states more samples; copy it again") from error
        self._maps[path] = stored.transpose(layout.order)
        return self._maps[path]

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


def _mapping(volume: np.ndarray) -> mmap.mmap | None:
    base: Any = volume
    while base is not None and not isinstance(base, mmap.mmap):
        base = base.base
    return base


def _layout(path: str) -> _Layout:
    if path.lower().endswith((".em", ".em.gz")):
        shape, dtype, offset, compressed = em_layout(path)
        return _Layout(dtype, offset, shape, [0, 1, 2], compressed)
    header = read_header(path)
    order = [header.axes[::-1].index(axis) for axis in (3, 2, 1)]
    return _Layout(header.dtype, header.data_offset, header.shape, order, header.compressed)
