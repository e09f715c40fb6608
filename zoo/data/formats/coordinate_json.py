"""Picks of copick (JSON) → places in a tomogram."""

from __future__ import annotations

import json

import numpy as np

from zoo.data.formats.coordinate_text import TextPlaces
from zoo.data.formats.tomogram_names import rows_of_tomogram
from zoo.errors import ZooError

_HELP = "write x, y, z in voxels as a CSV, or give a pick file of copick (points with location x, y, z in Å)"


def read_json_places(path: str, tomogram: str, voxel: float, wanted: str | None = None) -> TextPlaces:
    """Read copick's picks: ``points`` with ``location`` x, y, z in Å from the corner of the tomogram.

    ``run_name`` must be that of the tomogram. Raises ZooError for any other JSON.
    """
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (ValueError, RecursionError) as error:
        raise ZooError(f"{path}: damaged JSON: {error}; copy or write the file again") from error
    points = content.get("points") if isinstance(content, dict) else None
    if not isinstance(points, list) or not points:
        found = ", ".join(map(str, list(content)[:5])) if isinstance(content, dict) else "a list"
        raise ZooError(f"{path}: JSON without points (found {found or 'nothing'}); {_HELP}")
    unit = content.get("unit", "angstrom")
    if unit != "angstrom":
        raise ZooError(f"{path}: unit is {unit!r}, expected angstrom; {_HELP}")
    run = content.get("run_name")
    if run is not None or wanted is not None:
        rows_of_tomogram(path, "run_name", [run], tomogram, wanted)
    places = np.array([_location(path, number, point) for number, point in enumerate(points, 1)])
    notes = ["the poses of the picks (transformation_) are not read"] if _turned(points) else []
    return TextPlaces(places / voxel, {"source_row": np.arange(len(places))}, notes)


def _location(path: str, number: int, point) -> list[float]:
    try:
        return [float(point["location"][axis]) for axis in "xyz"]
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ZooError(f"{path}: point {number} has no location with numbers x, y, z; {_HELP}") from None


def _turned(points: list) -> bool:
    turns = [point.get("transformation_") for point in points if isinstance(point, dict)]
    return any(turn is not None and turn != np.eye(4).tolist() for turn in turns)
