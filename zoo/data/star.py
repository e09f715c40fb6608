"""RELION particle STAR files, 3.0 to 5: read into a table, written back without losing a column."""

from __future__ import annotations

import os
import re
import shlex

import numpy as np
import pandas as pd
import starfile

from zoo.data.files import atomic_path, existing_file, resolve_images
from zoo.data.table import ParticleTable, Source, image_uids
from zoo.errors import ZooError

_ROOT_COMMENT = "# zoo: image names are relative to "
_VERSION_COMMENT = re.compile(r"#\s*version\s+\d+")

# table column → (STAR column, value RELION takes where the column is missing)
_CTF_FROM_STAR = {
    "defocus_u_angstrom": ("rlnDefocusU", np.nan),
    "defocus_v_angstrom": ("rlnDefocusV", np.nan),
    "defocus_angle_deg": ("rlnDefocusAngle", 0.0),
    "voltage_kv": ("rlnVoltage", np.nan),
    "cs_mm": ("rlnSphericalAberration", np.nan),
    "amplitude_contrast": ("rlnAmplitudeContrast", np.nan),
    "phase_shift_deg": ("rlnPhaseShift", 0.0),
    "bfactor_angstrom2": ("rlnCtfBfactor", 0.0),
    "ctf_scale": ("rlnCtfScalefactor", 1.0),
}
_TOMO_COLUMNS = ("rlnTomoName", "rlnTomoParticleName", "rlnTomoVisibleFrames", "rlnTomoParticleId")


def read_star_blocks(path: str | os.PathLike) -> tuple[dict[str, pd.DataFrame | dict], dict[str, str]]:
    """All blocks of a STAR file with every value as the text in the file, and what its comments say.

    Loops become data frames of text, simple blocks dicts. The second dict may hold ``version`` and
    ``image_root``. Raises ZooError for what is not a readable STAR file.
    """
    path = existing_file(path)
    columns, comments = _scan(path)
    try:
        blocks = starfile.read(path, always_dict=True, parse_as_string=columns)
    except Exception as error:  # starfile and pandas raise many kinds on damaged text
        raise ZooError(f"{path}: damaged STAR file: {error}; copy or write the file again") from error
    for name, block in blocks.items():
        if isinstance(block, pd.DataFrame) and len(block) and len(block.columns):
            _check_last_column(path, name, block)
    return {name: block for name, block in blocks.items() if block is not None}, comments


def read_star(path: str | os.PathLike) -> ParticleTable:
    """Read a RELION particle STAR file (3.0, 3.1, 4, 5; optics groups; any block order) into a table.

    Particle columns win over the optics table. Origins in pixels (3.0) become Å; a missing CTF
    detail takes RELION's default (no phase shift, no B-factor, scale 1). Raises ZooError naming the
    row for every value that makes no sense.
    """
    path = existing_file(path)
    blocks, comments = read_star_blocks(path)
    name = _particle_block(path, blocks)
    reader = _Columns(path, blocks[name], blocks.get("optics"))
    names = reader.particles["rlnImageName"].tolist()
    rows, stacks = _split_image_names(path, names)
    stack_index, stack_names = pd.factorize(np.asarray(stacks, dtype=object))
    stack_names = [str(stack) for stack in stack_names]
    paths, root = resolve_images(stack_names, os.path.dirname(path), comments.get("image_root", ""))
    pixel_size = _pixel_size(reader)
    columns = {
        "stack_index": stack_index,
        "row_in_stack": rows,
        "uid": _uids(reader, names),
        "pixel_size_angstrom": pixel_size,
        "source_row": np.arange(len(names)),
        "optics_group": reader.integers("rlnOpticsGroup", 1),
        "random_subset": reader.integers("rlnRandomSubset", 0),
        "label": reader.integers("zooLabel", -1),
    }
    columns.update(_poses(reader, pixel_size))
    for ours, (theirs, default) in _CTF_FROM_STAR.items():
        columns[ours] = reader.numbers(theirs, np.nan)
        if reader.has("rlnDefocusU") and not reader.has(theirs):
            columns[ours] = np.full(len(names), default)
    if not reader.has("rlnDefocusV"):
        columns["defocus_v_angstrom"] = columns["defocus_u_angstrom"]
    source = Source("star", path, blocks, name, root, comments=comments)
    return ParticleTable(paths, columns, source, stack_names)


