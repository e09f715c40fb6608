"""A kind of records as an object: what a record holds, batches, check, and the way back to its source.

Importing this is cheap: no TensorFlow, and the modules that do the work are imported when they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.records.schema import MAP_RECORD, PARTICLE_RECORD, SUBTOMOGRAM_RECORD, RecordSchema
from zoo.errors import ZooError


@dataclass(frozen=True)
class Kind:
    """Particles, subtomograms or maps: the only place that knows one from another.

    ``words`` and ``unit`` are for a person. ``schema`` declares the record and the columns of table.npz.
    """

    name: str
    words: str
    unit: str
    schema: RecordSchema
    _reader: Callable
    _write_columns: Callable

    @property
    def feature(self) -> str:
        """What the grey values are called in batches."""
        return self.schema.feature

    @property
    def column_types(self) -> dict:
        """The columns of table.npz: name → (dtype, what means unknown)."""
        return self.schema.column_types

    def batches(self, info, batch_size: int, seed: int, start_step: int = 0, **options):
        """Endless ``tf.data`` batches, a pure function of (seed, step); ``options`` as `record_batches`."""
        from zoo.data.records.pipeline import record_batches

        return record_batches(info, batch_size, seed, start_step, **options)

    def numpy_batches(self, info, batch_size: int, seed: int, start_step: int = 0) -> Iterator[dict]:
        """The same without TensorFlow, in another order, of a set that is held in memory."""
        from zoo.data.records.numpy_records import numpy_batches

        return numpy_batches(info, batch_size, seed, start_step)

    def sequential_batches(self, info, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
        """NumPy batches of every record once, in record order, read without TensorFlow."""
        from zoo.data.records.numpy_records import sequential_arrays

        return sequential_arrays(info, batch_size)

    def check(self, info, processes: int | None = None, progress: Callable | None = None):
        """Verify every record of the set; raises ZooError naming the first fault, returns the info."""
        from zoo.data.records.check import check_dataset

        return check_dataset(info.path, processes, progress or (lambda done, total: None))

    def read_source(self, info, path: str | Path | None = None, stacks: str | Path | None = None):
        """The person's own table that the set was packed from, in the order of its file.

        ``path``, ``stacks``: where the file and its images have moved. Raises ZooError where it is gone or
        has changed since.
        """
        from zoo.data.reopen import reopen_source

        return reopen_source(info, path, stacks)

    def reader(self, where: str = "") -> Callable:
        """The function that reads files of this kind into a table; ZooError, with ``where``, for none."""
        return self._reader(where)

    def write_columns(self, info, path: str | Path, columns: Mapping[str, Any], table=None) -> int:
        """Write the rows that were packed, in the order of their file, with more ``columns`` (n,) by record.

        The file has every column of the source; of subtomograms ``PATH_relion5.star`` has RELION 5's beside
        it. ``table`` is the source where it is open already (`zoo.data.reopen.reopen_source`). Returns the
        number of rows. Raises ZooError as `read_source` does.
        """
        table = self.read_source(info) if table is None else table
        order = np.argsort(rows := info.load_table()["source_row"])
        for name, values in columns.items():
            if len(values) != info.count:
                raise ZooError(f"{path}: {name} has {len(values)} values for {info.count} {info.kind}")
        extra = {name: np.asarray(values)[order] for name, values in columns.items()}
        part = table.select(np.searchsorted(table.source_row, rows[order]))
        self._write_columns(info, part, path, extra)
        return info.count


def kind_of(info) -> Kind:
    """The kind of a data set or table (whatever has a ``kind``)."""
    return KINDS[info.kind]


def kind_named(name: str, where: str = "") -> Kind:
    """The kind of this name; raises ZooError, starting with ``where``, for an unknown one."""
    if name not in KINDS:
        start = f"{where}: " if where else ""
        raise ZooError(
            f"{start}kind {name!r}, expected one of {', '.join(KINDS)}; pack the data set again with this zoo"
        )
    return KINDS[name]


def require_kind(info, name: str) -> None:
    """Raise ZooError unless a data set is of the kind that is about to be read."""
    if info.kind != name:
        wanted = KINDS[name].words
        raise ZooError(f"{info.path}: holds {info.kind}, expected {wanted}; choose another data set or model")


def _reader_of_particles(where: str) -> Callable:
    from zoo.data.particles import read_particles

    return read_particles


def _reader_of_subtomograms(where: str) -> Callable:
    from zoo.data.subtomograms import read_subtomograms

    return read_subtomograms


def _no_reader(where: str) -> Callable:
    raise ZooError(f"{where}: density maps come from no table that rows or columns could be written back to")


def _write_particles(info, table, path: str, columns: dict) -> None:
    from zoo.data.particles import write_particles

    write_particles(table, path, columns)


def _write_subtomograms(info, table, path: str, columns: dict) -> None:
    from zoo.data.formats.subtomogram_star_write import write_subtomograms

    main, box = Path(path), info.source_box or info.box
    write_subtomograms(table, main, box, columns)
    write_subtomograms(table, main.with_name(f"{main.stem}_relion5.star"), box, columns, relion5=True)


KINDS: dict[str, Kind] = {
    "particles": Kind(
        "particles", "2D particle images", "pixels", PARTICLE_RECORD, _reader_of_particles, _write_particles
    ),
    "subtomograms": Kind(
        "subtomograms",
        "subtomograms (volumes)",
        "voxels",
        SUBTOMOGRAM_RECORD,
        _reader_of_subtomograms,
        _write_subtomograms,
    ),
    "maps": Kind("maps", "density maps", "voxels", MAP_RECORD, _no_reader, _no_reader),
}
"""Every kind of records by its name in info.json."""
