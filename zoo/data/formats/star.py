"""RELION particle STAR files, 3.0 to 5 → particle table."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd

from zoo.data.formats.star_blocks import read_star_blocks
from zoo.data.formats.star_optics import ctf_state, optics_notes
from zoo.data.tables.particle_table import EULER_COLUMNS, ParticleTable, Source, image_uids
from zoo.errors import ZooError
from zoo.input_files import existing_file, resolve_images

# table column → (STAR column, value RELION takes where the column is missing)
CTF_FROM_STAR = {
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
_IMAGE_DIGITS = 18
TRAVELLING_COLUMNS = frozenset(
    ("rlnImageName", "rlnOpticsGroup", "rlnOpticsGroupName", "rlnImagePixelSize", "rlnImageSize")
    + ("rlnImageDimensionality", "rlnDetectorPixelSize", "rlnMagnification", "rlnRandomSubset")
    + ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginX", "rlnOriginY")
    + ("rlnOriginXAngst", "rlnOriginYAngst", "zooLabel", "zooUid")
    + tuple(column for column, _ in CTF_FROM_STAR.values())
)
"""The STAR columns that a particle table holds, so that they can be written as .cs."""
AS_STACK = ":mrcs"
"""What RELION wants behind the name of a stack that does not end in .mrcs."""
_TOMO_COLUMNS = ("rlnTomoName", "rlnTomoParticleName", "rlnTomoVisibleFrames", "rlnTomoParticleId")


def read_star(
    path: str | os.PathLike, moved_to: str | None = None, pixel_size_angstrom: float | None = None
) -> ParticleTable:
    """Read a RELION particle STAR file (3.0, 3.1, 4, 5; optics groups; any block order) into a table.

    Particle columns win over the optics table. Origins in pixels (3.0) become Å; a missing CTF
    detail takes RELION's default (no phase shift, no B-factor, scale 1). ``moved_to`` is the folder that the
    stacks lie in now, where they have moved; ``pixel_size_angstrom`` is taken instead of the file's, also for
    origins in pixels. Raises ZooError naming the row for every value that makes no sense.
    """
    path = existing_file(path)
    blocks, comments = read_star_blocks(path)
    name = _particle_block(path, blocks)
    reader = StarColumns(path, blocks[name], blocks.get("optics"))
    names = [
        name.removesuffix(AS_STACK) if isinstance(name, str) else name
        for name in reader.particles["rlnImageName"].tolist()
    ]
    rows, stacks = _split_image_names(path, names)
    stack_index, stack_names = pd.factorize(np.asarray(stacks, dtype=object))
    stack_names = [str(stack) for stack in stack_names]
    paths, root = resolve_images(stack_names, os.path.dirname(path), comments.get("image_root", ""), moved_to)
    size = pixel_size(reader, pixel_size_angstrom)
    columns = {
        "stack_index": stack_index,
        "row_in_stack": rows,
        "uid": star_uids(reader, names),
        "pixel_size_angstrom": size,
        "source_row": np.arange(len(names)),
        "optics_group": reader.integers("rlnOpticsGroup", 1),
        "random_subset": reader.integers("rlnRandomSubset", 0),
        "label": reader.integers("zooLabel", -1),
    }
    columns.update(_poses(reader, size))
    columns.update(ctf_columns(reader))
    source = Source("star", path, blocks, name, root, comments=comments)
    source.ctf_state, source.notes = ctf_state(reader), optics_notes(reader)
    return ParticleTable(paths, columns, source, stack_names)


class StarColumns:
    """Numbers of the particle block, or of its optics group where the block has no such column."""

    def __init__(self, path: str, particles: pd.DataFrame, optics: pd.DataFrame | dict | None):
        self.path = path
        self.particles = particles
        if isinstance(optics, dict):
            optics = pd.DataFrame({key: [str(value)] for key, value in optics.items()})
        # None: the file has no optics table (a person's own STAR file, or RELION 3.0's).
        self.optics: pd.DataFrame | None = optics
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
        large = np.flatnonzero(np.abs(values) >= 2.0**31)
        if large.size:
            raise ZooError(
                f"{self.path}: row {large[0] + 1}: {name} is {values[large[0]]:g}, expected a whole number "
                "below 2^31"
            )
        return values.astype(np.int64)

    def group_rows(self) -> np.ndarray:
        """Row of the optics table for every particle."""
        if self._group_row is None:
            assert self.optics is not None  # asked for where a column is the optics table's
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


def ctf_columns(reader: StarColumns) -> dict[str, np.ndarray]:
    """CTF parameters; where there is a defocus, what is missing beside it takes RELION's default."""
    columns = {}
    for ours, (theirs, default) in CTF_FROM_STAR.items():
        columns[ours] = reader.numbers(theirs, np.nan)
        if reader.has("rlnDefocusU") and not reader.has(theirs):
            columns[ours] = np.where(np.isnan(columns["defocus_u_angstrom"]), np.nan, default)
    if not reader.has("rlnDefocusV"):
        columns["defocus_v_angstrom"] = columns["defocus_u_angstrom"]
    return columns