def write_star_blocks(
    path: str | os.PathLike, blocks: dict[str, pd.DataFrame | dict], comments: dict[str, str] | None = None
) -> None:
    """Write blocks as RELION reads them, atomically; ``comments`` may hold version and image_root."""
    comments = comments or {}
    parts = []
    if comments.get("image_root"):
        parts.append(_ROOT_COMMENT + comments["image_root"] + "\n")
    for name, block in blocks.items():
        text = starfile.to_string({name: block}, na_rep="nan")
        parts.append(comments.get("version", "") + "\n\n" + text[text.index("data_") :])
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write("\n".join(parts).lstrip("\n"))


def write_star(table: ParticleTable, path: str | os.PathLike, extra_columns: dict | None = None) -> None:
    """Write a table as STAR: the original rows and blocks where it came from a STAR file, else RELION 3.1.

    ``extra_columns`` (name → one value per particle) are added or replaced; known labels become
    ``zooLabel``. Values of the original file are written as the text they were, so changes made to
    the table's own columns are not.
    """
    path = os.path.abspath(os.fspath(path))
    if table.source is not None and table.source.format == "star":
        blocks = dict(table.source.blocks)
        particles = blocks[table.source.particle_block].iloc[table.source_row].reset_index(drop=True)
        comments = dict(table.source.comments)
        target = table.source.particle_block
    else:
        blocks, target = _blocks_from_table(table), "particles"
        particles, comments = blocks["particles"], {"version": "# version 30001"}
    particles = particles.copy()
    added = dict(extra_columns or {})
    if (table.label >= 0).any() and "zooLabel" not in particles and "zooLabel" not in added:
        added["zooLabel"] = table.label
    for name, values in added.items():
        values = np.asarray(values)
        if values.shape != (len(table),):
            raise ZooError(f"{path}: column {name} holds {values.shape} values, expected {len(table)}")
        particles[name.lstrip("_")] = _as_text(values)
    blocks[target] = particles
    paths, _ = resolve_images(table.stack_names, os.path.dirname(path))
    comments.pop("image_root", None)
    if paths != table.stack_paths and table.source is not None and table.source.image_root:
        comments["image_root"] = table.source.image_root
    write_star_blocks(path, blocks, comments)


