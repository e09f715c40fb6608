"""An MRC volume written in blocks of any size and order: memory does not grow with the file."""

from __future__ import annotations

import math
import os
from typing import IO

import mrcfile
import numpy as np
from mrcfile.dtypes import HEADER_DTYPE

from zoo.data.formats.mrc import HEADER_BYTES
from zoo.errors import ZooError
from zoo.files import whole_path

DTYPES: dict[str, np.dtype] = {"int8": np.dtype("i1"), "float16": np.dtype("<f2"), "float32": np.dtype("<f4")}


class MrcBlockWriter:
    """``with MrcBlockWriter(path, shape, "int8", voxel) as w: w.write(part, block)``; shape is (z, y, x).

    Every voxel has to be written once. The file appears under its name only when the block ends without an
    error; then its header has the range, mean and spread of all that was written. ``origin_angstrom`` (xyz)
    is where the middle of the first voxel lies. Raises ZooError for values that are not finite, and where
    not every voxel was written.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        shape: tuple[int, int, int],
        dtype: str,
        voxel_size_angstrom: float,
        origin_angstrom: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ):
        self.path, self.shape = os.fspath(path), shape
        self.dtype: np.dtype = DTYPES[dtype]
        self.voxel_size_angstrom, self.origin_angstrom = float(voxel_size_angstrom), origin_angstrom
        self._written = 0
        self._sum = self._squares = 0.0
        self._low, self._high = math.inf, -math.inf

    def __enter__(self) -> MrcBlockWriter:
        self._whole = whole_path(self.path)
        temporary = self._whole.__enter__()
        with mrcfile.new(temporary, np.zeros((1, 1, 1), self.dtype), overwrite=True) as small:
            small.set_volume()
            header = np.frombuffer(bytearray(small.header.tobytes()), HEADER_DTYPE)[0]
        for name, size in zip("xyz", self.shape[::-1], strict=True):
            header[f"n{name}"] = header[f"m{name}"] = size
            header["cella"][name] = size * self.voxel_size_angstrom
        header["origin"] = tuple(self.origin_angstrom)
        self._header = header
        self._file: IO[bytes] = open(temporary, "r+b", buffering=0)
        self._file.truncate(HEADER_BYTES + math.prod(self.shape) * self.dtype.itemsize)
        return self

    def write(self, part: tuple[slice, slice, slice], block: np.ndarray) -> None:
        """Write ``block`` (z, y, x) at ``part`` (slices with start and stop)."""
        if not np.isfinite(block).all():
            raise ZooError(f"{self.path}: values to be written are NaN or infinite; nothing was written")
        block = np.ascontiguousarray(block, self.dtype)
        values = block.astype(np.float64)
        self._low, self._high = min(self._low, values.min()), max(self._high, values.max())
        self._sum, self._squares = self._sum + values.sum(), self._squares + np.square(values).sum()
        self._written += block.size
        whole_rows = block.shape[2] == self.shape[2]
        for number, section in enumerate(block):
            rows = [section] if whole_rows else section  # whole rows lie one behind the other
            for row, samples in enumerate(rows):
                z, y, x = part[0].start + number, part[1].start + row, part[2].start
                place = (z * self.shape[1] + y) * self.shape[2] + x
                self._put(samples.tobytes(), HEADER_BYTES + place * self.dtype.itemsize)

    def __exit__(self, kind, value, trace) -> None:
        try:
            if kind is None:
                self._finish()
        except BaseException as error:
            kind, value, trace = type(error), error, error.__traceback__
            raise
        finally:
            self._file.close()
            self._whole.__exit__(kind, value, trace)

    def _put(self, raw: bytes, place: int) -> None:
        while raw:
            done = os.pwrite(self._file.fileno(), raw, place)
            raw, place = raw[done:], place + done

    def _finish(self) -> None:
        count = math.prod(self.shape)
        if self._written != count:
            raise ZooError(f"{self.path}: {self._written} of {count} voxels were written")
        mean = self._sum / count
        self._header["dmin"], self._header["dmax"] = self._low, self._high
        self._header["dmean"], self._header["rms"] = mean, max(self._squares / count - mean**2, 0.0) ** 0.5
        self._put(self._header.tobytes(), 0)
