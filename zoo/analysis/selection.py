"""Selected particles go back to the file that they came from, every column and optics group kept."""

from pathlib import Path

import numpy as np

from zoo.data.particles import read_particles, write_particles
from zoo.errors import ZooError


def read_source(path, uid, source_row):
    """The particle table behind a data set; raises ZooError if the file has changed since packing.

    `uid` and `source_row` (n,) are those kept with the latents.
    """
    if not path:
        raise ZooError("the data set does not say which particle file it was packed from; pack it again")
    path = Path(path)
    if not path.exists():
        raise ZooError(
            f"{path}: the particle file that the data set was packed from is gone; "
            "put it back, or name its new place with --source FILE"
        )
    table = read_particles(path)
    uid, rows = np.asarray(uid, np.uint64), np.asarray(source_row, np.int64)
    if rows.min() < 0 or rows.max() >= len(table):
        raise ZooError(
            f"{path}: has {len(table)} rows, but the data set names row {int(rows.max())}; "
            "the file has changed since it was packed, pack it again"
        )
    changed = np.flatnonzero(table.uid[rows] != uid)
    if len(changed):
        row = int(rows[changed[0]])
        raise ZooError(
            f"{path}: row {row} is another particle than the one packed (uid {table.uid[row]}, "
            f"expected {uid[changed[0]]}); the file has changed since, pack it again"
        )
    return table


def open_source(info, path=None):
    """The particle table that a data set was packed from; `path` where the file has moved.

    Raises ZooError as `read_source` does.
    """
    columns = info.load_table()
    return read_source(path or info.source.get("path"), columns["uid"], columns["source_row"])


def write_selection(table, source_row, path, columns=None) -> int:
    """Write the rows `source_row` (k,) of `table`, in the order of the file, with extra `columns`.

    `columns` maps a name to k values in the order of `source_row`. Raises ZooError if nothing is
    selected. Returns the number of rows written.
    """
    rows = np.asarray(source_row, np.int64)
    if table.source and Path(path).absolute() == Path(table.source.path).absolute():
        raise ZooError(f"{path}: is the file that the particles come from; name another one")
    if not len(rows):
        raise ZooError(f"{path}: no particle is selected; nothing was written")
    rows, first = np.unique(rows, return_index=True)
    extra = {name: np.asarray(values)[first] for name, values in (columns or {}).items()}
    write_particles(table.select(rows), path, extra_columns=extra or None)
    return len(rows)


def latent_columns(z, cluster=None) -> dict:
    """STAR columns of latents z (n, d): ``zooLatent0`` …, and ``zooCluster`` where given."""
    columns = {f"zooLatent{index}": np.asarray(values) for index, values in enumerate(np.asarray(z).T)}
    if cluster is not None:
        columns["zooCluster"] = np.asarray(cluster, np.int64)
    return columns


def selection_suffix(source) -> str:
    """The suffix of the file that a selection goes back to: ``.cs`` for cryoSPARC, else ``.star``."""
    return ".cs" if Path(source).suffix.lower() == ".cs" else ".star"