class _Columns:
    """Numbers of the particle block, or of its optics group where the block has no such column."""

    def __init__(self, path: str, particles: pd.DataFrame, optics: pd.DataFrame | dict | None):
        self.path = path
        self.particles = particles
        if isinstance(optics, dict):
            optics = pd.DataFrame({key: [str(value)] for key, value in optics.items()})
        self.optics = optics
        self._group_row: np.ndarray | None = None

    def has(self, name: str) -> bool:
        return name in self.particles or (self.optics is not None and name in self.optics)

    def numbers(self, name: str, default: float) -> np.ndarray:
        if name in self.particles:
            return self._convert(self.particles[name], name, "row")
        if self.optics is not None and name in self.optics:
            return self._convert(self.optics[name], name, "optics row")[self.group_rows()]
        return np.full(len(self.particles), default, dtype=np.float64)

    def integers(self, name: str, default: int) -> np.ndarray:
        values = self.numbers(name, default)
        bad = np.flatnonzero(~np.isfinite(values) | (values != np.round(values)))
        if bad.size:
            raise ZooError(
                f"{self.path}: row {bad[0] + 1}: {name} is {values[bad[0]]}, expected a whole number"
            )
        return values.astype(np.int64)

    def group_rows(self) -> np.ndarray:
        """Row of the optics table for every particle."""
        if self._group_row is None:
            if "rlnOpticsGroup" not in self.optics or "rlnOpticsGroup" not in self.particles:
                if len(self.optics) != 1:
                    raise ZooError(
                        f"{self.path}: column rlnOpticsGroup is missing, but the optics table has "
                        f"{len(self.optics)} rows; add it to both blocks"
                    )
                self._group_row = np.zeros(len(self.particles), dtype=np.int64)
                return self._group_row
            known = self._convert(self.optics["rlnOpticsGroup"], "rlnOpticsGroup", "optics row")
            wanted = self._convert(self.particles["rlnOpticsGroup"], "rlnOpticsGroup", "row")
            rows = pd.Index(known).get_indexer(wanted) if pd.Index(known).is_unique else None
            if rows is None:
                raise ZooError(f"{self.path}: an optics group is listed twice in data_optics; remove one")
            missing = np.flatnonzero(rows < 0)
            if missing.size:
                raise ZooError(
                    f"{self.path}: row {missing[0] + 1}: optics group {wanted[missing[0]]:g} is not in "
                    f"data_optics, which has {', '.join(f'{group:g}' for group in known)}"
                )
            self._group_row = rows
        return self._group_row

    def _convert(self, column: pd.Series, name: str, what: str) -> np.ndarray:
        values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        suspect = np.flatnonzero(np.isnan(values) & column.notna().to_numpy())
        for row in suspect.tolist():
            if str(column.iloc[row]).strip().lower() not in ("nan", "+nan", "-nan"):
                raise ZooError(
                    f"{self.path}: {what} {row + 1}: {name} is {column.iloc[row]!r}, expected a number"
                )
        return values


def _scan(path: str) -> tuple[list[str], dict[str, str]]:
    """Column names and telling comments, from one pass over the text."""
    columns, comments, blocks = set(), {}, 0
    with open(path, "rb") as file:
        for number, raw in enumerate(file):
            if number < 1000 and b"\0" in raw:
                raise ZooError(f"{path}: holds binary data, expected a STAR file (text with data_ blocks)")
            if raw[:1] not in b"_#d" and raw[:1].strip():
                continue  # a row of values
            line = raw.decode("utf-8", errors="replace").strip()
            if line.startswith("_"):
                columns.add(line.split()[0][1:])
            elif line.startswith("data_"):
                blocks += 1
            elif line.startswith(_ROOT_COMMENT):
                comments["image_root"] = line[len(_ROOT_COMMENT) :]
            elif _VERSION_COMMENT.match(line):
                comments.setdefault("version", line)
    if not os.path.getsize(path):
        raise ZooError(f"{path}: empty file, expected a STAR file with a block of particles")
    if not blocks:
        raise ZooError(f"{path}: no line starts with data_, so this is not a STAR file")
    return sorted(columns), comments


def _check_last_column(path: str, name: str, block: pd.DataFrame) -> None:
    """A row with too few values reads as missing values at its end; tell it from a written nan."""
    short = np.flatnonzero(block.iloc[:, -1].isna().to_numpy())
    if not short.size:
        return
    row = -1
    with open(path, encoding="utf-8", errors="replace") as file:
        inside = in_rows = False
        for line in file:
            line = line.strip()
            if line.startswith("data_"):
                inside, in_rows = line[5:] == name, False
            elif inside and line.startswith("_"):
                in_rows = True
            elif inside and in_rows and line and not line.startswith("#"):
                row += 1
                values = len(shlex.split(line, comments=True))
                if values < len(block.columns):
                    raise ZooError(
                        f"{path}: row {row + 1} of data_{name} has {values} values, expected "
                        f"{len(block.columns)}; the file may be cut short"
                    )


