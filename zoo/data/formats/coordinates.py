"""Places of particles in a tomogram (STAR, CSV) → a table of subtomograms to cut from it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from zoo.data.formats.star import StarColumns
from zoo.data.formats.star_blocks import read_star_blocks
from zoo.data.formats.subtomogram_star import label_columns, pose_columns, volume_block
from zoo.data.formats.volumes import VolumeReader, volume_file
from zoo.data.tables.particle_table import Source, image_uids
from zoo.data.tables.subtomogram_table import COORDINATE_COLUMNS, SHIFT_COLUMNS_3D, SubtomogramTable
from zoo.errors import ZooError
from zoo.input_files import existing_file

OUTSIDE = ("refuse", "drop", "clip")
_CSV_COLUMNS = {"x": 0, "y": 1, "z": 2}
_CSV_POSE = {"rot_deg": "rot", "tilt_deg": "tilt", "psi_deg": "psi", "label": "label"}


def read_coordinates(
    source: str | os.PathLike, tomogram: str, pixel_size_angstrom: float | None = None
) -> SubtomogramTable:
    """Places in ``tomogram`` (MRC or EM) as a table; boxes are cut around the nearest voxel.

    STAR: rlnCoordinateX, Y, Z in voxels, 0-based (with rlnTomoTiltSeriesPixelSize in unbinned voxels of that
    size), or rlnCenteredCoordinateXAngst, .. from the middle of the tomogram; rows of other tomograms are
    left out. CSV: columns x, y, z in voxels, and rot, tilt, psi, label if there. What the rounding to a voxel
    leaves is in the shifts. Raises ZooError for files without places.
    """
    source = existing_file(source)
    file = volume_file(tomogram)
    voxel = pixel_size_angstrom or file.voxel_size_angstrom
    if not voxel or not 0 < voxel < np.inf:
        raise ZooError(f"{tomogram}: its header states no voxel size; give --pixel-size in Å")
    text = source.lower().endswith((".csv", ".txt", ".tsv"))
    places, columns, origin = (_from_csv if text else _from_star)(source, tomogram, file.shape, voxel)
    bad = np.flatnonzero(~np.isfinite(places).all(axis=1))
    if bad.size:
        raise ZooError(f"{source}: row {columns['source_row'][bad[0]] + 1}: a coordinate is not a number")
    nearest = np.rint(places)
    count = len(places)
    for number, (name, shift) in enumerate(zip(COORDINATE_COLUMNS, SHIFT_COLUMNS_3D, strict=True)):
        columns[name] = nearest[:, number]
        # position = coordinate - origin: what the box does not move, the origin must
        known = np.nan_to_num(columns.get(shift, np.zeros(count)))
        columns[shift] = known - (places - nearest)[:, number] * voxel
    columns |= {
        "stack_index": np.zeros(count, np.int32),
        "row_in_stack": np.zeros(count, np.int64),
        "pixel_size_angstrom": np.full(count, float(voxel)),
    }
    names = [os.path.basename(tomogram)]
    table = SubtomogramTable([tomogram], columns, origin, names)
    # two picks may round to one voxel: the row keeps them apart
    keys = zip(table.image_names(), table.source_row.tolist(), strict=True)
    table.uid = image_uids([f"{row}@{name}" for name, row in keys])
    return table


def keep_inside(table: SubtomogramTable, box: int, outside: str) -> tuple[SubtomogramTable, str]:
    """The table as ``outside`` asks for, and in words what was done about boxes beyond the tomogram.

    ``refuse`` leaves the table as it is (the reader then refuses), ``drop`` leaves those boxes out, ``clip``
    keeps them unless their middle is outside. Raises ZooError for another word and where none are left.
    """
    if outside not in OUTSIDE:
        raise ZooError(f"--outside {outside}: expected one of {', '.join(OUTSIDE)}")
    cut = np.isfinite(table.coordinates_voxel()).all(axis=1)
    if outside == "refuse" or not cut.any():
        return table, ""
    reader = VolumeReader(table, box, clip=True)
    beyond = reader.outside()
    words = ""
    if outside == "clip":
        sizes = np.array([reader.headers[int(stack)].shape[::-1] for stack in table.stack_index])
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


def _from_star(path: str, tomogram: str, shape: tuple[int, int, int], voxel: float):
    blocks, comments = read_star_blocks(path)
    name = volume_block(path, blocks)
    rows = _rows_of(path, blocks[name], tomogram)
    reader = StarColumns(path, blocks[name].iloc[rows].reset_index(drop=True), blocks.get("optics"))
    if reader.has("rlnCenteredCoordinateXAngst"):
        places = [reader.numbers(f"rlnCenteredCoordinate{axis}Angst", np.nan) for axis in "XYZ"]
        places = np.stack(places, axis=1) / voxel + np.array(shape[::-1]) / 2
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
    return places, columns, Source("star", path, blocks, name, os.path.dirname(path), comments=comments)


def _rows_of(path: str, block: pd.DataFrame, tomogram: str) -> np.ndarray:
    """Rows of a block that belong to a tomogram: all, where only one is named."""
    column = next((name for name in ("rlnTomoName", "rlnMicrographName") if name in block), None)
    if column is None or block[column].nunique() < 2:
        return np.arange(len(block))
    stem = Path(tomogram).name.split(".")[0]
    named = np.array([Path(str(name)).name.split(".")[0] for name in block[column]])
    rows = np.flatnonzero(named == stem)
    if not len(rows):
        known = ", ".join(sorted(set(named.tolist()))[:10])
        raise ZooError(f"{path}: no row belongs to tomogram {stem}: {column} names {known}")
    return rows


def _from_csv(path: str, tomogram: str, shape: tuple[int, int, int], voxel: float):
    try:
        frame = pd.read_csv(path, sep=None, engine="python", comment="#", skipinitialspace=True)
        numbered = all(_is_number(name) for name in frame.columns)
        if numbered:  # no header: the first row was taken for one
            frame = pd.read_csv(path, sep=None, engine="python", comment="#", header=None)
    except Exception as error:  # pandas has many ways to fail
        raise ZooError(f"{path}: not a readable table of coordinates: {error}") from error
    if numbered:
        if frame.shape[1] < 3:
            raise ZooError(f"{path}: {frame.shape[1]} columns without names; expected x, y, z in voxels")
        frame = frame.rename(columns={0: "x", 1: "y", 2: "z"})
    frame.columns = [str(name).strip().lower() for name in frame.columns]
    absent = [name for name in _CSV_COLUMNS if name not in frame]
    if absent or not len(frame):
        found = ", ".join(frame.columns) or "nothing"
        raise ZooError(f"{path}: found {found}; expected rows with columns x, y, z in voxels")
    columns = {"source_row": np.arange(len(frame))}
    numbers = {name: pd.to_numeric(frame[name], errors="coerce").to_numpy(float) for name in frame}
    for ours, theirs in _CSV_POSE.items():
        if theirs in numbers:
            columns[ours] = np.nan_to_num(numbers[theirs], nan=-1) if ours == "label" else numbers[theirs]
    places = np.stack([numbers[name] for name in _CSV_COLUMNS], axis=1)
    return places, columns, Source("csv", path, image_root=os.path.dirname(path))


def _is_number(name) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True
