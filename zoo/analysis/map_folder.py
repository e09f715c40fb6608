"""A folder of map series: one per set of latents, each with its script and its figure.

Per series STEM: ``STEM_000.mrc`` …, ``STEM.cxc``, ``STEM.png``; ``series.json`` lists the latents, the
voxel size and the contour level.
"""

import json
from pathlib import Path

import numpy as np

from zoo.analysis.cluster_report import load_clusters
from zoo.analysis.figures import central_planes, save_planes
from zoo.analysis.latent import Latents, check_latent_size
from zoo.analysis.maps import (
    ValueSample,
    contour_level,
    latent_maps,
    write_map_series,
    write_series_script,
)
from zoo.analysis.markers import SERIES
from zoo.analysis.paths import MOST_MAPS, cluster_centres, pca_path
from zoo.errors import ZooError

_MOST_ROWS = 16  # of slices in one figure


def choose_series(model, latents=None, clusters=None, path_length=None, component: int = 0) -> dict:
    """Name → latents (k, d) of each series to write.

    From `latents` (a file, or Latents): one map per latent, or with `path_length` a path through all of
    them along a principal component. From `clusters` (a folder of zoo-infer cluster): one map per
    cluster, or a path through each. Raises ZooError if the latents do not fit the model or are too many.
    """
    if clusters is not None:
        return _cluster_series(model, clusters, path_length, component)
    origin = "the data set" if isinstance(latents, Latents) else latents
    latents = latents if isinstance(latents, Latents) else Latents.load(latents)
    check_latent_size(latents, model, origin)
    if path_length is not None:
        return {"path": pca_path(latents.z_mean, path_length, component=component)}
    if len(latents) > MOST_MAPS:
        raise ZooError(
            f"{origin}: {len(latents):,} latents, and a map of each is more than the {MOST_MAPS:,} maps that "
            "are written at once; pass --pca N for a path through them"
        )
    return {"map": latents.z_mean}


def _cluster_series(model, clusters, path_length, component) -> dict:
    latents, cluster = load_clusters(clusters)
    check_latent_size(latents, model, clusters)
    centres = cluster_centres(latents.z_mean, cluster)
    if path_length is None:
        return {"cluster": centres}
    return {
        f"cluster_{index:02d}_path": pca_path(
            latents.z_mean[cluster == index], path_length, component=component
        )
        for index in range(len(centres))
    }


def write_series(folder, model, series: dict) -> list[Path]:
    """Write every series (see the module) into `folder`; return the paths of all maps in order.

    One contour level and one grey scale for all series, so that they can be compared. Maps do not stay in
    memory: level and scale are those of all voxels of few maps, and of a sample of the voxels of many.
    """
    folder = Path(folder)
    voxel = model.voxel_size_angstrom
    sample = ValueSample(sum(len(z) for z in series.values()))
    paths: dict[str, list[Path]] = {}
    planes: dict[str, dict[int, list[np.ndarray]]] = {stem: {} for stem in series}
    for stem, z in series.items():
        shown = set(np.linspace(0, len(z) - 1, _MOST_ROWS).round().astype(int).tolist())

        def keep(index, volume, shown=shown, kept=planes[stem]):
            if index in shown:
                kept[index] = central_planes(volume)

        seen = (lambda _, volume: sample.add(volume), keep)
        maps = latent_maps(model.density, z)
        paths[stem] = write_map_series(maps, folder, voxel, stem, count=len(z), seen=seen)
    values = sample.values
    level = contour_level(values)
    for stem, kept in planes.items():
        write_series_script(folder / f"{stem}.cxc", paths[stem], level)
        titles = [paths[stem][index].stem for index in kept]
        save_planes(folder / f"{stem}.png", list(kept.values()), values, titles, level)
    written = [path for each in paths.values() for path in each]
    content = {
        "voxel_size_angstrom": voxel,
        "contour_level": level,
        "latents": {stem: np.asarray(z).tolist() for stem, z in series.items()},
    }
    (folder / SERIES).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return written