def _particle_block(path: str, blocks: dict) -> str:
    tables = {name: block for name, block in blocks.items() if isinstance(block, pd.DataFrame)}
    for name, block in blocks.items():
        if isinstance(block, dict) and "rlnImageName" in block:
            blocks[name] = tables[name] = pd.DataFrame({key: [str(value)] for key, value in block.items()})
    named = [name for name, block in tables.items() if "rlnImageName" in block]
    if not named:
        found = ", ".join(f"data_{name}" for name in blocks) or "none"
        tomo = any(column in block for block in tables.values() for column in _TOMO_COLUMNS)
        hint = "a subtomogram file is not read here" if tomo else "give the STAR file of the particles"
        raise ZooError(f"{path}: column rlnImageName is missing in every block ({found}); {hint}")
    name = "particles" if "particles" in named else named[0]
    block = tables[name]
    if not len(block):
        raise ZooError(f"{path}: data_{name} holds no particles")
    optics = blocks.get("optics")
    dimensions = [] if optics is None else np.atleast_1d(optics.get("rlnImageDimensionality", [])).tolist()
    if any(column in block for column in _TOMO_COLUMNS) or "3" in [str(value) for value in dimensions]:
        raise ZooError(
            f"{path}: particles of a tomogram (subtomograms or 2D tilt stacks), expected single-particle images"
        )
    return name


def _split_image_names(path: str, names: list) -> tuple[np.ndarray, list[str]]:
    rows, stacks = np.zeros(len(names), dtype=np.int64), []
    for index, name in enumerate(names):
        if not isinstance(name, str):
            raise ZooError(f"{path}: row {index + 1}: rlnImageName is empty, expected 000001@stack.mrcs")
        number, at, stack = name.rpartition("@")
        if at:
            if not number.isdecimal() or int(number) < 1:
                raise ZooError(
                    f"{path}: row {index + 1}: rlnImageName is {name!r}; images count from 1, "
                    f"expected 000001@stack.mrcs"
                )
            rows[index] = int(number) - 1
        if not stack:
            raise ZooError(f"{path}: row {index + 1}: rlnImageName {name!r} names no stack")
        stacks.append(stack)
    return rows, stacks


def _uids(reader: _Columns, names: list[str]) -> np.ndarray:
    if "zooUid" not in reader.particles:
        return image_uids(names)
    try:
        return np.array([int(text) for text in reader.particles["zooUid"]], dtype=np.uint64)
    except (ValueError, OverflowError) as error:
        raise ZooError(f"{reader.path}: zooUid: {error}; expected whole numbers from 0 to 2^64 - 1") from error


