"""Weak labels: records of cubes whose voxels are labelled by what the run draws of them (Zeng 2018,
section 3.4.2)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from zoo.analysis.groups import Groups
from zoo.analysis.markers import ANNOTATION
from zoo.analysis.mined import Mined, check_level, members, relative_cubes
from zoo.analysis.rows import require_fit
from zoo.data.formats.label_volume import write_names
from zoo.data.packing.pack_arrays import pack_subtomogram_arrays
from zoo.data.packing.shards import PackSettings
from zoo.data.records.batches import sequential_batches
from zoo.errors import ZooError

_BATCH = 32
_COLUMNS = (
    "uid",
    "tilt_min_deg",
    "tilt_max_deg",
    "coordinate_x_voxel",
    "coordinate_y_voxel",
    "coordinate_z_voxel",
)


def write_label_records(
    out: str | os.PathLike,
    mined: Mined,
    groups: Groups,
    model,
    info,
    level: float,
    overwrite: bool = False,
    command: str = "",
    progress: Callable[[int, int], None] = lambda done, total: None,
):
    """Pack the cubes of all groups with ``voxel_labels`` into OUT; returns the DatasetInfo.

    A voxel is its cube's group, 1 and so on, where the decoded cube reaches ``level`` (`relative_cubes`),
    else 0; cubes of the group ``background`` are 0 throughout. ``label`` is the group. Grey values are those
    of the records ``info``, as they are, and are told to be on their scale. Raises ZooError where these are
    not the records that were clustered.
    """
    check_level(level)
    require_fit(model, info)
    rows, group = members(mined, groups, model)
    known = info.load_table()
    if not np.array_equal(known["uid"], mined.latents.uid):
        raise ZooError(
            f"{info.path}: holds other records than {mined.folder} was made of; name the right --data"
        )
    cubes, wedges = _cubes_of(info, rows)
    labels = np.zeros(cubes.shape, np.int8)
    drawn = np.flatnonzero(group > 0)
    decoded = relative_cubes(model, mined.latents.z_mean[rows[drawn]])
    for number, cube in zip(drawn.tolist(), decoded, strict=True):
        labels[number][cube >= level] = group[number]
        progress(number + 1, len(rows))
    columns = {name: known[name][rows] for name in _COLUMNS} | {"label": group}
    settings = PackSettings(box=info.box, dtype=info.dtype)
    result = pack_subtomogram_arrays(
        cubes,
        Path(out),
        settings,
        voxel_size_angstrom=info.voxel_size_angstrom,
        wedges=wedges,
        voxel_labels=labels,
        voxel_label_names=groups.label_names,
        like=info,
        columns=columns,
        overwrite=overwrite,
        command=command,
    )
    write_names(Path(out) / ANNOTATION, groups.label_names)  # as beside labels.mrc of zoo-infer annotate
    return result.info


def _cubes_of(info, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Grey values (k, n, n, n) of the records ``rows``, in that order, and their wedges where stored as
    such."""
    side = (info.box,) * 3
    cubes = np.empty((len(rows), *side), np.float32)
    wedges = np.empty((len(rows), *side), np.float16) if info.wedge == "mask" else None
    place, done = dict(zip(rows.tolist(), range(len(rows)), strict=True)), 0
    for batch in sequential_batches(info, _BATCH):
        for index in range(len(batch["volume"])):
            at = place.get(done + index)
            if at is not None:
                cubes[at] = batch["volume"][index, ..., 0]
                if wedges is not None:
                    wedges[at] = batch["wedge"][index]
        done += len(batch["volume"])
    return cubes, wedges
