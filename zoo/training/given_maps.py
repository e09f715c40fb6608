"""Mask and initial references that a person gives ``faml`` and ``fa``, read and checked."""

from __future__ import annotations

import numpy as np

from zoo.errors import ZooError

_UNSET = (0.0, 1.0)
_SAME = 0.01


def set_given_maps(model) -> list[str]:
    """Put the files that a `StartsFromMaps` names into it; lines about maps that were rescaled.

    Raises ZooError for files that do not fit.
    """
    lines: list[str] = []
    voxel = model.voxel_size_angstrom
    if model.given_maps["mask"]:
        model.set_mask(read_mask(model.given_maps["mask"], model.box, voxel, lines))
    if model.given_maps["references"]:
        names = model.given_maps["references"]
        model.set_references(read_references(names, model.box, model.classes, voxel, lines))
    return lines


def read_mask(
    path: str, box: int, voxel_size_angstrom: float | None = None, lines: list[str] | None = None
) -> np.ndarray:
    """A mask volume (z, y, x) between 0 and 1; raises ZooError for another shape or other values.

    With ``voxel_size_angstrom`` a mask of another voxel size is brought to it, and ``lines`` gets a line.
    """
    mask = _read(path, box, "mask", voxel_size_angstrom, lines)
    if mask.min() < -1e-3 or mask.max() > 1.001 or mask.max() <= 0:
        raise ZooError(
            f"{path}: mask has values from {mask.min():.3g} to {mask.max():.3g}, expected 0 to 1, not all 0"
        )
    return mask


def read_references(
    paths: str,
    box: int,
    classes: int,
    voxel_size_angstrom: float | None = None,
    lines: list[str] | None = None,
) -> np.ndarray:
    """Initial maps (k, z, y, x) of comma-separated files, one for each class; rescaled as ``read_mask``'s."""
    names = [name.strip() for name in paths.split(",") if name.strip()]
    if len(names) != classes:
        raise ZooError(f"references: {len(names)} files, expected one for each of {classes} classes")
    return np.stack([_read(name, box, "reference", voxel_size_angstrom, lines) for name in names])


def _read(path: str, box: int, what: str, wanted: float | None, lines: list[str] | None) -> np.ndarray:
    from zoo.data.formats.mrc import read_volume
    from zoo.data.packing.resample import rescale_volume

    volume, stated = read_volume(path)
    if not np.isfinite(volume).all():
        bad = int(volume.size - np.isfinite(volume).sum())
        raise ZooError(f"{path}: {bad} voxels of the {what} are NaN or infinite; repair the file")
    if wanted and stated not in _UNSET and abs(stated / wanted - 1) > _SAME:
        low, high = float(volume.min()), float(volume.max())
        size = volume.shape
        volume, exact = rescale_volume(volume, stated, wanted, box)
        if what == "mask":  # a sharp edge rings
            volume = np.clip(volume, low, high)
        if lines is not None:
            lines.append(
                f"{what} {path}: {' x '.join(str(side) for side in size)} voxels of {stated:.4g} Å, rescaled "
                f"to {box} of {exact:.4g} Å (the subtomograms have {wanted:.4g} Å)"
            )
    if volume.shape != (box,) * 3:
        raise ZooError(
            f"{path}: {what} of shape {volume.shape}, but the subtomograms are {(box,) * 3}; crop or pad it"
        )
    return volume
