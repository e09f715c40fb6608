"""A folder of clusters opened again: its members, where they lie in the tomogram, and what the run
draws of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.analysis.cluster_report import load_clusters
from zoo.analysis.groups import GROUPS_NAME, Groups, read_groups
from zoo.analysis.latent import Latents, check_latent_size
from zoo.data.tables.cube_frames import CubeFrames
from zoo.errors import ZooError

SUMMARY = "summary.json"
DEFAULT_LEVEL = 0.3  # about where labels met the truth of a simulated tomogram best (docs/results.md)
_BATCH = 16
_TOP = 99.5  # percentile of a decoded cube that counts as its top


@dataclass(frozen=True)
class Mined:
    """Latents and cluster (n,) of every record, and the ``run`` and ``data`` that they came from (paths)."""

    folder: Path
    latents: Latents
    cluster: np.ndarray
    run: str
    data: str

    @property
    def count(self) -> int:
        """The number of clusters."""
        return int(self.cluster.max(initial=-1)) + 1

    def groups(self, path: str | os.PathLike | None = None) -> Groups:
        """The groups of a file, ``groups.yaml`` in the folder by default."""
        return read_groups(self.folder / GROUPS_NAME if path is None else path, self.count)


def open_mined(folder: str | os.PathLike) -> Mined:
    """Open what ``zoo-infer cluster`` wrote of cubes; raises ZooError where it is something else."""
    folder = Path(folder)
    latents, cluster = load_clusters(folder)
    path = folder / SUMMARY
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ZooError(f"{path}: cannot be read ({error}); cluster again with zoo-infer cluster") from error
    if not isinstance(content, dict) or not (content.get("run") and content.get("data")):
        raise ZooError(
            f"{path}: does not say which run and records it is of; cluster again with this version"
        )
    if not (folder / GROUPS_NAME).is_file() and len(cluster) and (folder / "slices.png").is_file():
        raise ZooError(f"{folder}: holds clusters of images, expected clusters of cubes (subtomograms)")
    return Mined(folder, latents, cluster, str(content["run"]), str(content["data"]))


def check_level(level: float) -> None:
    """Raise ZooError unless a relative level lies between 0 and 1."""
    if not 0 < level < 1:
        raise ZooError(f"--level {level:g}: expected more than 0 (the background) and less than 1 (the top)")


def relative_cubes(model, z: np.ndarray) -> Iterator[np.ndarray]:
    """What an opened model draws of codes z (k, d), one cube (n, n, n) after the other, on a scale of its
    own.

    0 is the median of the drawn cube, its background, and 1 its top (99.5th percentile): the paper's level of
    0.5 belongs to its grey values, this one to no unit. A cube of one value is 0.
    """
    for start in range(0, len(z), _BATCH):
        for cube in np.asarray(model.density(z[start : start + _BATCH]), np.float32):
            if not np.isfinite(cube).all():
                raise ZooError("a decoded cube is not finite; the run has diverged, use an earlier one")
            low, top = np.median(cube), np.percentile(cube, _TOP)
            yield (cube - low) / (top - low) if top > low else np.zeros_like(cube)


def members(mined: Mined, groups: Groups, model) -> tuple[np.ndarray, np.ndarray]:
    """Rows (m,) of the records that a group or the background has, and their group (m,).

    Raises ZooError where the groups have no member, or the codes do not fit the model.
    """
    check_latent_size(mined.latents, model, mined.folder)
    group = groups.of_rows(mined.cluster)
    rows = np.flatnonzero(group >= 0)
    if not (group > 0).any():
        raise ZooError(f"{mined.folder}: no cube belongs to a group; correct {GROUPS_NAME}")
    return rows, group[rows]


def places_of(table, latents: Latents) -> tuple[np.ndarray, CubeFrames | None]:
    """Middles (n, 3) xyz in whole voxels of the cubes of ``latents`` in their tomogram, and their frames.

    ``table`` is the source's (`zoo.analysis.selection.read_source`). Raises ZooError for cubes that were not
    cut from a tomogram.
    """
    part = table.select(np.searchsorted(table.source_row, latents.source_row))
    places = part.coordinates_voxel()
    unknown = np.flatnonzero(~np.isfinite(places).all(axis=1))
    if len(unknown):
        row = int(part.source_row[unknown[0]]) + 1
        raise ZooError(
            f"{table.known_source().path}: row {row}: no place in a tomogram; cut the cubes from one with "
            "zoo-pack "
            "--tomogram"
        )
    return np.rint(places), part.frames
