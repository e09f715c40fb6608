"""The particles of a RELION 5 or WarpTools file of 2D tilt stacks, with the geometry of their tilts."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation

from zoo.data.formats.star import StarColumns
from zoo.data.formats.tomograms_star import TomogramFile, find_tomograms, vector
from zoo.data.tilts.tilt_series import TiltParticles, TiltSeries
from zoo.errors import ZooError

_CENTRED = [f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"]
_PLAIN = [f"rlnCoordinate{axis}" for axis in "XYZ"]
_TURN = [f"rlnTomoSubtomogram{angle}" for angle in ("Rot", "Tilt", "Psi")]
_UNDONE = [f"rlnMagMat{entry}" for entry in ("00", "01", "10", "11")]
_CHANCE = 1e-6


def is_stack_set(blocks: dict, reader: StarColumns) -> bool:
    """Whether a particle file says that its images are 2D stacks of tilts."""
    general = blocks.get("general")
    flag = None if general is None else general.get("rlnTomoSubTomosAre2DStacks")
    if flag is not None:
        return str(np.atleast_1d(np.asarray(flag, dtype=object))[0]) == "1"
    return bool(
        reader.has("rlnTomoName")
        and reader.has("rlnTomoVisibleFrames")
        and (reader.numbers("rlnImageDimensionality", 3) == 2).any()
    )


def read_tilt_particles(reader: StarColumns, tomograms: str | os.PathLike | None) -> TiltParticles:
    """Tilts, places and turns of every row; ``tomograms`` is looked for beside the file if it is None.

    Raises ZooError naming file and row for tomograms that are not known, frames that do not fit, columns
    that are missing.
    """
    path = reader.path
    if not reader.has("rlnTomoName"):
        raise ZooError(f"{path}: column rlnTomoName is missing, expected the tomogram of each particle")
    _refuse_aberrations(reader)
    stated = find_tomograms(path) if tomograms is None else os.fspath(tomograms)
    if stated is None:
        raise ZooError(
            f"{path}: holds 2D tilt stacks, whose tilts are described in tomograms.star, which is not beside "
            "it; give it with --tomograms, or give optimisation_set.star instead of the particles"
        )
    file = TomogramFile(stated)
    numbers, names = pd.factorize(reader.particles["rlnTomoName"].astype(str).to_numpy(dtype=object))
    series = []
    for number, name in enumerate(names):
        row = int(np.flatnonzero(numbers == number)[0])
        try:
            series.append(file.series(str(name)))
        except KeyError:
            known = ", ".join(file.names[:4]) + (", ..." if len(file.names) > 4 else "")
            raise ZooError(
                f"{path}: row {row + 1}: tomogram {name} is not in {file.path} (it has {known}); "
                "give the tomograms.star of these particles with --tomograms"
            ) from None
    _check_pixels(reader, series, numbers, file.path)
    positions, notes = _positions(reader, series, numbers)
    turns = np.broadcast_to(np.eye(3), (len(numbers), 3, 3))
    if all(reader.has(name) for name in _TURN):
        angles = np.stack([_finite(reader, name) for name in _TURN], axis=1)
        turns = Rotation.from_euler("ZYZ", angles, degrees=True).inv().as_matrix()
    offsets = [f"rlnOrigin{axis}Angst" for axis in "XYZ"]
    if all(reader.has(name) for name in offsets):  # the particle's place is its coordinate less its origin
        origins = np.stack([_finite(reader, name) for name in offsets], axis=1)
        positions = positions - np.einsum("nij,nj->ni", turns, origins)
    return TiltParticles(
        series=tuple(series),
        series_index=numbers,
        visible=_visible(reader, series, numbers),
        turns=np.array(turns),
        position_angstrom=positions,
        premultiplied=reader.numbers("rlnCtfDataAreCtfPremultiplied", 0) > 0,
        files=tuple(file.files),
        notes=tuple(notes),
    )


def _visible(reader: StarColumns, series: list[TiltSeries], numbers: np.ndarray) -> np.ndarray:
    counts = np.array([len(one) for one in series])[numbers]
    visible = np.arange(counts.max()) < counts[:, None]
    if not reader.has("rlnTomoVisibleFrames"):
        return visible
    for row, text in enumerate(reader.particles["rlnTomoVisibleFrames"]):
        where = f"{reader.path}: row {row + 1}: rlnTomoVisibleFrames"
        try:
            flags = vector(text) > 0
        except ValueError:
            raise ZooError(f"{where} is {text}, expected [1,0,...], one number a tilt") from None
        if len(flags) != counts[row]:
            raise ZooError(
                f"{where} has {len(flags)} values, but tomogram {series[numbers[row]].name} has "
                f"{counts[row]} tilts; give the tomograms.star of these particles with --tomograms"
            )
        if not flags.any():
            raise ZooError(f"{where} leaves no tilt; remove the particle")
        visible[row, : len(flags)] = flags
    return visible


def _positions(reader: StarColumns, series: list[TiltSeries], numbers: np.ndarray):
    """Places (n, 3) in Å from the middle of the tomogram, and what a person should know."""
    if all(reader.has(name) for name in _CENTRED):
        return np.stack([_finite(reader, name) for name in _CENTRED], axis=1), []
    if not all(reader.has(name) for name in _PLAIN):
        raise ZooError(
            f"{reader.path}: neither rlnCenteredCoordinateXAngst, Y, Z nor rlnCoordinateX, Y, Z: the place "
            "in the tomogram is needed for the defocus; add the columns"
        )
    places = np.stack([_finite(reader, name) for name in _PLAIN], axis=1)
    for one in series:
        if one.size_voxel is None:
            raise ZooError(
                f"{reader.path}: places are rlnCoordinateX, Y, Z, but tomogram {one.name} has no "
                "rlnTomoSizeX, Y, Z, so its middle is not known; add these columns to tomograms.star"
            )
    pixel = np.array([one.pixel_size_angstrom for one in series])[numbers]
    size = np.array([one.size_voxel for one in series])[numbers]
    binning = reader.numbers("rlnTomoSubtomogramBinning", 1.0)
    notes = []
    # RELION counts pixels of the tilt series, WarpTools those of the images. If the latter fits all places,
    # it is that: for the former all would have to lie in one corner of their tomogram.
    if (binning > 1).all() and (places <= size / binning[:, None]).all():
        if -3 * np.log(binning).sum() < np.log(_CHANCE):
            places = places * binning[:, None]
            notes.append(
                f"rlnCoordinateX, Y, Z were taken as pixels binned by {binning[0]:g}: "
                "as pixels of the tilt series all would lie in one corner"
            )
    return (places - size / 2) * pixel[:, None], notes


def _check_pixels(reader: StarColumns, series: list[TiltSeries], numbers: np.ndarray, path: str) -> None:
    column = "rlnTomoTiltSeriesPixelSize"
    known = np.array([one.pixel_size_angstrom for one in series])[numbers]
    stated = reader.numbers(column, np.nan)
    bad = np.flatnonzero(np.abs(stated - known) > 1e-3 * known)
    if bad.size:
        raise ZooError(
            f"{reader.path}: row {bad[0] + 1}: {column} is {stated[bad[0]]:g} Å, in {path} it is "
            f"{known[bad[0]]:g} Å for {series[numbers[bad[0]]].name}; "
            "these are not the tomograms of these particles"
        )


def _refuse_aberrations(reader: StarColumns) -> None:
    if any(reader.has(name) for name in _UNDONE):
        matrix = [reader.numbers(name, np.nan) for name in _UNDONE]
        if any((np.abs(values - one) > 1e-6).any() for values, one in zip(matrix, (1, 0, 0, 1), strict=True)):
            raise ZooError(
                f"{reader.path}: rlnMagMat is not 1: anisotropic magnification is not supported; extract the "
                "subtomograms without it"
            )
    if reader.optics is not None and "rlnEvenZernike" in reader.optics:
        for text in reader.optics["rlnEvenZernike"]:
            try:
                values = vector(text)
            except ValueError:
                raise ZooError(f"{reader.path}: rlnEvenZernike is {text}, expected [a,b,...]") from None
            if values.any():
                raise ZooError(
                    f"{reader.path}: rlnEvenZernike is not 0: symmetrical aberrations of higher order are "
                    "not supported; extract the subtomograms without them"
                )


def _finite(reader: StarColumns, column: str) -> np.ndarray:
    values = reader.numbers(column, np.nan)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise ZooError(f"{reader.path}: row {bad[0] + 1}: {column} is {values[bad[0]]}, expected a number")
    return values
