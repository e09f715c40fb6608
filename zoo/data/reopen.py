"""The source of a packed data set, read again as it was read for packing."""

from __future__ import annotations

import inspect
import json
import os
import shlex
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zoo.data.info import DatasetInfo
from zoo.data.kinds import kind_named
from zoo.data.tables.particle_table import ParticleTable
from zoo.errors import ZooError


@dataclass(frozen=True)
class SourceRecord:
    """What of a source must be kept to read it again: kind, file, and the options it was read with.

    ``options`` are arguments of `read_particles` or `read_subtomograms` by name; None where a version that
    did not keep them packed the data (``command`` is then its command line).
    """

    path: str
    kind: str = "particles"
    options: dict[str, Any] | None = field(default_factory=dict)
    command: str = ""

    @classmethod
    def of(cls, info: DatasetInfo) -> SourceRecord:
        """The record in info.json; of data packed before options were kept, what can be known."""
        options = info.source.get("options")
        if options is None and info.source.get("format") in ("star", "cs", "mrc"):
            places = np.isfinite(info.load_table().get("coordinate_x_voxel", np.nan)).any()
            if not places and not any(
                word in info.command for word in ("--passthrough", "--wedge", "--tilt")
            ):
                size = info.settings.get("pixel_size_angstrom")
                options = {} if size is None else {"pixel_size_angstrom": size}
        path = str(info.source.get("path") or "")
        beside = os.path.join(info.path, os.path.basename(path))
        if path and options is not None and not os.path.exists(path) and os.path.exists(beside):
            path = beside  # a file of frames or places lies in the data set's folder and moves with it
        return cls(path, info.kind, options, info.command)

    @classmethod
    def from_text(cls, text: str) -> SourceRecord:
        """Read what `to_text` wrote; plain text is the path of particles."""
        if not text.startswith("{"):
            return cls(text)
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise ZooError(f"damaged record of a source: {error}; write the file again") from error

    def to_text(self) -> str:
        """One line of JSON."""
        content = {"path": self.path, "kind": self.kind, "options": self.options, "command": self.command}
        return json.dumps(content)

    def read(self, path: str | os.PathLike | None = None, stacks: str | os.PathLike | None = None):
        """The whole table; ``path`` and ``stacks`` where the file or its images have moved.

        Raises ZooError where the file is gone, and where it is not known how it was read.
        """
        reader, options = kind_named(self.kind).reader(self.path or self.kind), dict(self.options or {})
        if not (path or self.path):
            raise ZooError("the data set does not say which file it was packed from; pack it again")
        place = os.path.abspath(path or self.path)
        if not os.path.exists(place):
            raise ZooError(
                f"{place}: the {self.kind[:-1]} file that the data set was packed from is gone; "
                "put it back, or name its new place with --source FILE"
            )
        if self.options is None:
            raise ZooError(
                f"{place}: packed by a version that did not keep the options of zoo-pack (tomogram, wedge, "
                f"passthrough); pack the data set again: {self.command or shlex.join(['zoo-pack', place])}"
            )
        if stacks is not None:
            options["stacks"] = os.fspath(stacks)
        unknown = sorted(set(options) - set(inspect.signature(reader).parameters))
        if unknown:
            raise ZooError(
                f"{place}: packed with {unknown[0]}, which this version does not know; use a newer one"
            )
        for name in ("passthrough", "wedge", "tomograms"):
            if name in options:
                options[name] = _beside(options[name], self.path, place)
        return reader(place, **options)


def reopen_source(
    info: DatasetInfo, path: str | os.PathLike | None = None, stacks: str | os.PathLike | None = None
):
    """The whole table behind a data set, as it was read for packing; ``table.source_row`` counts its rows.

    Raises ZooError where the file is gone or has changed since packing.
    """
    columns = info.load_table()
    table = SourceRecord.of(info).read(path, stacks)
    require_same_rows(table, columns["uid"], columns["source_row"])
    return table


def require_same_rows(table: ParticleTable, uid, source_row) -> np.ndarray:
    """Indices in ``table`` of the rows ``source_row`` (n,) of its file; ZooError unless they have ``uid``."""
    uid, rows = np.asarray(uid, np.uint64), np.asarray(source_row, np.int64)
    path, last = table.known_source().path, int(table.source_row.max())
    if rows.min() < 0 or rows.max() > last:
        raise ZooError(
            f"{path}: has {last + 1} rows, but the data set names row {int(rows.max())}; "
            "the file has changed since it was packed, pack it again"
        )
    places = np.searchsorted(table.source_row, rows)
    found = table.source_row[places]
    changed = np.flatnonzero((found != rows) | (table.uid[places] != uid))
    if len(changed):
        row, place = int(rows[changed[0]]), int(places[changed[0]])
        raise ZooError(
            f"{path}: row {row} is another particle than the one packed (uid {table.uid[place]}, "
            f"expected {uid[changed[0]]}); the file has changed since, pack it again"
        )
    return places


def _beside(files, old: str, new: str):
    """Files as they were named, or where they now lie beside the moved source."""
    if isinstance(files, list):
        return [_beside(file, old, new) for file in files]
    if os.path.exists(files):
        return files
    moved = os.path.normpath(os.path.join(os.path.dirname(new), os.path.relpath(files, os.path.dirname(old))))
    beside = os.path.join(os.path.dirname(new), os.path.basename(files))
    return next((path for path in (moved, beside) if os.path.exists(path)), files)
