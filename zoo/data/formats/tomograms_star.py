"""RELION's tomograms.star and optimisation_set.star, 4 and 5 (WarpTools too) → tilt series."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation

from zoo.data.formats.star import StarColumns
from zoo.data.formats.star_blocks import read_star_blocks
from zoo.data.tilts.tilt_series import TiltSeries
from zoo.errors import ZooError
from zoo.input_files import existing_file, resolve_images

_MATRIX = [f"rlnTomoProj{axis}" for axis in "XYZ"]
_CENTRAL_CTF = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")
_HEAD_BYTES = 1 << 14


def is_optimisation_set(path: str | os.PathLike) -> bool:
    """Whether a file is an optimisation_set.star: a few names of other files."""
    path = Path(path)
    if not path.is_file() or path.suffix != ".star":
        return False
    with open(path, "rb") as file:
        return b"_rlnTomoParticlesFile" in file.read(_HEAD_BYTES)


def read_optimisation_set(path: str | os.PathLike) -> tuple[str, str]:
    """(particles, tomograms) files that an optimisation set names; ZooError where it names none."""
    path = existing_file(path)
    names = {}
    for block in read_star_blocks(path)[0].values():
        names.update({str(key): str(np.atleast_1d(np.asarray(block[key], object))[0]) for key in block})
    found = []
    for column in ("rlnTomoParticlesFile", "rlnTomoTomogramsFile"):
        if not names.get(column):
            raise ZooError(f"{path}: {column} is missing; an optimisation set names particles and tomograms")
        (resolved,), _ = resolve_images([names[column]], os.path.dirname(path))
        if not os.path.isfile(resolved):
            raise ZooError(
                f"{path}: {column} is {names[column]}, which is not there (looked for {resolved} and in the "
                "folders above); put the file there or correct the name"
            )
        found.append(resolved)
    return found[0], found[1]


def find_tomograms(particles: str) -> str | None:
    """The tomograms file of a particle file: from an optimisation set beside it, or tomograms.star."""
    folder, name = os.path.split(os.path.abspath(particles))
    for other in sorted(os.listdir(folder)):
        candidate = os.path.join(folder, other)
        if other.endswith("optimisation_set.star") and is_optimisation_set(candidate):
            try:
                named, tomograms = read_optimisation_set(candidate)
            except ZooError:
                continue  # one of another set, perhaps
            if os.path.samefile(named, particles):
                return tomograms
    for other in ("tomograms.star", f"{Path(name).stem}_tomograms.star"):
        if os.path.isfile(os.path.join(folder, other)):
            return os.path.join(folder, other)
    return None


class TomogramFile:
    """A tomograms.star: tilt series by the name of their tomogram; ``files`` are those read so far.

    RELION 4 and WarpTools keep the tilts in this file (``rlnTomoProjX`` ...), RELION 5 in one file per series
    (``rlnTomoXTilt``, ``rlnTomoYTilt``, ``rlnTomoZRot``). Raises ZooError naming file and row.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = existing_file(path)
        self.blocks, _ = read_star_blocks(self.path)
        tables = {name: _as_table(block) for name, block in self.blocks.items()}
        named = [name for name, table in tables.items() if "rlnTomoName" in table]
        if not named:
            raise ZooError(f"{self.path}: column rlnTomoName is missing; expected RELION's tomograms.star")
        self.table = tables["global" if "global" in named else named[0]]
        self.names = [str(name) for name in self.table["rlnTomoName"]]
        self.files = [self.path]

    def series(self, name: str) -> TiltSeries:
        """The tilts of one tomogram; KeyError where the file has no such tomogram."""
        row = self.names.index(name) if name in self.names else None
        if row is None:
            raise KeyError(name)
        path, tilts = self._tilts(name, row)
        reader = StarColumns(path, tilts, None)
        about = StarColumns(self.path, self.table.iloc[[row]].reset_index(drop=True), None)
        where = f"{self.path}: tomogram {name}"

        def one(column, default=None):
            value = float(about.numbers(column, np.nan if default is None else default)[0])
            if not np.isfinite(value):
                raise ZooError(f"{where}: {column} is missing; add the column (RELION 5 writes it)")
            return value

        sizes = [f"rlnTomoSize{axis}" for axis in "XYZ"]
        pixel = one("rlnTomoTiltSeriesPixelSize")
        if pixel <= 0:
            raise ZooError(f"{where}: rlnTomoTiltSeriesPixelSize is {pixel:g} Å, expected a positive number")
        hand = one("rlnTomoHand")
        if abs(hand) != 1:
            raise ZooError(f"{where}: rlnTomoHand is {hand:g}, expected 1 or -1")
        dose = _required(reader, "rlnMicrographPreExposure", "the dose before each tilt, in e/Å²")
        if (dose < 0).any():
            row = int(np.flatnonzero(dose < 0)[0])
            raise ZooError(f"{path}: tilt {row + 1} of {name}: rlnMicrographPreExposure is {dose[row]:g}")
        return TiltSeries(
            name=name,
            matrices=_matrices(path, name, tilts, reader),
            ctf=np.stack(
                [
                    _required(reader, "rlnDefocusU", "the defocus in Å"),
                    _required(reader, "rlnDefocusV", "the defocus in Å"),
                    _required(reader, "rlnDefocusAngle", "the angle of astigmatism"),
                    *(np.full(len(tilts), one(column)) for column in _CENTRAL_CTF),
                    reader.numbers("rlnPhaseShift", 0.0),
                    reader.numbers("rlnCtfBfactor", 0.0),
                    reader.numbers("rlnCtfScalefactor", 1.0),
                ],
                axis=1,
            ),
            dose=dose,
            pixel_size_angstrom=pixel,
            size_voxel=tuple(one(name) for name in sizes) if all(map(about.has, sizes)) else None,
            hand=hand,
            defocus_slope=one("rlnTomoDefocusSlope", 1.0),
            bfactor_per_dose=one("rlnCtfBfactorPerElectronDose", 0.0),
        )

    def _tilts(self, name: str, row: int) -> tuple[str, pd.DataFrame]:
        """The file that lists the tilts of a tomogram, and its table."""
        if "rlnTomoTiltSeriesStarFile" not in self.table:
            if name not in self.blocks:
                raise ZooError(f"{self.path}: tomogram {name} has no block data_{name} with its tilts")
            return self.path, _as_table(self.blocks[name])
        stated = str(self.table["rlnTomoTiltSeriesStarFile"].iloc[row])
        (path,), _ = resolve_images([stated], os.path.dirname(self.path))
        if not os.path.isfile(path):
            raise ZooError(
                f"{self.path}: tomogram {name}: rlnTomoTiltSeriesStarFile {stated} not found (looked for "
                f"{path} and in the folders above); put the file there or correct the name"
            )
        blocks, _ = read_star_blocks(path)
        self.files.append(path)
        if name not in blocks and len(blocks) != 1:
            raise ZooError(f"{path}: has no block data_{name}, expected the tilts of tomogram {name} there")
        return path, _as_table(blocks.get(name, next(iter(blocks.values()))))


