"""Mask and initial references that a person gives ``faml`` and ``fa``, read and checked."""

from __future__ import annotations

import numpy as np

from zoo.errors import ZooError


def set_given_maps(model) -> None:
    """Put the files that a `StartsFromMaps` names into it; raises ZooError for files that do not fit."""
    if model.given_maps["mask"]:
        model.set_mask(read_mask(model.given_maps["mask"], model.box))
    if model.given_maps["references"]:
        model.set_references(read_references(model.given_maps["references"], model.box, model.classes))


def read_mask(path: str, box: int) -> np.ndarray:
    """A mask volume (z, y, x) between 0 and 1; raises ZooError for another shape or other values."""
    mask = _read(path, box, "mask")
    if mask.min() < -1e-3 or mask.max() > 1.001 or mask.max() <= 0:
        raise ZooError(
            f"{path}: mask has values from {mask.min():.3g} to {mask.max():.3g}, expected 0 to 1, not all 0"
        )
    return mask


def read_references(paths: str, box: int, classes: int) -> np.ndarray:
    """Initial maps (k, z, y, x) of comma-separated files, one for each class."""
    names = [name.strip() for name in paths.split(",") if name.strip()]
    if len(names) != classes:
        raise ZooError(f"references: {len(names)} files, expected one for each of {classes} classes")
    return np.stack([_read(name, box, "reference") for name in names])


def _read(path: str, box: int, what: str) -> np.ndarray:
    from zoo.data.formats.mrc import read_volume

    volume, _ = read_volume(path)
    if volume.shape != (box,) * 3:
        raise ZooError(
            f"{path}: {what} of shape {volume.shape}, but the subtomograms are {(box,) * 3}; crop or pad it"
        )
    return volume
