"""Particles chosen by cluster, by lists of uids or rows, by ranges of any column, and all others."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from zoo.analysis.cluster_report import CLUSTERS, keep_clusters
from zoo.analysis.latent import Latents
from zoo.analysis.selection import latent_columns, read_source, write_selection
from zoo.data.info import INFO_NAME, DatasetInfo
from zoo.data.reopen import reopen_source
from zoo.data.tables.particle_table import ParticleTable, Source
from zoo.errors import ZooError

_CONDITION = re.compile(r"\s*(?P<column>.+?)\s*(?P<sign><=|>=|==|!=|=|<|>)\s*(?P<value>.+?)\s*")
_COMPARE = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "=": np.equal,
    "!=": np.not_equal,
}
_VECTOR = re.compile(r"(?P<name>.+)\[(?P<index>\d+)\]")


@dataclass
class Particles:
    """n particles to choose from: rows ``source_row`` (n,) of the file behind ``table``, and their ``uid``.

    ``columns`` are those that the file does not hold (``zooLatent0`` …, ``zooCluster``), each (n,).
    """

    place: str
    table: ParticleTable
    source_row: np.ndarray
    uid: np.ndarray
    columns: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.source_row)

    def column(self, name: str) -> np.ndarray:
        """A column by its name in latents, STAR or .cs (``name[0]`` of a vector), or in our table.

        Numbers where every value is one, else text. Raises ZooError for unknown names.
        """
        if name in self.columns:
            return self.columns[name]
        rows = np.searchsorted(self.table.source_row, self.source_row)
        values = _of_file(self.table, name)
        if values is None and name in self.table.column_types:
            values = getattr(self.table, name)
        if values is None:
            known = [*self.columns, *_names_of_file(self.table), *self.table.column_types]
            raise ZooError(
                f"{self.place}: no column {name}; the columns are {', '.join(dict.fromkeys(known))}"
            )
        return values[rows]

    def write(self, chosen: np.ndarray, path: str | os.PathLike) -> int:
        """Write the particles at ``chosen`` (indices) with their cluster, as `write_selection`."""
        columns = {name: self.columns[name][chosen] for name in ("zooCluster",) if name in self.columns}
        return write_selection(self.table, self.source_row[chosen], path, columns)


def open_particles(place, out, source=None, stacks=None) -> Particles:
    """What a selection may be made from: latents, clusters, a packed data set, or a STAR or .cs file.

    ``source`` and ``stacks`` say where its file and images have moved; ``out`` is where rows will go. Raises
    ZooError for any other place.
    """
    path = Path(place)
    if path.is_dir() and (path / INFO_NAME).is_file():
        info = DatasetInfo.load(path)
        table, packed = reopen_source(info, source, stacks), info.load_table()
        order = np.argsort(packed["source_row"])
        return Particles(str(path), table, packed["source_row"][order], packed["uid"][order])
    if path.suffix.lower() in (".star", ".cs"):
        if source is not None:
            raise ZooError(f"{path}: is the particle file itself; --source is for latents and data sets")
        table = _rows_of_file(str(path), Path(out).suffix.lower(), stacks)
        return Particles(str(path), table, table.source_row, table.uid)
    if path.is_dir() and not (path / CLUSTERS).is_file():
        raise ZooError(f"{path}: has neither {CLUSTERS} (zoo-infer cluster) nor {INFO_NAME} (zoo-pack)")
    latents = Latents.load(path / CLUSTERS if path.is_dir() else path)
    table = read_source(latents.origin or latents.source, latents.uid, latents.source_row, source, stacks)
    columns = latent_columns(latents.z_mean, latents.extra.get("cluster"))
    return Particles(str(path), table, latents.source_row, latents.uid, columns)


def choose(
    particles: Particles, clusters=None, uids=None, rows=None, where=(), complement=False
) -> np.ndarray:
    """Indices of the particles for which all that is given holds; with ``complement`` of all others.

    ``clusters`` are numbers, ``uids`` and ``rows`` (of the file, from 0) files of numbers, ``where``
    conditions such as ``zooLatent0 > 1`` or ``rlnClassNumber == 2 and rlnDefocusU < 20000``. Raises ZooError
    for unknown columns, and for clusters, uids and rows that no particle has.
    """
    if clusters is None and uids is None and rows is None and not where:
        raise ZooError(f"{particles.place}: nothing to choose by; give --keep, --uids, --rows or --where")
    chosen = np.ones(len(particles), dtype=bool)
    if clusters is not None:
        cluster = particles.column("zooCluster").astype(np.int64)
        kept = np.zeros(len(particles), dtype=bool)
        kept[keep_clusters(cluster, clusters, particles.place)] = True
        chosen &= kept
    for file, column, name in ((uids, particles.uid, "uid"), (rows, particles.source_row, "row")):
        if file is not None:
            chosen &= _listed(file, column, name, particles.place)
    for condition in where:
        for part in re.split(r"\s+and\s+", condition.strip()):
            chosen &= holds(particles, part)
    return np.flatnonzero(~chosen if complement else chosen)


def holds(particles: Particles, condition: str) -> np.ndarray:
    """For which particles ``COLUMN SIGN VALUE`` holds, (n,) bool; what is not known fulfils nothing."""
    match = _CONDITION.fullmatch(condition)
    if match is None:
        raise ZooError(
            f"--where {condition!r}: expected a column, one of < <= > >= == != and a value, "
            "such as 'zooLatent0 > 1'"
        )
    values = particles.column(match["column"])
    text, sign = match["value"].strip("'\""), match["sign"]
    if values.dtype.kind in "US":
        if sign not in ("=", "==", "!="):
            raise ZooError(
                f"--where {condition!r}: {match['column']} holds text, which is only == or != a value"
            )
        return _COMPARE[sign](values, text)
    try:
        number = np.float64(text) if values.dtype.kind == "f" or not re.fullmatch(r"\d+", text) else int(text)
    except ValueError:
        raise ZooError(f"--where {condition!r}: {match['column']} holds numbers, {text!r} is none") from None
    if values.dtype.kind == "f":
        return _COMPARE[sign](values, number) & np.isfinite(values)
    return _COMPARE[sign](values, number)


def _listed(file, column: np.ndarray, name: str, place: str) -> np.ndarray:
    """Which particles a file of numbers (text, one a line, or .npy) names."""
    path = str(file)
    try:
        if path.lower().endswith(".npy"):
            listed = np.load(path, allow_pickle=False).reshape(-1)
            wanted = {int(number) for number in listed.tolist()}
        else:
            words = re.split(r"[\s,;]+", Path(path).read_text(encoding="utf-8-sig").strip())
            words = words[1:] if words and not words[0].isdecimal() and name in words[0].lower() else words
            wanted = {int(word) for word in words}
    except FileNotFoundError:
        raise ZooError(f"{path}: no such file; expected a list of {name}s, one a line") from None
    except (OSError, ValueError, TypeError) as error:
        raise ZooError(
            f"{path}: not a list of whole numbers ({error}); expected a {name} in each line"
        ) from error
    have = set(column.tolist())
    lost = sorted(wanted - have)
    if lost:
        raise ZooError(f"{path}: {name} {lost[0]} is not in {place} ({len(lost)} of {len(wanted)} are not)")
    return np.array([value in wanted for value in column.tolist()], dtype=bool)


def _of_file(table: ParticleTable, name: str) -> np.ndarray | None:
    source = table.source
    if source is None or not source.blocks:
        return None
    if source.format == "cs":
        array, vector = source.blocks["particles"], _VECTOR.fullmatch(name)
        column = name if vector is None else vector["name"]
        if column not in array.dtype.names:
            return None
        values = array[column]
        if vector is not None and values.ndim == 2 and int(vector["index"]) < values.shape[1]:
            values = values[:, int(vector["index"])]
        if values.ndim > 1:
            raise ZooError(
                f"{source.path}: {column} has {values.shape[1]} values a row; say which: {column}[0]"
            )
        return (np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values)[table.source_row]
    from zoo.data.formats.star import StarColumns

    block = source.blocks[source.particle_block]
    reader = StarColumns(source.path, block, source.blocks.get("optics"))
    if not reader.has(name):
        return None
    column = block[name] if name in block else reader.optics[name].iloc[reader.group_rows()]
    try:
        return column.to_numpy().astype(np.int64)[table.source_row]
    except (ValueError, TypeError, OverflowError):
        pass
    try:
        return column.to_numpy().astype(np.float64)[table.source_row]
    except (ValueError, TypeError):
        return column.to_numpy().astype(str)[table.source_row]


def _names_of_file(table: ParticleTable) -> list[str]:
    source = table.source
    if source is None or not source.blocks:
        return []
    block = source.blocks[source.particle_block]
    return list(block.dtype.names if source.format == "cs" else block.columns)


def _rows_of_file(path: str, suffix: str, stacks) -> ParticleTable:
    """Rows of a STAR or .cs file, read as particles only where they go into the other format."""
    from zoo.data.formats.cryosparc import read_cs_array
    from zoo.data.formats.star import StarColumns, star_uids
    from zoo.data.formats.star_blocks import read_star_blocks
    from zoo.data.formats.subtomogram_star import volume_block
    from zoo.data.particles import read_particles
    from zoo.input_files import existing_file, resolve_images

    path = existing_file(path)
    if suffix != Path(path).suffix.lower() or stacks is not None:
        return read_particles(path, stacks=stacks)
    folder = os.path.dirname(path)
    if suffix == ".cs":
        array = read_cs_array(path)
        source = Source("cs", path, {"particles": array}, "particles")
        return ParticleTable([path], {"row_in_stack": np.arange(len(array)), "uid": array["uid"]}, source)
    blocks, comments = read_star_blocks(path)
    name = volume_block(path, blocks)
    block = blocks[name]
    images = [str(text) for text in block["rlnImageName"]] if "rlnImageName" in block else []
    uid = star_uids(StarColumns(path, block, None), images or [f"{row}@{path}" for row in range(len(block))])
    stacks = list(dict.fromkeys(image.rpartition("@")[2] for image in images)) or [path]
    paths, root = resolve_images(stacks, folder, comments.get("image_root", ""))
    source = Source("star", path, blocks, name, root, comments=comments)
    return ParticleTable(paths, {"row_in_stack": np.arange(len(block)), "uid": uid}, source, stacks)