def vector(text: str) -> np.ndarray:
    """``[1,0,0.5]`` as numbers; ValueError for anything else."""
    text = str(text).strip()
    if not (text.startswith("[") and text.endswith("]")):
        raise ValueError(text)
    values = np.array([float(part) for part in text[1:-1].split(",")])
    if not np.isfinite(values).all():
        raise ValueError(text)
    return values


def _matrices(path: str, name: str, tilts: pd.DataFrame, reader: StarColumns) -> np.ndarray:
    """Rotations (f, 3, 3) from places in the tomogram to places in the tilt images."""
    if all(column in tilts for column in _MATRIX):
        matrices = np.zeros((len(tilts), 3, 3))
        for line, column in enumerate(_MATRIX):
            for tilt, text in enumerate(tilts[column]):
                try:
                    matrices[tilt, line] = vector(text)[:3]
                except ValueError:
                    raise ZooError(
                        f"{path}: tilt {tilt + 1} of {name}: {column} is {text}, expected [a,b,c,d]"
                    ) from None
    elif reader.has("rlnTomoYTilt") and reader.has("rlnTomoZRot"):
        angles = [
            _finite(reader, column, default)
            for column, default in (("rlnTomoXTilt", 0.0), ("rlnTomoYTilt", np.nan), ("rlnTomoZRot", np.nan))
        ]
        # about x first, then y, then z, all of the fixed axes
        matrices = Rotation.from_euler("xyz", np.stack(angles, axis=1), degrees=True).as_matrix()
    else:
        raise ZooError(
            f"{path}: the tilts of {name} have neither rlnTomoProjX, Y, Z nor rlnTomoYTilt, rlnTomoZRot; "
            "the series is not aligned: run RELION's 'Align tilt-series' first"
        )
    error = np.abs(matrices @ matrices.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
    bad = np.flatnonzero((error > 1e-2) | (np.linalg.det(matrices) < 0))
    if bad.size:
        raise ZooError(
            f"{path}: tilt {bad[0] + 1} of {name}: its projection matrix is no rotation "
            f"(off by {error[bad[0]]:.3g}); align the series again"
        )
    return matrices


def _required(reader: StarColumns, column: str, what: str) -> np.ndarray:
    if not reader.has(column):
        raise ZooError(f"{reader.path}: column {column} is missing, expected {what} of every tilt; add it")
    return _finite(reader, column, np.nan)


def _finite(reader: StarColumns, column: str, default: float) -> np.ndarray:
    values = reader.numbers(column, default)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise ZooError(f"{reader.path}: tilt {bad[0] + 1}: {column} is {values[bad[0]]}, expected a number")
    return values


def _as_table(block) -> pd.DataFrame:
    if isinstance(block, pd.DataFrame):
        return block
    return pd.DataFrame({key: [str(value)] for key, value in block.items()})
