"""EM volumes (the format of the EM and TOM packages, and of PyTom): read only."""

from __future__ import annotations

import gzip
import math
import os
import zlib

import numpy as np

from zoo.errors import ZooError
from zoo.input_files import existing_file

_HEADER_BYTES = 512
_TYPES = {1: "i1", 2: "i2", 4: "i4", 5: "f4", 9: "f8"}
_LITTLE_ENDIAN_MACHINES = {1, 6}  # VAX and PC; 0, 2..5 (OS-9, Convex, SGI, Sun, Mac) are big-endian


def read_em(path: str | os.PathLike) -> np.ndarray:
    """Read an EM file (gzip too) as a (z, y, x) float32 array; the format carries no voxel size."""
    path = existing_file(path)
    raw = _read(path, -1)
    shape, dtype = _parse(path, raw)
    needed = _HEADER_BYTES + math.prod(shape) * dtype.itemsize
    if len(raw) < needed:
        raise ZooError(f"{path}: cut short: {len(raw)} bytes of {needed}; copy the file again")
    data = np.frombuffer(raw, dtype=dtype, count=math.prod(shape), offset=_HEADER_BYTES)
    return np.ascontiguousarray(data.reshape(shape), dtype=np.float32)


def em_shape(path: str | os.PathLike) -> tuple[int, int, int]:
    """(z, y, x) of an EM file, from its header alone."""
    path = existing_file(path)
    return _parse(path, _read(path, _HEADER_BYTES))[0]


def em_layout(path: str | os.PathLike) -> tuple[tuple[int, int, int], np.dtype, int, bool]:
    """(z, y, x), sample type, byte where the samples begin, and whether the file is compressed."""
    path = existing_file(path)
    with open(path, "rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    return *_parse(path, _read(path, _HEADER_BYTES)), _HEADER_BYTES, compressed


def _read(path: str, size: int) -> bytes:
    with open(path, "rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path, "rb") if compressed else open(path, "rb") as file:
            return file.read(size)
    except (OSError, EOFError, zlib.error) as error:
        raise ZooError(f"{path}: cannot be read to its end: {error}") from error


def _parse(path: str, raw: bytes) -> tuple[tuple[int, int, int], np.dtype]:
    """Shape (z, y, x) and sample type that a header states."""
    if len(raw) < _HEADER_BYTES:
        raise ZooError(f"{path}: {len(raw)} bytes long, an EM header takes {_HEADER_BYTES}; not an EM file")
    order = "<" if raw[0] in _LITTLE_ENDIAN_MACHINES else ">"
    columns, rows, sections = (int(side) for side in np.frombuffer(raw[4:16], dtype=order + "i4"))
    if raw[3] not in _TYPES:
        raise ZooError(f"{path}: EM data type {raw[3]} (byte 4), expected one of {sorted(_TYPES)}")
    if min(columns, rows, sections) <= 0:
        raise ZooError(f"{path}: header states {columns} x {rows} x {sections} voxels; not an EM file")
    return (sections, rows, columns), np.dtype(order + _TYPES[raw[3]])
