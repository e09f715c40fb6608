"""Several data sets of subtomograms with labelled voxels → one: what was labelled in several tomograms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from zoo.data.formats.stored_volumes import StoredVolumes
from zoo.data.info import DatasetInfo
from zoo.data.packing.pack_arrays import pack_subtomogram_arrays
from zoo.data.packing.pack_particles import PackResult
from zoo.data.packing.shards import PackSettings
from zoo.data.records.numpy_records import sequential_arrays
from zoo.errors import ZooError

_BATCH = 16
_SAME_VOXEL = 0.01
_KEPT = (
    "label",
    "tilt_min_deg",
    "tilt_max_deg",
    "coordinate_x_voxel",
    "coordinate_y_voxel",
    "coordinate_z_voxel",
)


def join_labelled(
    folders: Sequence[str | Path], out: str | Path, overwrite: bool = False, seed: int = 0, command: str = ""
) -> PackResult:
    """Pack the records of several labelled sets into one, as they are; labels of one name are one class.

    The classes are those of the first set, then those that only later ones have. Raises ZooError for sets
    without labels, of another box, voxel size or normalisation, and for wedges stored as volumes.
    """
    infos = [DatasetInfo.load(folder) for folder in folders]
    if len(infos) < 2:
        raise ZooError(f"{out}: one set alone is joined to nothing; name two or more")
    first = infos[0]
    for info in infos:
        _require_alike(first, info)
    names = list(dict.fromkeys(name for info in infos for name in info.label_names()))
    voxel_labels: list[np.ndarray] = []
    columns: dict[str, list[np.ndarray]] = {name: [] for name in _KEPT}

    def volumes():
        for info in infos:
            classes = np.array([names.index(name) for name in info.label_names()], np.int8)
            table = info.load_table()
            for name in _KEPT:
                columns[name].append(table[name])
            for batch in sequential_arrays(info, _BATCH):
                for volume, labels in zip(batch["volume"], batch["voxel_labels"], strict=True):
                    voxel_labels.append(classes[labels])
                    yield volume[..., 0]

    stored = StoredVolumes(volumes())
    known = {name: np.concatenate(values) for name, values in columns.items()}
    return pack_subtomogram_arrays(
        stored,
        out,
        PackSettings(first.box, dtype=first.dtype, normalisation="none", contrast=1, seed=seed),
        voxel_size_angstrom=first.voxel_size_angstrom,
        voxel_labels=np.stack(voxel_labels),
        voxel_label_names=names,
        columns=known,
        like=replace(first, contrast=_contrast(infos)),
        overwrite=overwrite,
        command=command,
    )


def _contrast(infos: Sequence[DatasetInfo]) -> dict:
    """That of the first set; where others have another one there is doubt what a new tomogram will have."""
    first = infos[0]
    other = next((info for info in infos if info.contrast_sign != first.contrast_sign), None)
    doubt = f"but {other.contrast_sign:+d} in {other.path}" if other is not None else ""
    return {**first.contrast, "words": f"as in {first.path}", "doubt": doubt}


def _require_alike(first: DatasetInfo, info: DatasetInfo) -> None:
    if not info.voxel_labels:
        raise ZooError(f"{info.path}: its voxels have no labels; pack with --tomogram T.mrc --labels L.mrc")
    if info.wedge == "mask":
        raise ZooError(f"{info.path}: has wedges of its own, which cannot be joined; pack with --tilt-range")
    if info.box != first.box or abs(info.voxel_size_angstrom / first.voxel_size_angstrom - 1) > _SAME_VOXEL:
        raise ZooError(
            f"{info.path}: boxes of {info.box} voxels of {info.voxel_size_angstrom:.4g} Å, but {first.path} "
            f"has {first.box} of {first.voxel_size_angstrom:.4g}; pack both alike"
        )
    methods = [each.normalisation.get("method") for each in (first, info)]
    if methods[0] != methods[1]:
        raise ZooError(
            f"{info.path}: normalisation {methods[1]}, but {first.path} has {methods[0]}; pack both alike"
        )
