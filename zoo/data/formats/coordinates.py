"""Places of particles in a tomogram (STAR, text, JSON) → a table of subtomograms to cut from it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from zoo.data.formats.coordinate_json import read_json_places
from zoo.data.formats.coordinate_text import read_text_places
from zoo.data.formats.star import StarColumns, star_uids
from zoo.data.formats.star_blocks import read_star_blocks
from zoo.data.formats.subtomogram_star import label_columns, pose_columns, volume_block, wedge_files
from zoo.data.formats.tomogram_names import rows_of_tomogram
from zoo.data.formats.volumes import VolumeReader, volume_file
from zoo.data.tables.particle_table import Source, image_uids
from zoo.data.tables.subtomogram_table import COORDINATE_COLUMNS, SHIFT_COLUMNS_3D, SubtomogramTable
from zoo.errors import ZooError
from zoo.input_files import existing_file

if TYPE_CHECKING:
    import pandas as pd

OUTSIDE = ("refuse", "drop", "clip")
_HEAD_BYTES = 1 << 16


def read_coordinates(
    source: str | os.PathLike,
    tomogram: str,
    pixel_size_angstrom: float | None = None,
    tomogram_name: str | None = None,
) -> SubtomogramTable:
    """Places in ``tomogram`` (MRC or EM) as a table; boxes are cut around the nearest voxel.

    STAR: rlnCoordinateX, Y, Z in voxels, 0-based (with rlnTomoTiltSeriesPixelSize in unbinned voxels of
    that size), or rlnCenteredCoordinateXAngst, .. from the middle of the tomogram. Text: columns x, y, z in
    voxels, and rot, tilt, psi, label if there (`coordinate_text`); JSON of copick. Rows that name another
    tomogram are left out; ``tomogram_name`` is how the file names this one. What the rounding to a voxel
    leaves is in the shifts, and in ``table.source.place_offset_angstrom``. Raises ZooError for files
    without places.
    """
    source = existing_file(source)
    file = volume_file(tomogram)
    voxel = pixel_size_angstrom or file.voxel_size_angstrom
    if not voxel or not 0 < voxel < np.inf:
        raise ZooError(f"{tomogram}: its header states no voxel size; give --pixel-size in Å")
    places, columns, origin, wedges = _read_places(source, tomogram, file.shape, float(voxel), tomogram_name)
    bad = np.flatnonzero(~np.isfinite(places).all(axis=1))
    if bad.size:
        raise ZooError(f"{source}: row {columns['source_row'][bad[0]] + 1}: a coordinate is not a number")
    nearest = np.rint(places)
    count = len(places)
    offset = (places - nearest) * voxel
    origin.place_offset_angstrom = np.full((int(columns["source_row"].max()) + 1, 3), np.nan)
    origin.place_offset_angstrom[columns["source_row"]] = offset
    for number, (name, shift) in enumerate(zip(COORDINATE_COLUMNS, SHIFT_COLUMNS_3D, strict=True)):
        columns[name] = nearest[:, number]
        # position = coordinate - origin: what the box does not move, the origin must
        known = np.nan_to_num(columns.get(shift, np.zeros(count)))
        columns[shift] = known - offset[:, number]
    columns |= {
        "stack_index": np.zeros(count, np.int32),
        "row_in_stack": np.zeros(count, np.int64),
        "pixel_size_angstrom": np.full(count, float(voxel)),
    }
    names = [os.path.basename(tomogram)]
    uid = columns.pop("uid", None)
    table = SubtomogramTable([tomogram], columns, origin, names, wedges)
    if uid is None:
        # two picks may round to one voxel: the row keeps them apart
        keys = zip(table.image_names(), table.source_row.tolist(), strict=True)
        uid = image_uids([f"{row}@{name}" for name, row in keys])
    table.uid = uid
    return table


def _read_places(path: str, tomogram: str, shape: tuple[int, int, int], voxel: float, wanted: str | None):
    """Places (n, 3) in voxels, columns, source and wedge files of a file, its format told by its content."""
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(b"IMODV"):
        raise ZooError(f"{path}: a model of IMOD (binary); write it as text with IMOD's model2point")
    if b"\0" in head:
        raise ZooError(
            f"{path}: binary data, expected places as STAR, CSV, text or JSON; a motive list (.em) "
            "holds them in rows 8 to 10: write them as a CSV with columns x, y, z"
        )
    if any(line.lstrip().startswith(b"data_") for line in head.splitlines()) or path.lower().endswith(
        ".star"
    ):
        return _from_star(path, tomogram, shape, voxel, wanted)
    if head.lstrip()[:1] in (b"{", b"["):
        found, kind = read_json_places(path, tomogram, voxel, wanted), "json"
    else:
        found, kind = read_text_places(path, tomogram, shape, voxel, wanted), "csv"
    source = Source(kind, path, image_root=os.path.dirname(path), notes=found.notes)
    return found.places, found.columns, source, []


def _refuse_larger(table: SubtomogramTable, box: int, cut: np.ndarray) -> None:
    """Raise ZooError where a box has more voxels along an axis than the tomogram: it never lies inside."""
    for stack in np.unique(table.stack_index[cut]).tolist():
        path = table.stack_paths[stack]
        if os.path.exists(path) and min(shape := volume_file(path).shape) < box:
            size = " x ".join(str(side) for side in shape[::-1])
            raise ZooError(
                f"{path}: {size} voxels, smaller than a box of {box}; give a smaller --box, or --outside "
                "clip, "
                "which fills what is missing with the mean"
            )


def keep_inside(table: SubtomogramTable, box: int, outside: str) -> tuple[SubtomogramTable, str]:
    """The table as ``outside`` asks for, and in words what was done about boxes beyond the tomogram.

    ``refuse`` leaves the table as it is (the reader then refuses), ``drop`` leaves those boxes out, ``clip``
    keeps them unless their middle is outside. Raises ZooError for another word and where none are left.
    """
    if outside not in OUTSIDE:
        raise ZooError(f"--outside {outside}: expected one of {', '.join(OUTSIDE)}")
    cut = np.isfinite(table.coordinates_voxel()).all(axis=1)
    if outside != "clip":
        _refuse_larger(table, box, cut)
    if outside == "refuse" or not cut.any():
        return table, ""
    reader = VolumeReader(table, box, clip=True)
    beyond = reader.outside()
    words = ""
    if outside == "clip":
        shapes = {stack: header.shape[::-1] for stack, header in reader.headers.items()}
        sizes = np.array([shapes[stack] for stack in table.stack_index.tolist()])
        places = table.coordinates_voxel()
        off = np.flatnonzero(cut & ((places < 0) | (places >= sizes)).any(axis=1))
        clipped = len(beyond) - len(off)
        words = f"{clipped} boxes reach beyond the tomogram: filled with their mean; " if clipped else ""
        beyond = off
    if len(beyond):
        rows = ", ".join(str(int(table.source_row[index]) + 1) for index in beyond[:10].tolist())
        words += f"{len(beyond)} of {len(table)} left out (rows {rows}{', ...' if len(beyond) > 10 else ''})"
        table = table.select(np.setdiff1d(np.arange(len(table)), beyond))
    if not len(table):
        raise ZooError(f"no box of {box} voxels lies inside its tomogram: {words}; check units and --box")
    return table, words.removesuffix("; ")


def _from_star(path: str, tomogram: str, shape: tuple[int, int, int], voxel: float, wanted: str | None):
    blocks, comments = read_star_blocks(path)
    if any(str(name).startswith("stopgap") for name in blocks):
        raise ZooError(
            f"{path}: a motive list of STOPGAP; its places are orig_x + x_shift, .. (voxels): write them as "
            "a CSV with columns x, y, z"
        )
    name = volume_block(path, blocks)
    rows, notes = _rows_of(path, blocks[name], tomogram, wanted)
    import pandas as pd

    block = pd.DataFrame(blocks[name]).iloc[rows].reset_index(drop=True)
    reader = StarColumns(path, block, blocks.get("optics"))
    if reader.has("rlnCenteredCoordinateXAngst"):
        centred = [reader.numbers(f"rlnCenteredCoordinate{axis}Angst", np.nan) for axis in "XYZ"]
        places = np.stack(centred, axis=1) / voxel + np.array(shape[::-1]) / 2
    elif reader.has("rlnCoordinateX") and reader.has("rlnCoordinateZ"):
        places = np.stack([reader.numbers(f"rlnCoordinate{axis}", np.nan) for axis in "XYZ"], axis=1)
        places *= (reader.numbers("rlnTomoTiltSeriesPixelSize", voxel) / voxel)[:, None]
    else:
        raise ZooError(
            f"{path}: no coordinates in data_{name}; expected rlnCoordinateX, Y, Z or "
            "rlnCenteredCoordinateXAngst, .."
        )
    columns = pose_columns(reader, np.full(len(rows), voxel)) | label_columns(reader)
    columns["source_row"] = rows
    if "zooUid" in reader.particles:
        columns["uid"] = star_uids(reader, [])
    source = Source("star", path, blocks, name, os.path.dirname(path), comments=comments, notes=notes)
    wedges, index = wedge_files(reader, path, comments)
    return places, columns | index, source, wedges


def _rows_of(
    path: str, block: pd.DataFrame, tomogram: str, wanted: str | None
) -> tuple[np.ndarray, list[str]]:
    """Rows of a block that belong to a tomogram (all, where the block names none), and a note on others."""
    column = next((name for name in ("rlnTomoName", "rlnMicrographName") if name in block), None)
    if column is None:
        if wanted is not None:
            raise ZooError(f"{path}: no column names tomograms, so --tomogram-name {wanted} chooses nothing")
        return np.arange(len(block)), []
    rows = rows_of_tomogram(path, column, block[column].tolist(), tomogram, wanted)
    others = len(block) - len(rows)
    return rows, [f"{others} of {len(block)} rows are of other tomograms"] if others else []
