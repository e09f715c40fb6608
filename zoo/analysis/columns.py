"""Columns that a model found, written into a copy of the file that a data set was packed from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from zoo.data.kinds import kind_of
from zoo.errors import ZooError

_POSES = {f"rlnAngle{name}" for name in ("Rot", "Tilt", "Psi")} | {f"rlnOrigin{axis}Angst" for axis in "XYZ"}


def write_columns(info, path: str | Path, columns: Mapping[str, np.ndarray], table=None) -> str:
    """Write the packed file with ``columns`` (values in record order) to ``path``; a line about it.

    Rows keep their order in that file. Of subtomograms a second file has the columns of RELION 5. Where the
    packed file is gone or has changed, the columns are written without its own, and the line says so;
    ``table`` is that file where it is open already.
    """
    path = Path(path)
    try:
        count = kind_of(info).write_columns(info, path, columns, table)
    except ZooError as error:
        if (info.source.get("options") or {}).get("pose_normalise"):
            # without the frames poses in the boxes mean nothing in the tomogram
            columns = {name: values for name, values in columns.items() if name not in _POSES}
            _write_bare(path, info.load_table(), columns)
            return f"{path}: no poses and no image names: the frames of the boxes are not known ({error})"
        _write_bare(path, info.load_table(), columns)
        return f"{path}: poses without image names ({error})"
    return f"{path}: poses and classes of {count} {info.kind}"


def _write_bare(path: Path, order: dict[str, np.ndarray], columns: Mapping[str, np.ndarray]) -> None:
    import pandas as pd

    from zoo.data.formats.star_blocks import write_star_blocks
    from zoo.data.formats.star_write import as_text

    rows = {"zooUid": order["uid"], "zooSourceRow": order["source_row"]}
    for axis in "xyz":  # of picks: where the boxes were cut, from 0
        places = order.get(f"coordinate_{axis}_voxel")
        if places is not None and np.isfinite(places).all():
            rows[f"rlnCoordinate{axis.upper()}"] = places
    rows |= columns
    frame = pd.DataFrame({name: as_text(values) for name, values in rows.items()})
    write_star_blocks(str(path), {"particles": frame}, {"version": "# version 30001"})
