"""Poses and half sets that the particles' own file states, for models that may begin from them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from zoo.errors import ZooError

ANGLES = ("rot_deg", "tilt_deg", "psi_deg")
ORIGINS = ("shift_x_angstrom", "shift_y_angstrom")
_LEAST_RATIO = 0.5
_FEW = 40  # so few particles may fall unevenly by chance


class GivenPoses(NamedTuple):
    """RELION's ``euler_deg (n, 3)`` and ``origin_angstrom (n, 2)``; ``half_set (n,)``: 1, 2, or 0 for all."""

    euler_deg: np.ndarray
    origin_angstrom: np.ndarray
    half_set: np.ndarray


def require_poses(info: Any, poses: np.ndarray, asked: str) -> None:
    """Raise ZooError where a row of ``poses (n, c)`` is not known; ``asked`` says what needs them."""
    unknown = np.flatnonzero(~np.isfinite(poses).all(axis=1))
    if unknown.size:
        row = int(info.load_table()["source_row"][unknown[0]]) + 1
        raise ZooError(
            f"{info.path}: row {row} of its source has no pose (rlnAngleRot, Tilt, Psi and origins), "
            f"nor have {unknown.size - 1} others; {asked} needs all, leave it out"
        )


def given_poses(info: Any, asked: str) -> GivenPoses:
    """Poses of particle images in record order, and their half sets where the file has them.

    A file without any origin has them at 0, as RELION takes it. Raises ZooError where a pose is missing,
    where only some particles have a half set, and for half sets of very different size.
    """
    columns = info.load_table()
    angles, origins = (np.stack([columns[name] for name in names], axis=1) for names in (ANGLES, ORIGINS))
    if not np.isfinite(origins).any():
        origins = np.zeros_like(origins)
    require_poses(info, np.concatenate([angles, origins], axis=1), asked)
    half = _stated_half_sets(columns)
    if half.any():
        _check_half_sets(info, half, columns["source_row"])
    return GivenPoses(angles, origins, half)


def usable_half_sets(info: Any) -> np.ndarray:
    """Half sets ``(n,)`` of the file, 1 or 2, in record order; all 0 where they are stated for some particles
    only, or are of very different size, and others have to be drawn."""
    half = _stated_half_sets(info.load_table())
    usable = not len(in_no_half(half)) and unlike_sizes(half) is None
    return half if usable else np.zeros_like(half)


def _stated_half_sets(columns) -> np.ndarray:
    return np.asarray(columns.get("random_subset", np.zeros(len(columns["source_row"]))), np.int64)


def in_no_half(half: np.ndarray) -> np.ndarray:
    """Rows of ``half (n,)`` that are neither 1 nor 2."""
    return np.flatnonzero((half != 1) & (half != 2))


def unlike_sizes(half: np.ndarray) -> np.ndarray | None:
    """Sizes of half sets 1 and 2 where their FSC would be that of a much smaller one, else None."""
    sizes = np.bincount(half, minlength=3)[1:]
    unlike = sizes.min() < _LEAST_RATIO * sizes.max() and len(half) >= _FEW
    return sizes if unlike else None


def _check_half_sets(info, half, source_row) -> None:
    wrong = in_no_half(half)
    if len(wrong):
        raise ZooError(
            f"{info.path}: row {int(source_row[wrong[0]]) + 1} of its source has half set {half[wrong[0]]} "
            f"({len(wrong)} of {len(half)} are neither 1 nor 2); complete rlnRandomSubset, or pack again "
            "without that column"
        )
    sizes = unlike_sizes(half)
    if sizes is not None:
        raise ZooError(
            f"{info.path}: half sets of {sizes[0]} and {sizes[1]} particles: their FSC would be that of the "
            "smaller one; pack particles of both, or pack again without rlnRandomSubset"
        )
