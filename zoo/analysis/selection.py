"""Selected particles go back to the file that they came from, every column and optics group kept."""

from pathlib import Path

import numpy as np

from zoo.data.particles import write_particles
from zoo.data.reopen import SourceRecord, reopen_source, require_same_rows
from zoo.errors import ZooError
from zoo.files import check_place


def read_source(origin, uid, source_row, path=None, stacks=None):
    """The whole particle or subtomogram table behind latents or a data set.

    `origin` is a path or the text of a `SourceRecord`, `uid` and `source_row` (n,) are those kept with it;
    `path` and `stacks` where the file or its images have moved. Raises ZooError if the file has changed since
    packing.
    """
    table = SourceRecord.from_text(str(origin)).read(path, stacks)
    require_same_rows(table, uid, source_row)
    return table


def open_source(info, path=None, stacks=None):
    """The table that a data set was packed from; `path`, `stacks` where file or images have moved.

    Raises ZooError as `read_source` does.
    """
    return reopen_source(info, path, stacks)


def check_output(path, table) -> None:
    """Raise ZooError where a selection of `table` cannot be written to `path`: known before any work."""
    path = Path(path)
    if table.source and path.absolute() == Path(table.source.path).absolute():
        raise ZooError(f"{path}: is the file that the particles come from; name another one")
    suffixes = (".star",) if table.image_ndim == 3 else (".star", ".cs")
    if path.suffix.lower() not in suffixes:
        raise ZooError(
            f"{path}: {table.kind} are written as {' or '.join(suffixes)}, not "
            f"{path.suffix or 'without a suffix'}"
        )
    check_place(path)


def write_selection(table, source_row, path, columns=None) -> int:
    """Write the rows `source_row` (k,) of the file of `table`, in its order, with extra `columns`.

    `columns` maps a name to k values in the order of `source_row`. Raises ZooError if nothing is
    selected. Returns the number of rows written.
    """
    rows = np.asarray(source_row, np.int64)
    check_output(path, table)
    if not len(rows):
        raise ZooError(f"{path}: no particle is selected; nothing was written")
    rows, first = np.unique(rows, return_index=True)
    extra = {name: np.asarray(values)[first] for name, values in (columns or {}).items()}
    part = table.select(np.searchsorted(table.source_row, rows))
    if table.image_ndim == 3:
        # Not before: it imports pandas, and commands check their words with what else is here.
        from zoo.data.formats.subtomogram_star_write import write_subtomograms

        write_subtomograms(part, path, extra_columns=extra or None)
    else:
        write_particles(part, path, extra_columns=extra or None)
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
