"""Picks → RELION STAR, and the places that a STAR file of the truth names."""

from __future__ import annotations

import os

import numpy as np

from zoo.data.formats.coordinates import read_coordinates
from zoo.data.formats.subtomogram_star_write import write_subtomograms
from zoo.data.tables.subtomogram_table import COORDINATE_COLUMNS, SubtomogramTable
from zoo.picking.pick import Picks

SCORE_COLUMN = "rlnAutopickFigureOfMerit"


def write_picks(
    picks: Picks,
    path: str | os.PathLike,
    tomogram: str,
    voxel_size_angstrom: float,
    tomogram_name: str | None = None,
    relion5: bool = False,
) -> None:
    """Write picks as a STAR file, atomically: rlnTomoName, rlnCoordinateX, Y, Z (voxels, 0-based), score.

    ``zoo-pack --tomogram`` reads it. ``tomogram_name`` replaces the file's name in rlnTomoName; with
    ``relion5`` there are also RELION 5's columns (places in Å from the middle of the tomogram).
    """
    count = len(picks)
    columns = {
        "stack_index": np.zeros(count, int),
        "row_in_stack": np.zeros(count, int),
        "pixel_size_angstrom": np.full(count, voxel_size_angstrom),
    }
    for number, name in enumerate(COORDINATE_COLUMNS):
        columns[name] = picks.places_voxel[:, number]
    table = SubtomogramTable([tomogram], columns, stack_names=[os.path.basename(tomogram)])
    extra = {SCORE_COLUMN: picks.scores}
    if tomogram_name is not None:
        extra["rlnTomoName"] = np.full(count, tomogram_name)
    write_subtomograms(table, path, extra_columns=extra, relion5=relion5)


def read_truth(
    path: str | os.PathLike, tomogram: str, voxel_size_angstrom: float, tomogram_name: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """True places (m, 3) xyz in voxels, origins taken into account, and labels (m,), -1 where unknown.

    Any list of places that `read_coordinates` reads; raises ZooError as it does.
    """
    table = read_coordinates(path, tomogram, voxel_size_angstrom, tomogram_name)
    moved = np.nan_to_num(table.shift_angstrom()) / voxel_size_angstrom
    return table.coordinates_voxel() - moved, table.label