def _pixel_size(reader: _Columns) -> np.ndarray:
    """Å per pixel: rlnImagePixelSize, else detector pixel size (µm) over magnification; NaN if unknown."""
    if reader.has("rlnImagePixelSize"):
        name, sizes = "rlnImagePixelSize", reader.numbers("rlnImagePixelSize", np.nan)
    elif reader.has("rlnDetectorPixelSize") and reader.has("rlnMagnification"):
        name = "rlnDetectorPixelSize / rlnMagnification"
        detector, magnification = reader.numbers("rlnDetectorPixelSize", 0), reader.numbers("rlnMagnification", 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            sizes = detector * 1e4 / magnification
    else:
        return np.full(len(reader.particles), np.nan)
    bad = np.flatnonzero(~(sizes > 0) | ~np.isfinite(sizes))
    if bad.size:
        raise ZooError(
            f"{reader.path}: row {bad[0] + 1}: pixel size {sizes[bad[0]]:g} Å (from {name}), "
            f"expected a positive number"
        )
    return sizes


def _poses(reader: _Columns, pixel_size: np.ndarray) -> dict[str, np.ndarray]:
    columns = {
        ours: reader.numbers(theirs, np.nan)
        for ours, theirs in (("rot_deg", "rlnAngleRot"), ("tilt_deg", "rlnAngleTilt"), ("psi_deg", "rlnAnglePsi"))
    }
    posed = all(reader.has(name) for name in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"))
    for axis in "XY":
        if reader.has(f"rlnOrigin{axis}Angst"):
            shift = reader.numbers(f"rlnOrigin{axis}Angst", np.nan)
        elif reader.has(f"rlnOrigin{axis}"):
            pixels = reader.numbers(f"rlnOrigin{axis}", np.nan)
            shift = np.where(pixels == 0, 0.0, pixels * pixel_size)  # no shift needs no pixel size
        else:  # RELION takes a missing origin of a posed particle as 0
            shift = np.full(len(reader.particles), 0.0 if posed else np.nan)
        columns[f"shift_{axis.lower()}_angstrom"] = shift
    return columns


def _as_text(values) -> list[str]:
    """Shortest text that reads back as the same number; text stays text."""
    values = np.asarray(values)
    if values.dtype.kind in "biu":
        return [str(int(value)) for value in values.tolist()]
    if values.dtype.kind == "f":
        kind = values.dtype.type
        return [np.format_float_positional(kind(v), unique=True, trim="0") for v in values]
    return [str(value) for value in values.tolist()]


def _blocks_from_table(table: ParticleTable) -> dict[str, pd.DataFrame]:
    """RELION 3.1 blocks of a table that did not come from a STAR file; unknown columns are left out."""
    shared = ("voltage_kv", "cs_mm", "amplitude_contrast", "pixel_size_angstrom")
    keys = np.stack([table.optics_group.astype(np.float64), *(getattr(table, name) for name in shared)], axis=1)
    _, first, inverse = np.unique(np.nan_to_num(keys, nan=-1.0), axis=0, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1)
    groups = table.optics_group[first]
    if len(np.unique(groups)) < len(groups) or groups.min() < 1:  # RELION counts groups from 1
        groups = np.arange(1, len(first) + 1)
    optics = {
        "rlnOpticsGroup": _as_text(groups),
        "rlnOpticsGroupName": [f"opticsGroup{group}" for group in groups],
    }
    for ours, theirs in zip(
        shared, ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast", "rlnImagePixelSize"), strict=True
    ):
        values = getattr(table, ours)[first]
        if np.isfinite(values).any():
            optics[theirs] = _as_text(values)
    boxes = [_box_of(table, index) for index in first]
    if all(boxes):
        optics["rlnImageSize"] = _as_text(np.array(boxes))
    optics["rlnImageDimensionality"] = ["2"] * len(first)
    particles = {"rlnImageName": table.image_names()}
    pairs = [
        ("rot_deg", "rlnAngleRot"),
        ("tilt_deg", "rlnAngleTilt"),
        ("psi_deg", "rlnAnglePsi"),
        ("shift_x_angstrom", "rlnOriginXAngst"),
        ("shift_y_angstrom", "rlnOriginYAngst"),
        *((ours, theirs) for ours, (theirs, _) in _CTF_FROM_STAR.items() if ours not in shared),
    ]
    for ours, theirs in pairs:
        values = getattr(table, ours)
        if np.isfinite(values).any():
            particles[theirs] = _as_text(values)
    particles["rlnOpticsGroup"] = _as_text(groups[inverse])
    if (table.random_subset > 0).any():
        particles["rlnRandomSubset"] = _as_text(table.random_subset)
    if not np.array_equal(table.uid, image_uids(table.image_names())):
        particles["zooUid"] = _as_text(table.uid)
    return {"optics": pd.DataFrame(optics), "particles": pd.DataFrame(particles)}


def _box_of(table: ParticleTable, index: int) -> int:
    """Box of one particle's stack in pixels, 0 where the stack cannot be read."""
    from zoo.data.mrc import read_header

    try:
        return read_header(table.stack_paths[int(table.stack_index[index])]).shape[1]
    except ZooError:
        return 0
