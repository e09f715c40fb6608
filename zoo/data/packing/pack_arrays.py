"""Volumes in memory → a packed data set: subtomograms with labels of voxels, density maps with names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.formats.arrays import ArrayReader, array_names
from zoo.data.formats.label_volume import check_label_names
from zoo.data.formats.stored_volumes import StoredVolumes
from zoo.data.info import DatasetInfo
from zoo.data.packing.pack_particles import PackResult, pack_table, require_pixel_size
from zoo.data.packing.shards import PackSettings
from zoo.data.tables.map_table import MapTable
from zoo.data.tables.particle_table import image_uids
from zoo.data.tables.subtomogram_table import TILT_COLUMNS, SubtomogramTable
from zoo.errors import ZooError


def pack_subtomogram_arrays(
    volumes: np.ndarray | StoredVolumes,
    out: str | Path,
    settings: PackSettings,
    *,
    voxel_size_angstrom: float,
    tilt_range_deg: tuple[float, float] = (-90.0, 90.0),
    wedges: np.ndarray | None = None,
    voxel_labels: np.ndarray | None = None,
    voxel_label_names: Sequence[str] = (),
    columns: Mapping[str, Any] | None = None,
    like: DatasetInfo | None = None,
    overwrite: bool = False,
    command: str = "",
) -> PackResult:
    """Pack subtomograms (n, z, y, x) with what is known of them into records, as ``pack_subtomograms`` does.

    ``wedges``: centred Fourier weights of each or of all; without them the range of tilts about y holds.
    ``voxel_labels`` (n, z, y, x), 0 to 127, become the feature of this name; ``settings.box`` must then be
    the box of the volumes: labels cannot be resampled. ``voxel_label_names`` are those of labels 0, 1, and so
    on. ``columns`` are more columns of ``SubtomogramTable``
    (``label``, ``rot_deg``, ...). ``like`` is the set that the volumes were taken from, where they are
    records already: packed as they are, they are told to be on its scale and of its contrast. Raises ZooError
    for arrays that do not fit each other.
    """
    count = len(volumes)
    if voxel_labels is not None and settings.box != np.shape(volumes)[-1]:
        raise ZooError(
            f"{out}: labels of voxels cannot be resampled from {np.shape(volumes)[-1]} to {settings.box} "
            "voxels; give the box that the volumes have"
        )
    names = array_names(settings.name or Path(out).name, count)
    known = dict(zip(TILT_COLUMNS, np.repeat(np.asarray([tilt_range_deg], float), count, 0).T, strict=True))
    known["wedge_index"] = np.full(count, -1 if wedges is None else 0)
    known.update(columns or {})
    table = SubtomogramTable(names, _common(names, voxel_size_angstrom, known), stack_names=names)
    reader = ArrayReader(table, volumes, wedges, voxel_labels)
    reader.label_names = check_label_names(voxel_label_names, out)
    if like is None:
        return _pack(table, reader, out, settings, overwrite, command)
    as_they_are = replace(settings, normalisation="none", contrast=1)
    result = _pack(table, reader, out, as_they_are, overwrite, command)
    assert result.info is not None  # one process packs all of it
    told = {name: getattr(like, name) for name in ("normalisation", "contrast", "contrast_sign")}
    info = replace(result.info, **told)
    info.save(out)
    return replace(result, info=info)


def pack_maps(
    volumes: np.ndarray | StoredVolumes,
    names: Sequence[str],
    out: str | Path,
    settings: PackSettings,
    *,
    voxel_size_angstrom: float,
    paths: Sequence[str | Path] | None = None,
    labels: Sequence[int] | None = None,
    overwrite: bool = False,
    command: str = "",
) -> PackResult:
    """Pack density maps (n, z, y, x), one name each, into records of the kind ``maps``.

    ``paths`` are the files that they were made from, ``labels`` their classes where known. Grey values are
    packed as ``settings`` say. Raises ZooError for two maps of one name and for arrays that do not fit.
    """
    if len(names) != len(volumes):
        raise ZooError(f"{out}: {len(volumes)} maps and {len(names)} names, expected one for each")
    known: dict[str, Any] = {"name_index": np.arange(len(names))}
    if labels is not None:
        known["label"] = np.asarray(labels)
    shown = [str(path) for path in paths or names]
    columns = _common(list(names), voxel_size_angstrom, known)
    table = MapTable(shown, columns, stack_names=shown, names=names)
    return _pack(table, ArrayReader(table, volumes), out, settings, overwrite, command)


def _common(names: Sequence[str], voxel_size_angstrom: float, known: Mapping[str, Any]) -> dict[str, Any]:
    count = len(names)
    return {
        "stack_index": np.arange(count),
        "row_in_stack": np.zeros(count),
        "uid": image_uids(names),
        "pixel_size_angstrom": np.full(count, float(voxel_size_angstrom)),
        **known,
    }


def _pack(table, reader, out, settings, overwrite, command) -> PackResult:
    settings = replace(settings, name=settings.name or Path(out).name)
    settings.validate()
    require_pixel_size(table)
    # One process: what is in memory here would have to be copied to the others.
    return pack_table(table, reader, out, settings, processes=1, overwrite=overwrite, command=command)