def _particle_block(path: str, blocks: dict) -> str:
    tables = {name: block for name, block in blocks.items() if isinstance(block, pd.DataFrame)}
    for name, block in blocks.items():
        if isinstance(block, dict) and "rlnImageName" in block:
            blocks[name] = tables[name] = pd.DataFrame({key: [str(value)] for key, value in block.items()})
    named = [name for name, block in tables.items() if "rlnImageName" in block]
    if not named:
        found = ", ".join(f"data_{name}" for name in blocks) or "none"
        tomo = any(column in block for block in tables.values() for column in _TOMO_COLUMNS)
        hint = "zoo-pack takes subtomograms as volumes" if tomo else "give the STAR file of the particles"
        raise ZooError(f"{path}: column rlnImageName is missing in every block ({found}); {hint}")
    name = "particles" if "particles" in named else named[0]
    block = tables[name]
    if not len(block):
        raise ZooError(f"{path}: data_{name} holds no particles")
    optics = blocks.get("optics")
    dimensions = [] if optics is None else np.atleast_1d(optics.get("rlnImageDimensionality", [])).tolist()
    if "rlnImageDimensionality" in block:
        dimensions += block["rlnImageDimensionality"].unique().tolist()
    if any(column in block for column in _TOMO_COLUMNS) or "3" in [str(value) for value in dimensions]:
        raise ZooError(
            f"{path}: particles of a tomogram (subtomograms or 2D tilt stacks), "
            f"expected single-particle images; give a single-particle STAR file"
        )
    return name


def _split_image_names(path: str, names: list) -> tuple[np.ndarray, list[str]]:
    rows, stacks = np.zeros(len(names), dtype=np.int64), []
    for index, name in enumerate(names):
        if not isinstance(name, str):
            raise ZooError(f"{path}: row {index + 1}: rlnImageName is empty, expected 000001@stack.mrcs")
        number, at, stack = name.rpartition("@")
        if at:
            if not number.isdecimal() or len(number) > _IMAGE_DIGITS or int(number) < 1:
                raise ZooError(
                    f"{path}: row {index + 1}: rlnImageName is {name[:80]!r}; images count from 1, "
                    f"expected 000001@stack.mrcs"
                )
            rows[index] = int(number) - 1
        if not stack:
            raise ZooError(f"{path}: row {index + 1}: rlnImageName {name!r} names no stack")
        stacks.append(stack)
    return rows, stacks


def star_uids(reader: StarColumns, names: list[str]) -> np.ndarray:
    """zooUid where the file has it, else the hash of the image name."""
    if "zooUid" not in reader.particles:
        return image_uids(names)
    try:
        return np.array([int(text) for text in reader.particles["zooUid"]], dtype=np.uint64)
    except (ValueError, OverflowError) as error:
        raise ZooError(f"{reader.path}: zooUid: {error}; expected whole numbers below 2^64") from error


def pixel_size(reader: StarColumns, given_angstrom: float | None = None) -> np.ndarray:
    """Å per pixel: what was given, rlnImagePixelSize, or detector pixel size (µm) over magnification.

    NaN if unknown; ZooError where it is no positive number.
    """
    if given_angstrom is not None:
        if not 0 < given_angstrom <= 10_000:
            raise ZooError(f"pixel size {given_angstrom:g} Å given, expected more than 0, at most 10000")
        return np.full(len(reader.particles), float(given_angstrom))
    if reader.has("rlnImagePixelSize"):
        name, sizes = "rlnImagePixelSize", reader.numbers("rlnImagePixelSize", np.nan)
    elif reader.has("rlnDetectorPixelSize") and reader.has("rlnMagnification"):
        name = "rlnDetectorPixelSize / rlnMagnification"
        detector = reader.numbers("rlnDetectorPixelSize", np.nan)
        magnification = reader.numbers("rlnMagnification", np.nan)
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


def _poses(reader: StarColumns, pixel_size: np.ndarray) -> dict[str, np.ndarray]:
    angles = dict(zip(EULER_COLUMNS, ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"), strict=True))
    columns = {ours: reader.numbers(theirs, np.nan) for ours, theirs in angles.items()}
    posed = all(reader.has(name) for name in angles.values())
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
