"""What ``info.json`` says is held against what can be, and against the table of its data set."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from pathlib import Path

import numpy as np

from zoo.errors import ZooError

_DTYPES = ("float16", "float32")
_AGAIN = "it was changed or damaged; put back a copy of it, or pack the data set again"


def check_values(info, path: str | Path) -> None:
    """Raise ZooError naming the first value of a DatasetInfo that cannot be; ``path`` is its file."""
    for name, least in (("count", 1), ("box", 1), ("source_box", 0), ("seed", 0), ("table_crc32", 0)):
        value = getattr(info, name)
        if type(value) is not int or value < least:
            _refuse(path, name, value, f"a whole number, {least} or more")
    voxel = info.voxel_size_angstrom
    if type(voxel) not in (int, float) or not 0 < voxel < math.inf:
        _refuse(path, "voxel_size_angstrom", voxel, "a size above 0 Å")
    for name, allowed in (("contrast_sign", (-1, 1)), ("dtype", _DTYPES)):
        value = getattr(info, name)
        if isinstance(value, bool) or value not in allowed:
            _refuse(path, name, value, " or ".join(str(each) for each in allowed))
    for name in ("has_ctf", "has_poses"):
        if type(getattr(info, name)) is not bool:
            _refuse(path, name, getattr(info, name), "true or false")
    for name in ("contrast", "normalisation", "statistics", "source", "settings", "versions"):
        if not isinstance(getattr(info, name), dict):
            _refuse(path, name, getattr(info, name), "an object")
    if sum(info.labels.values()) not in (0, info.count):
        _refuse(path, "labels", info.labels, f"counts of {info.count} in all")


def check_against_table(info, columns: dict[str, np.ndarray], table: str | Path) -> None:
    """Raise ZooError where the table of a data set (its columns, and its file) is not what info.json says."""
    if info.table_crc32 and file_crc32(table) != info.table_crc32:
        raise ZooError(f"{table}: its checksum is not that in info.json: one of the two {_AGAIN[3:]}")
    labels = dict(Counter(columns["label"].tolist()))
    if info.labels and labels != info.labels:
        raise ZooError(f"{table}: labels {labels}, info.json says {info.labels}; pack again")
    sizes = columns["pixel_size_angstrom"]
    if not np.isclose(sizes, info.voxel_size_angstrom, rtol=1e-6).any():
        known = sizes[np.isfinite(sizes)]
        found = f"{known.min():g} to {known.max():g} Å" if known.size else "no known size"
        raise ZooError(f"{table}: pixels of {found}, info.json says {info.voxel_size_angstrom:g} Å: {_AGAIN}")


def _refuse(path, name: str, value, expected: str) -> None:
    raise ZooError(f"{path}: {name} is {str(value)[:60]}, expected {expected}: {_AGAIN}")


def file_crc32(path: str | Path) -> int:
    """CRC-32 (zlib's) of a whole file."""
    crc = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            crc = zlib.crc32(block, crc)
    return crc
