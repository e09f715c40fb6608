"""What a model shows while it trains, by type: the house draws and writes each (`zoo.training.previews`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Figure:
    """One number: to metrics.csv and TensorBoard."""

    value: float


@dataclass(frozen=True)
class Images:
    """Images (n, y, x), drawn as a grid; ``columns`` in a row (0: as square as can be)."""

    values: np.ndarray
    columns: int = 0


@dataclass(frozen=True)
class Maps:
    """Volumes (n, z, y, x), written as MRC with their voxel size and drawn as central slices."""

    values: np.ndarray


@dataclass(frozen=True)
class Table:
    """Rows (n, k), written as CSV."""

    values: np.ndarray


@dataclass(frozen=True)
class Curve:
    """Curves y (n, c) over x (n,), written as CSV with x in the first column."""

    x: np.ndarray
    y: np.ndarray


def central_slices(volume: np.ndarray) -> np.ndarray:
    """The three slices (3, n, n) through the centre voxel n//2 of a cube, across z, y and x."""
    z, y, x = (size // 2 for size in volume.shape)
    return np.stack([volume[z], volume[:, y], volume[:, :, x]])


Item = Figure | Images | Maps | Table | Curve


def typed(name: str, value: Any) -> Item:
    """A plain array as an item, by its axes: what a model of a person's own may return.

    One number is a figure; (n, k) a table; (n, y, x), (n, y, x, 1) and (n, k, y, x) are images (k in a
    row); volumes (z, y, x) or (n, z, y, x) are those whose name starts with ``map``. Raises ValueError for
    any other shape.
    """
    if isinstance(value, Item):
        return value
    array = np.asarray(value, np.float32)
    if array.size == 1:
        return Figure(float(array.reshape(())))
    if array.ndim == 2:
        return Table(array)
    if name.split("-")[-1].startswith("map") and array.ndim in (3, 4, 5):
        return Maps(array[None] if array.ndim == 3 else array.reshape(-1, *array.shape[1:4]))
    if array.ndim == 4 and array.shape[-1] != 1:
        return Images(array.reshape(-1, *array.shape[2:]), array.shape[1])
    if array.ndim in (3, 4):
        return Images(array.reshape(array.shape[:3]))
    raise ValueError(f"preview {name}: shape {array.shape} is none of a figure, table, images or maps")
