"""What a record of each kind holds: one declaration for writing, checking and parsing it.

Every record is a ``tf.train.Example`` with the grey values as ``image`` (raw little-endian bytes), their
``dtype`` and ``shape``, the name of their ``source``, and the numbers that a ``RecordSchema`` lists.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zoo.data.tables.map_table import MAP_COLUMNS
from zoo.data.tables.particle_table import COLUMNS, CTF_COLUMNS, EULER_COLUMNS, SHIFT_COLUMNS
from zoo.data.tables.subtomogram_table import SHIFT_COLUMNS_3D, SUBTOMOGRAM_COLUMNS, TILT_COLUMNS

VOXEL_LABELS = "voxel_labels"
"""Name of the feature that says of every voxel what it belongs to, int8 (n, n, n)."""


@dataclass(frozen=True)
class Field:
    """Numbers of a record: ``name`` in it, and the ``columns`` of table.npz that hold the same.

    ``vector``: one number for each column, else a single one. ``dtype`` is that of the batches; floats are
    stored as float32, integers as int64. ``in_batches`` names it there; empty: it is not in them.
    """

    name: str
    columns: tuple[str, ...]
    dtype: str
    vector: bool = False
    in_batches: str = ""

    @property
    def is_float(self) -> bool:
        return self.dtype == "float32"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one record."""
        return (len(self.columns),) if self.vector else ()

    def values(self, columns) -> np.ndarray:
        """(n,) or (n, k) as stored, of a mapping or table of columns; uids as the int64 of equal bits."""
        of_dict = isinstance(columns, dict)
        parts = [columns[name] if of_dict else getattr(columns, name) for name in self.columns]
        if self.is_float:
            parts = [part.astype("<f4") for part in parts]
        else:
            parts = [part.view(np.int64) if part.dtype == np.uint64 else part for part in parts]
        return np.stack(parts, axis=1) if self.vector else parts[0]


@dataclass(frozen=True)
class RecordSchema:
    """The record of one kind: grey values of ``ndim`` axes, called ``feature`` in batches, and ``fields``.

    ``column_types`` are the columns of table.npz. ``has_wedge``: Fourier weights, as bytes (``wedge``) or
    as a range of tilts, and the record's number in the set (``index``). ``whole_epochs``: an epoch sees each
    record once, copies that fill its last batch up have ``weight`` 0. ``draws_ctf``: there is ``ctf_random``.
    ``may_label_voxels``: a set may hold ``voxel_labels``.
    """

    feature: str
    ndim: int
    fields: tuple[Field, ...]
    column_types: dict
    has_wedge: bool = False
    whole_epochs: bool = False
    draws_ctf: bool = False
    may_label_voxels: bool = False

    def shape(self, box: int) -> tuple[int, ...]:
        """Of the grey values of one record."""
        return (box,) * self.ndim


def _floats(name: str, columns: tuple[str, ...], in_batches: bool = True) -> Field:
    return Field(name, columns, "float32", True, name if in_batches else "")


_PIXEL_SIZE = Field("pixel_size_angstrom", ("pixel_size_angstrom",), "float32", False, "pixel_size_angstrom")
_OPTICS_GROUP = Field("optics_group", ("optics_group",), "int64")
_LABEL = Field("label", ("label",), "int32", False, "label")
_UID = Field("uid", ("uid",), "int64", False, "uid")
_SOURCE_ROW = Field("source_row", ("source_row",), "int64", False, "source_row")

PARTICLE_RECORD = RecordSchema(
    "image",
    2,
    (
        _floats("ctf", CTF_COLUMNS),
        _floats("euler_deg", EULER_COLUMNS),
        _floats("shift_angstrom", SHIFT_COLUMNS),
        _PIXEL_SIZE,
        _LABEL,
        _OPTICS_GROUP,
        _UID,
        _SOURCE_ROW,
    ),
    COLUMNS,
    draws_ctf=True,
)
SUBTOMOGRAM_RECORD = RecordSchema(
    "volume",
    3,
    (
        _floats("ctf", CTF_COLUMNS, in_batches=False),
        _floats("tilt_range_deg", TILT_COLUMNS, in_batches=False),
        _floats("euler_deg", EULER_COLUMNS),
        _floats("shift_angstrom", SHIFT_COLUMNS_3D),
        _PIXEL_SIZE,
        _LABEL,
        _OPTICS_GROUP,
        _UID,
        _SOURCE_ROW,
    ),
    SUBTOMOGRAM_COLUMNS,
    has_wedge=True,
    whole_epochs=True,
    may_label_voxels=True,
)
MAP_RECORD = RecordSchema(
    "map",
    3,
    (
        Field("name_index", ("name_index",), "int32", False, "name_index"),
        _PIXEL_SIZE,
        _UID,
        _SOURCE_ROW,
    ),
    MAP_COLUMNS,
)
