"""Everything that one clustering gives: table, selections, maps, paths and figures in one folder.

``clusters.npz`` (latents, embedding and cluster of every particle), ``clusters.csv``, ``summary.json``,
``latent.png``, ``slices.png``, ``maps.cxc``, and per cluster ``cluster_00/``: ``particles.star`` (``.cs``),
``map.mrc``, ``path_000.mrc`` …, ``path.cxc``. Of cubes ``montage.png`` takes the place of ``slices.png``,
each cluster has the ``average.mrc`` of its members, and ``groups.yaml`` waits for a person.
"""

import csv
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from zoo.analysis.cluster import Clustering
from zoo.analysis.cluster_cubes import (
    AVERAGE,
    MONTAGE,
    member_averages,
    planes_of_average,
    spreads,
    write_montage,
)
from zoo.analysis.figures import central_planes, save_planes, save_scatter
from zoo.analysis.groups import GROUPS_NAME, write_groups
from zoo.analysis.latent import Latents
from zoo.analysis.maps import (
    ValueSample,
    cluster_colour,
    contour_level,
    latent_maps,
    write_map_series,
    write_overlay_script,
    write_series_script,
)
from zoo.analysis.markers import CLUSTERS
from zoo.analysis.paths import cluster_centres, pca_path
from zoo.analysis.selection import latent_columns, selection_suffix, write_selection
from zoo.analysis.truth import TruthMatch, match_truth
from zoo.data.formats.mrc import read_volume, write_volume
from zoo.errors import ZooError


@dataclass
class ClusterSummary:
    """One row of the printed table: size, share, commonest label and its share, truth match if any.

    ``spread`` is the root mean square distance of the members' latents from their mean.
    """

    cluster: int
    particles: int
    share: float
    spread: float = 0.0
    label: int | None = None
    purity: float | None = None
    truth: TruthMatch | None = None


@dataclass
class ClusterReport:
    """What a clustering came to: a row per cluster, scores and settings."""

    clusters: list[ClusterSummary]
    unassigned: int
    scores: dict
    settings: dict


def save_clusters(path, latents: Latents, clustering: Clustering) -> None:
    """Write latents, ``cluster`` (n,) and ``embedding`` (n, 2) to one ``.npz``."""
    latents.extra = {**latents.extra, "cluster": clustering.cluster, "embedding": clustering.embedding}
    latents.save(path)


def load_clusters(place) -> tuple[Latents, np.ndarray]:
    """Latents and cluster (n,) from a folder of zoo-infer cluster or its ``clusters.npz``.

    Raises ZooError if there is none or it does not hold one whole number per particle.
    """
    path = Path(place)
    if path.is_dir():
        path = path / CLUSTERS
        if not path.is_file():
            raise ZooError(f"{place}: has no {CLUSTERS}; expected a folder written by zoo-infer cluster")
    latents = Latents.load(path)
    cluster = latents.extra.get("cluster")
    if cluster is None:
        raise ZooError(f"{path}: has no column cluster; expected a {CLUSTERS} written by zoo-infer cluster")
    if cluster.shape != (len(latents),) or cluster.dtype.kind not in "iu":
        raise ZooError(
            f"{path}: cluster is {cluster.dtype} of shape {cluster.shape}, expected {len(latents)} integers"
        )
    return latents, cluster.astype(np.int64)


