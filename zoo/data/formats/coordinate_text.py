"""Places as text: CSV, blank-separated tables with and without names, IMOD's model2point."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field

import numpy as np

from zoo.data.formats.tomogram_names import name_variants, rows_of_tomogram
from zoo.errors import ZooError

_XYZ = ("x", "y", "z")
_POSE = {"rot": "rot_deg", "tilt": "tilt_deg", "psi": "psi_deg", "label": "label"}
_TOMOGRAM_COLUMNS = (
    "tomo_name", "tomogram_name", "tomogram", "tomo", "tomo_id", "tomogram_id", "experiment", "run",
    "run_name", "run_id", "tilt_series", "tiltseries", "ts", "ts_name", "micrograph", "micrograph_name",
    "volume", "rlntomoname", "rlnmicrographname",
)  # fmt: skip
_DYNAMO_COLUMNS = 20
_INTEGER = re.compile(r"[+-]?\d+")


@dataclass
class TextPlaces:
    """Places of one tomogram: ``places`` (n, 3) in voxels, poses and labels, the rows that they stand in.

    ``notes`` says what of the file was not used.
    """

    places: np.ndarray
    columns: dict[str, np.ndarray]
    notes: list[str] = field(default_factory=list)


def read_text_places(
    path: str, tomogram: str, shape: tuple[int, int, int], voxel: float, wanted: str | None = None
) -> TextPlaces:
    """Read x, y, z (voxels, 0-based; or x_angstrom, ...) of the rows of one tomogram from a table as text.

    Columns by name, or without names x y z, or as IMOD's model2point prints them: object, contour, x, y, z.
    ``shape`` (z, y, x) of the tomogram tells these apart where the text does not. Raises ZooError with the
    line of what cannot be read, and for tables of other programs.
    """
    names, rows, lines = _split(path)
    if names is None:
        names, notes = _name_columns(path, rows, shape)
    else:
        notes = []
    names = [name.strip().lstrip("_").lower() for name in names]
    double = next((name for name in names if names.count(name) > 1 and name), None)
    if double:
        raise ZooError(f"{path}: column {double} is there twice; remove one")
    unit = 1.0
    if all(f"{axis}_angstrom" in names for axis in _XYZ) and not set(_XYZ) <= set(names):
        names, unit = [name.removesuffix("_angstrom") for name in names], voxel
    if "xoffset" in names and "x" not in names:
        raise ZooError(
            f"{path}: a motive list of PEET, which holds offsets only; its places are in the .mod file: "
            "write them with IMOD's model2point and give that file"
        )
    if not set(_XYZ) <= set(names):
        found = ", ".join(names) or "nothing"
        raise ZooError(f"{path}: found {found}; expected rows with columns x, y, z in voxels")
    column = _tomogram_column(names, rows, tomogram)
    chosen = np.arange(len(rows))
    if column is not None:
        texts = [row[names.index(column)] for row in rows]
        if wanted is None and len(set(texts)) == 1 and _is_number(texts[0]):
            notes.append(f"{column} is {texts[0]} in every row: taken as this tomogram")
        else:
            chosen = rows_of_tomogram(path, column, texts, tomogram, wanted)
            if len(chosen) < len(rows):
                notes.append(f"{len(rows) - len(chosen)} of {len(rows)} rows are of other tomograms")
    elif wanted is not None:
        raise ZooError(f"{path}: no column names tomograms, so --tomogram-name {wanted} chooses nothing")
    used = {*_XYZ, *_POSE, column}
    unread = [name for name in names if name not in used]
    if unread:
        notes.append(f"columns not read: {', '.join(unread)}")
    numbers = {
        name: np.array(
            [_number(path, name, rows[row][index], lines[row]) for row in chosen], dtype=np.float64
        )
        for index, name in enumerate(names)
        if name in used and name != column
    }
    columns: dict[str, np.ndarray] = {"source_row": chosen}
    for theirs, ours in _POSE.items():
        if theirs in numbers:
            columns[ours] = np.nan_to_num(numbers[theirs], nan=-1) if ours == "label" else numbers[theirs]
    return TextPlaces(np.stack([numbers[name] for name in _XYZ], axis=1) / unit, columns, notes)


def _split(path: str) -> tuple[list[str] | None, list[list[str]], list[int]]:
    """Names of the columns (None: there are none), rows of text and the line that each stands in."""
    with open(path, encoding="utf-8-sig", errors="replace", newline=None) as file:
        lines = [(number, _without_comment(line)) for number, line in enumerate(file, 1)]
    lines = [(number, line) for number, line in lines if line.strip()]
    if not lines:
        raise ZooError(f"{path}: no rows; expected rows with columns x, y, z in voxels")
    # the mark of a decimal comma is the semicolon between the values
    mark = next((mark for mark in (";", ",", "\t") if mark in lines[0][1].strip()), None)
    if mark is None:
        rows = [line.split() for _, line in lines]
    else:
        texts = (line.strip() if mark != "\t" else line.strip("\r\n ") for _, line in lines)
        rows = [
            [value.strip() for value in row]
            for row in csv.reader(texts, delimiter=mark, skipinitialspace=True)
        ]
    names = None if all(_is_number(value) for value in rows[0]) else rows[0]
    body, numbers = rows, [number for number, _ in lines]
    if names is not None:
        body, numbers = rows[1:], numbers[1:]
        if not body:
            raise ZooError(f"{path}: found {', '.join(names)}; expected rows with columns x, y, z in voxels")
    width = len(names if names is not None else body[0])
    for number, row in zip(numbers, body, strict=True):
        if len(row) != width:
            raise ZooError(f"{path}: line {number}: {len(row)} values, expected {width} as in the first row")
    return names, body, numbers


def _name_columns(
    path: str, rows: list[list[str]], shape: tuple[int, int, int]
) -> tuple[list[str], list[str]]:
    """Names for a table without any, and notes about what they leave unread."""
    width = len(rows[0])
    if width < 3:
        raise ZooError(f"{path}: {width} columns without names; expected x, y, z in voxels")
    if width >= _DYNAMO_COLUMNS:
        raise ZooError(
            f"{path}: {width} columns without names, as a table of Dynamo (.tbl) has them; its places are in "
            "columns 24 to 26, its shifts in 4 to 6: write them as a CSV with columns x, y, z"
        )
    before = _imod_columns(path, rows, shape)
    names = [*("object", "contour")[2 - before :], *_XYZ] if before else list(_XYZ)
    rest = [f"column {number + 1}" for number in range(len(names), width)]
    note = []
    if before:
        note.append(f"columns without names read as {', '.join(names)} (IMOD's model2point)")
    elif rest:
        note.append("columns without names: the first three are read as x, y, z (name them in a first line)")
    return names + rest, note


def _imod_columns(path: str, rows: list[list[str]], shape: tuple[int, int, int]) -> int:
    """How many columns (object, contour) stand before x, y, z: 2, 1 or 0.

    model2point writes objects and contours as whole numbers in rising order, coordinates with decimals.
    Where all numbers are whole the tomogram decides; ZooError where it cannot.
    """
    width = len(rows[0])
    whole = [all(_INTEGER.fullmatch(row[index]) for row in rows) for index in range(width)]
    values = np.array([[float(value) for value in row] for row in rows])
    size = np.array(shape[::-1])

    def fits(first: int) -> bool:
        part = values[:, first : first + 3]
        return bool(((part >= 0) & (part < size)).all())

    for before in (2, 1):
        if width < before + 3 or not all(whole[:before]) or not _rises(values[:, :before]):
            continue
        if not any(whole[before : before + 3]):
            return before
        if not all(whole[before : before + 3]) or not fits(before):
            continue
        if not fits(0):
            return before
        if width == before + 3:
            raise ZooError(
                f"{path}: {width} columns of whole numbers without names: "
                f"{'object, ' * (before == 2)}contour, x, y, z, or x, y, z and more? Name them in a first "
                "line"
            )
    return 0


def _rises(values: np.ndarray) -> bool:
    """Whether rows (object, contour) come in the order of an IMOD model, counted from 1 (or 0)."""
    rows = [tuple(row) for row in values.tolist()]
    return min(min(row) for row in rows) >= 0 and rows == sorted(rows)


def _tomogram_column(names: list[str], rows: list[list[str]], tomogram: str) -> str | None:
    """The column that names tomograms: by its name, else the one in which this tomogram is named."""
    plain = {name.replace(" ", "_").replace("-", "_"): name for name in names}
    found = next((plain[name] for name in _TOMOGRAM_COLUMNS if name in plain), None)
    if found is not None:
        return found
    variants = name_variants(tomogram)
    for index, name in enumerate(names):
        texts = {row[index] for row in rows}
        if not any(_is_number(text) for text in texts) and any(
            variants & name_variants(text) for text in texts
        ):
            return name
    return None


def _without_comment(line: str) -> str:
    return re.sub(r"(^|\s)#.*", "", line)


def _number(path: str, name: str, text: str, line: int) -> float:
    if not text and name not in _XYZ:
        return np.nan
    try:
        return float(text)
    except ValueError:
        raise ZooError(f"{path}: line {line}: {name} is {text!r}, expected a number") from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
