"""What a STAR file says of the optics beside CTF and pixel size: used on packing, or told to the person."""

from __future__ import annotations

import numpy as np
import pandas as pd

from zoo.data.tables.particle_table import FLIPPED, PREMULTIPLIED, RAW
from zoo.errors import ZooError

_TILTS = ("rlnBeamTiltX", "rlnBeamTiltY")
_ZERNIKE = {"rlnOddZernike": "antisymmetric aberrations", "rlnEvenZernike": "symmetric aberrations"}
_MATRIX = ("rlnMagMat00", "rlnMagMat01", "rlnMagMat10", "rlnMagMat11")


def ctf_state(reader) -> np.ndarray | None:
    """``RAW``, ``FLIPPED`` or ``PREMULTIPLIED`` of every row (uint8), None where all are raw.

    Raises ZooError for a flag other than 0 and 1, and for rows that are said to be both.
    """
    flags = []
    for name in ("rlnCtfDataArePhaseFlipped", "rlnCtfDataAreCtfPremultiplied"):
        values = reader.numbers(name, 0.0)
        bad = np.flatnonzero((values != 0) & (values != 1))
        if bad.size:
            raise ZooError(f"{reader.path}: row {bad[0] + 1}: {name} is {values[bad[0]]:g}, expected 0 or 1")
        flags.append(values == 1)
    flipped, premultiplied = flags
    both = np.flatnonzero(flipped & premultiplied)
    if both.size:
        raise ZooError(
            f"{reader.path}: row {both[0] + 1}: rlnCtfDataArePhaseFlipped and rlnCtfDataAreCtfPremultiplied "
            "are both 1; correct the one that is wrong"
        )
    state = np.where(premultiplied, PREMULTIPLIED, np.where(flipped, FLIPPED, RAW)).astype(np.uint8)
    return state if state.any() else None


def optics_notes(reader) -> list[str]:
    """A line for everything that changes the images and that no model here uses."""
    notes = []
    tilt = np.max([np.abs(np.nan_to_num(reader.numbers(name, 0.0))) for name in _TILTS], axis=0)
    if (tilt > 0).any():
        notes.append(
            f"beam tilt (rlnBeamTiltX, Y: up to {tilt.max():.3g} mrad, {_share(tilt > 0)}) is not corrected"
        )
    for name, what in _ZERNIKE.items():
        given = _not_zero(reader, name)
        if given.any():
            notes.append(f"{what} ({name}, {_share(given)}) are not corrected")
    if any(reader.has(name) for name in _MATRIX):
        matrix = [reader.numbers(name, one) for name, one in zip(_MATRIX, (1.0, 0.0, 0.0, 1.0), strict=True)]
        notes += magnification_note(np.stack(matrix, axis=1), "rlnMagMat00 to 11")
    return notes


def magnification_note(matrix: np.ndarray, name: str) -> list[str]:
    """A line where 2 x 2 matrices (n, 4) are not the unit matrix; none where they are."""
    matrix = np.where(np.isfinite(matrix), matrix, [1.0, 0.0, 0.0, 1.0])
    values, where = np.unique(matrix, axis=0, return_inverse=True)
    stretch = np.linalg.svd(values.reshape(-1, 2, 2), compute_uv=False)
    largest = np.abs(stretch - 1).max(axis=1)[where.reshape(-1)]
    if not (largest > 1e-6).any():
        return []
    return [
        f"the anisotropic magnification ({name}: up to {100 * largest.max():.2g} % along one direction, "
        f"{_share(largest > 1e-6)}) is not corrected"
    ]


def _not_zero(reader, name: str) -> np.ndarray:
    """Which rows have a list (``[0.1,-0.2]``) with a number other than 0."""
    if name in reader.particles:
        column, rows = reader.particles[name], slice(None)
    elif reader.optics is not None and name in reader.optics:
        column, rows = reader.optics[name], reader.group_rows()
    else:
        return np.zeros(len(reader.particles), bool)
    codes, texts = pd.factorize(column)
    given = np.array([any(digit in "123456789" for digit in str(text)) for text in texts], bool)
    return given[codes][rows]


def _share(mask: np.ndarray) -> str:
    count = int(mask.sum())
    return "all particles" if count == len(mask) else f"{count} of {len(mask)} particles"