def parse_clusters(text: str) -> list[int]:
    """Cluster numbers from a text such as ``0,2``; raises ZooError for anything else."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ZooError(
            f"clusters {text!r} are not whole numbers with commas between them, such as 0,2"
        ) from None


def keep_clusters(cluster, keep, place) -> np.ndarray:
    """Row indices of the particles in the clusters `keep`; raises ZooError if one of them is empty."""
    present = sorted(int(each) for each in np.unique(cluster))
    for each in keep:
        if each not in present:
            raise ZooError(
                f"{place}: cluster {each} is empty; there are particles in {present} (-1: unassigned)"
            )
    return np.flatnonzero(np.isin(cluster, list(keep)))


def write_report(
    folder,
    model,
    latents: Latents,
    clustering: Clustering,
    table,
    path_length: int = 4,
    truths=None,
    progress=None,
    cubes=None,
    places: Mapping[str, str] | None = None,
) -> ClusterReport:
    """Write the whole folder (see above) and return what to print.

    `model` has ``density`` and ``voxel_size_angstrom``; `table` is the source's ParticleTable, or None to
    write no selections; `truths` is (names, maps) of `read_truths`; `progress(text)` tells the step. `cubes`
    is the DatasetInfo of the records where these are volumes, to be averaged and grouped; `places` goes into
    summary.json (the run and its records, which `zoo.analysis.mined` finds again).
    """
    folder = Path(folder)
    tell = progress or (lambda text: None)
    tell("tables")
    save_clusters(folder / CLUSTERS, latents, clustering)
    _write_csv(folder / "clusters.csv", latents, clustering)
    for cluster in range(clustering.count) if table is not None else ():
        rows = clustering.members(cluster)
        columns = latent_columns(latents.z_mean[rows], clustering.cluster[rows])
        name = "particles" + selection_suffix(latents.source)
        write_selection(table, latents.source_row[rows], _home(folder, cluster) / name, columns)
    averages = None
    if cubes is not None:
        tell("averages")
        averages = member_averages(cubes, clustering.cluster, clustering.count)
        write_groups(folder / GROUPS_NAME, clustering.count)
    tell("maps")
    centres = _write_maps(folder, model, latents, clustering, path_length, averages)
    tell("figures")
    title = ", ".join(
        f"{name} {value:.3f}" for name, value in clustering.scores.items() if name in ("nmi", "ari")
    )
    as_they_are = clustering.settings.method == "hdbscan" and latents.z_mean.shape[1] <= 2
    axis = "latent" if as_they_are else "UMAP"
    save_scatter(folder / "latent.png", clustering.embedding, clustering.cluster, latents.label, title, axis)
    summaries = [_summary(cluster, latents, clustering) for cluster in range(clustering.count)]
    if truths is not None:
        names, true_maps = truths
        for summary in summaries:
            tell(f"truth of cluster {summary.cluster}")
            # With labels the truth is known: no need to try the others.
            wanted = f"class_{summary.label}.mrc"
            candidates = [names.index(wanted)] if wanted in names else None
            centre, _ = read_volume(centres[summary.cluster])
            summary.truth = match_truth(centre, true_maps, names, model.voxel_size_angstrom, candidates)
    unassigned = int(np.sum(clustering.cluster < 0))
    report = ClusterReport(summaries, unassigned, clustering.scores, asdict(clustering.settings))
    about = {"source": latents.source, "model": latents.model, **(places or {})}
    text = json.dumps({**about, **asdict(report)}, indent=2)
    (folder / "summary.json").write_text(text + "\n", encoding="utf-8")
    return report


def format_report(report: ClusterReport) -> str:
    """The report as a text table, one line per cluster, the scores below."""
    rows: list[tuple[str, ...]] = [("cluster", "particles", "share", "spread")]
    labels = any(each.label is not None for each in report.clusters)
    truths = any(each.truth is not None for each in report.clusters)
    rows[0] += ("label", "purity") if labels else ()
    rows[0] += ("true map", "FSC 0.5", "pixels", "hand") if truths else ()
    for each in report.clusters:
        row: tuple[str, ...] = (str(each.cluster), f"{each.particles:,}")
        row += (f"{each.share:.1%}", f"{each.spread:.3g}")
        if labels:
            row += ("-", "-") if each.label is None else (str(each.label), f"{each.purity:.1%}")
        if each.truth is not None:
            hand = "same" if each.truth.hand > 0 else "mirror"
            row += (each.truth.name, f"{each.truth.angstrom:.2f} Å", f"{each.truth.pixels:.2f}", hand)
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
    if report.unassigned:
        lines.append(f"unassigned: {report.unassigned:,} particles")
    scores = ", ".join(
        f"{name.upper()} {report.scores[name]:.3f}" for name in ("nmi", "ari") if report.scores
    )
    return "\n".join(lines + [scores] * bool(scores))


def _home(folder: Path, cluster: int) -> Path:
    home = folder / f"cluster_{cluster:02d}"
    home.mkdir(exist_ok=True)
    return home


def _write_maps(folder, model, latents, clustering, path_length, averages=None) -> list[Path]:
    """Write each cluster's map and path; one contour level for all. Returns the files of the first.

    With ``averages`` (k, n, n, n) of members these too, and a montage in place of slices.
    """
    voxel = model.voxel_size_angstrom
    centres = cluster_centres(latents.z_mean, clustering.cluster)
    sample, planes, paths = ValueSample(len(centres)), [], []
    for cluster, volume in enumerate(latent_maps(model.density, centres)):
        paths.append(_home(folder, cluster) / "map.mrc")
        write_volume(paths[-1], volume, voxel)
        sample.add(volume)
        planes.append(central_planes(volume))
    values = sample.values
    level = contour_level(values)
    for cluster in range(len(centres)):
        home = _home(folder, cluster)
        latent_path = pca_path(latents.z_mean[clustering.members(cluster)], path_length)
        maps = latent_maps(model.density, latent_path)
        series = write_map_series(maps, home, voxel, stem="path", count=len(latent_path))
        write_series_script(home / "path.cxc", series, level, cluster_colour(cluster))
    write_overlay_script(folder / "maps.cxc", paths, level)
    if averages is None:
        titles = [f"cluster {cluster}" for cluster in range(len(centres))]
        save_planes(folder / "slices.png", planes, values, titles, level)
        return paths
    for cluster, average in enumerate(averages):
        write_volume(_home(folder, cluster) / AVERAGE, average, voxel)
    sizes = np.bincount(clustering.cluster[clustering.cluster >= 0])
    wide = spreads(latents.z_mean, clustering.cluster, centres)
    titles = [
        f"{number}: {size} cube{'s' * (size > 1)} ± {wide[number]:.2g}"
        for number, size in enumerate(sizes.tolist())
    ]
    six = [[*three, *planes_of_average(average)] for three, average in zip(planes, averages, strict=True)]
    write_montage(folder / MONTAGE, six, titles)
    return paths


def _write_csv(path, latents: Latents, clustering: Clustering) -> None:
    columns = {
        "source_row": latents.source_row,
        "uid": latents.uid,
        "label": latents.label,
        "cluster": clustering.cluster,
        "umap_1": clustering.embedding[:, 0].round(4),
        "umap_2": clustering.embedding[:, 1].round(4),
    }
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))


def _summary(cluster: int, latents: Latents, clustering: Clustering) -> ClusterSummary:
    rows = clustering.members(cluster)
    away = latents.z_mean[rows].astype(np.float64)
    spread = float(np.sqrt(((away - away.mean(axis=0)) ** 2).sum(axis=1).mean()))
    summary = ClusterSummary(cluster, len(rows), len(rows) / len(latents), spread)
    labels = latents.label[rows]
    if (labels >= 0).any():
        names, counts = np.unique(labels[labels >= 0], return_counts=True)
        summary.label = int(names[counts.argmax()])
        summary.purity = float(counts.max() / counts.sum())
    return summary
