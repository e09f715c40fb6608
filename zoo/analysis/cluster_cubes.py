"""What a person groups clusters of cubes by: the average of the members beside the decoded centre, in
one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from zoo.analysis.figures import central_planes, new_figure, save_figure
from zoo.data.records.batches import sequential_batches
from zoo.errors import ZooError

MONTAGE, AVERAGE = "montage.png", "average.mrc"
_BATCH = 32
_GAP = 1  # voxels between planes
_SMOOTH_VOXELS = 1.0  # of averages in the picture: those of few members are noise otherwise
_WIDTH_INCH = 1.45  # of one cluster
_TITLE_INCH = 0.32


def holds_cubes(info) -> bool:
    """Whether the records of a data set are volumes, which can be averaged as they are."""
    from zoo.data.kinds import kind_of

    return kind_of(info).schema.ndim == 3


def member_averages(info, cluster: np.ndarray, count: int) -> np.ndarray:
    """Mean of the cubes of each cluster, (count, n, n, n) float32; ``cluster`` (m,) is by record, -1: none.

    One pass over the records; memory holds the averages and a batch.
    """
    if len(cluster) != info.count:
        raise ZooError(
            f"{info.path}: {info.count} records, but {len(cluster)} have a cluster; cluster them anew"
        )
    sums, sizes, done = np.zeros((count, *(info.box,) * 3)), np.zeros(count), 0
    for batch in sequential_batches(info, _BATCH):
        cubes = np.asarray(batch["volume"])[..., 0]
        for number, cube in zip(cluster[done : done + len(cubes)].tolist(), cubes, strict=True):
            if number >= 0:
                sums[number] += cube
                sizes[number] += 1
        done += len(cubes)
    return (sums / np.maximum(sizes, 1)[:, None, None, None]).astype(np.float32)


def spreads(z: np.ndarray, cluster: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Root mean square distance (k,) of the latents z (n, d) of each cluster from its centre (k, d)."""
    away = ((np.asarray(z, np.float64) - centres[np.maximum(cluster, 0)]) ** 2).sum(axis=1)
    return np.array([math.sqrt(away[cluster == number].mean()) for number in range(len(centres))])


def write_montage(path: str | Path, planes: Sequence[Sequence[np.ndarray]], titles: Sequence[str]) -> None:
    """One PNG of all clusters (Zeng et al. 2018, figure 4), ``titles`` above each.

    ``planes`` has six images (n, n) for each: the `central_planes` of the decoded centre (upper row; across
    z, y and x), then those of the average of its members. Each row of three has its own grey scale.
    """
    columns = min(max(math.ceil(math.sqrt(1.5 * len(planes))), 1), 14)
    rows = -(-len(planes) // columns)
    figure = new_figure(_WIDTH_INCH * columns, (_WIDTH_INCH * 2 / 3 + _TITLE_INCH) * rows + 0.3)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in axes:
        panel.axis("off")
    for panel, six, title in zip(axes, planes, titles, strict=False):
        tile = np.concatenate(
            [_strip(six[:3]), np.ones((_GAP, 3 * six[0].shape[0] + 2 * _GAP)), _strip(six[3:])]
        )
        panel.imshow(tile, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        panel.set_title(title, fontsize=6, pad=2)
    figure.suptitle(
        "above: decoded centre of the cluster, below: average of its members, smoothed by "
        f"{_SMOOTH_VOXELS:g} voxel; sections across z, y and x",
        fontsize="small",
    )
    save_figure(figure, path)


def planes_of_average(average: np.ndarray) -> list[np.ndarray]:
    """The central planes of an average (n, n, n) for `write_montage`, smoothed."""
    return central_planes(ndimage.gaussian_filter(average, _SMOOTH_VOXELS))


def _strip(three: Sequence[np.ndarray]) -> np.ndarray:
    """Three planes side by side from 0 to 1, y upwards, as every picture of the zoo has it."""
    low, high = np.percentile(np.stack(three), [0.5, 99.5])
    gap = np.ones((three[0].shape[0], _GAP))
    grey = [np.clip((plane[::-1] - low) / max(high - low, 1e-12), 0, 1) for plane in three]
    return np.concatenate([grey[0], gap, grey[1], gap, grey[2]], axis=1)
