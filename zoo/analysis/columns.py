"""Columns that a model found, written into a copy of the file that a data set was packed from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from zoo.errors import ZooError


def write_columns(info, path: str | Path, columns: Mapping[str, np.ndarray]) -> str:
    """Write the packed file with ``columns`` (values in record order) to ``path``; a line about it.

    Rows keep their order in that file. Of subtomograms a second file has the columns of RELION 5. Where the
    packed file is gone or has changed, the columns are written without its own, and the line says so.
    """
    if info.kind == "subtomograms":
        return _write_subtomograms(info, Path(path), columns)
    return _write_particles(info, Path(path), columns)


def _write_particles(info, path: Path, columns: Mapping[str, np.ndarray]) -> str:
    from zoo.analysis.selection import open_source, write_selection

    order = info.load_table()
    try:
        table = open_source(info)
    except ZooError as error:
        _write_bare(path, order, columns)
        return f"{path}: poses without image names ({error})"
    write_selection(table, order["source_row"], path, dict(columns))
    return f"{path}: poses and classes of {info.count} particles"


def _write_subtomograms(info, path: Path, columns: Mapping[str, np.ndarray]) -> str:
    from zoo.data.formats.subtomogram_star_write import write_subtomograms
    from zoo.data.subtomograms import read_subtomograms

    order = info.load_table()
    try:
        table = read_subtomograms(info.source["path"])
        table = table.select(order["source_row"])
        if not np.array_equal(table.uid, order["uid"]):
            raise ZooError(f"{info.source['path']}: has changed since it was packed")
    except ZooError as error:
        _write_bare(path, order, columns)
        return f"{path}: poses without image names ({error})"
    write_subtomograms(table, path, info.box, columns)
    write_subtomograms(table, path.with_name(f"{path.stem}_relion5.star"), info.box, columns, relion5=True)
    return f"{path}: poses and classes of {len(table)} {info.kind}"


def _write_bare(path: Path, order: dict[str, np.ndarray], columns: Mapping[str, np.ndarray]) -> None:
    import pandas as pd

    from zoo.data.formats.star_blocks import write_star_blocks
    from zoo.data.formats.star_write import as_text

    rows = {"zooUid": order["uid"], "zooSourceRow": order["source_row"], **columns}
    frame = pd.DataFrame({name: as_text(values) for name, values in rows.items()})
    write_star_blocks(str(path), {"particles": frame}, {"version": "# version 30001"})
