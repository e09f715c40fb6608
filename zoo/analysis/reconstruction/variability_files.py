"""The files of a variability analysis: components, a series of maps along each, latents of every particle."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.analysis.figures import new_figure, save_figure, save_slices
from zoo.analysis.maps import contour_level, write_series_script
from zoo.analysis.markers import VARIABILITY
from zoo.analysis.reconstruction.command import open_images, poses_at, teller
from zoo.analysis.reconstruction.images import ParticleImages
from zoo.analysis.reconstruction.particle_columns import Said, write_particle_files
from zoo.analysis.reconstruction.refinement import Refinement, reconstruct
from zoo.analysis.reconstruction.sources import Found
from zoo.analysis.reconstruction.variability import Varied, vary
from zoo.analysis.reconstruction.volume import THRESHOLD, band_of
from zoo.data.formats.mrc import write_volume
from zoo.errors import ZooError
from zoo.metrics.clustering import clustering_scores
from zoo.metrics.fsc import resolution_at
from zoo.ops.fourier_volume import resized

_FEWEST = 100
"""Particles: with fewer, components are noise."""
_MARGIN = 2  # shells of the box beyond the band
_LEAST_BAND = 3
_ENDS = 2.0, 98.0  # percentiles of a coordinate between which the series runs
_LEAST_OF_CLUSTER = 20
_AGREES = 0.5  # FSC of a component between the half sets, over its band, below which it is called noise


@dataclass(frozen=True)
class VariabilityWishes:
    """What a person asks for. ``resolution_angstrom`` None: where the mean's half sets agree (FSC 0.5);
    ``clusters`` 0: the particles keep the classes that they have."""

    components: int = 2
    frames: int = 10
    resolution_angstrom: float | None = None
    box: int | None = None
    rounds: int = 25
    clusters: int = 0
    seed: int = 0

    def check(self) -> None:
        """Raise ZooError for a number that cannot be."""
        if self.clusters == 1:
            raise ZooError("--clusters 1: expected 2 or more, or 0 for none")
        if self.resolution_angstrom is not None and not self.resolution_angstrom > 0:
            raise ZooError(f"--resolution {self.resolution_angstrom:g}: expected a positive number of Å")


def write_variability(
    found: Found,
    folder: Path,
    wishes: VariabilityWishes,
    progress: Callable[[int, int], None] = lambda done, total: None,
    say: Callable[[str], None] = lambda text: None,
) -> list[str]:
    """Write into ``folder`` (which exists) ``mean.mrc``, ``component_k.mrc``, a folder with a series of maps
    along each, figures, ``particles.star`` or .cs with ``zooLatent0`` …, and variability.json.

    Each map of a series is reconstructed from the particles near to a place on the component's axis, by the
    half sets and weighted by their distance. Returns what a person should read; raises ZooError for too few
    particles, and for a resolution that the images do not hold.
    """
    wishes.check()
    count = len(found.table)
    if count < _FEWEST:
        raise ZooError(f"{found.place}: {count} particles, expected at least {_FEWEST} to see them vary")
    box, voxel = open_images(found, wishes.box, say)
    edge = box * voxel
    whole = ParticleImages(found.table, box, found.grey)
    say("reconstructing the mean")
    mean = _reconstructed(found, whole, np.ones(count), voxel)
    band = _band(wishes, band_of(mean.fsc, 0.5), edge, whole.plane.radius)
    small = min(box, 2 * (band + _MARGIN))
    images = whole if small == box else ParticleImages(found.table, small, found.grey)
    poses = poses_at(found, np.arange(count), np.ones(count), edge / small)
    factor = np.float32((small / box) ** 2)
    noise = mean.noise[:, : images.plane.radius + 1] * factor
    tell = teller(progress, say)
    varied = vary(images, poses, noise, wishes.components, band, wishes.rounds, None, wishes.seed, tell)
    maps = [resized(volume * factor, box) for volume in varied.basis.maps]
    write_volume(folder / "mean.mrc", mean.volume.filtered(mean.fsc), voxel)
    for number, volume in enumerate(maps[1:], 1):
        write_volume(folder / f"component_{number}.mrc", volume, voxel)
    save_slices(
        folder / "components.png", np.stack(maps[1:]), [f"component {k + 1}" for k in range(len(maps) - 1)]
    )
    _save_coordinates(folder / "coordinates.png", varied.z)
    share = [float((volume**2).sum() / (maps[0] ** 2).sum()) for volume in maps[1:]]
    agreement = [float(each[1 : band + 1].mean()) for each in varied.agreement]
    lines = [
        f"{count:,} particles, {wishes.components} components up to {edge / band:.1f} Å, "
        f"{varied.rounds} rounds; half sets: {found.halves.words}"
    ]
    content: dict[str, Any] = {
        "place": found.place,
        "source": found.table.known_source().path,
        "box": box,
        "voxel_size_angstrom": float(voxel),
        "resolution_angstrom": float(edge / band),
        "half_sets": found.halves.words,
        "gain_per_image": float(varied.gain),
        "components": [],
    }
    for number in range(wishes.components):
        name = f"component_{number + 1}"
        spread = np.sqrt(varied.covariance[:, number, number].mean())
        words = (
            f"{name}: {100 * share[number]:.2g} % of the mean's power a standard deviation, coordinates "
            f"known to {spread:.2f} of it, FSC between the half sets {agreement[number]:.2f}"
        )
        if agreement[number] < _AGREES:
            words += ": they do not agree, take it for noise"
        lines.append(words)
        say(f"{name}: series of {wishes.frames} maps")
        series = _series(found, whole, varied, number, wishes.frames, voxel, folder / name)
        lines.append(
            f"{name}: {len(series)} maps of {min(s['particles'] for s in series):,} to "
            f"{max(s['particles'] for s in series):,} particles, FSC 0.143 at "
            f"{_range([s['resolution_angstrom'] for s in series])}"
        )
        content["components"].append(
            {"share_of_mean": share[number], "agreement": agreement[number], "series": series}
        )
    classes = found.group, found.probability
    if wishes.clusters:
        classes = _clusters(varied.z, wishes.clusters, wishes.seed)
        lines += _cluster_lines(classes[0], found.table.label)
    said = Said(found.euler_deg, found.origin_angstrom, classes[0] + 1, classes[1], found.halves.half)
    latents = {f"zooLatent{k}": values.astype(np.float64) for k, values in enumerate(varied.z.T)}
    write_particle_files(folder, found.table, said, latents)
    (folder / VARIABILITY).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return lines


def _band(wishes, agreed: int, edge: float, radius: int) -> int:
    """The last shell of the components."""
    if wishes.resolution_angstrom is None:
        return max(_LEAST_BAND, min(agreed, radius))
    band = int(edge / wishes.resolution_angstrom + 1e-6)
    if not _LEAST_BAND <= band <= radius:
        raise ZooError(
            f"--resolution {wishes.resolution_angstrom:g}: expected {edge / radius:.3g} to "
            f"{edge / _LEAST_BAND:.3g} Å in this box"
        )
    return band


def _reconstructed(found, images, weights, voxel):
    """Maps of the half sets from the particles of ``images`` as they lie, counted by ``weights``."""
    rows = np.flatnonzero(weights > 0)
    part = (
        images
        if len(rows) == len(images)
        else ParticleImages(images.table.select(rows), images.box, found.grey)
    )
    return reconstruct(part, poses_at(found, rows, weights[rows], voxel), Refinement())


def _series(
    found, images, varied: Varied, component: int, frames: int, voxel: float, folder: Path
) -> list[dict[str, Any]]:
    """Maps along a component: triangles of weight about evenly spaced places, each overlapping the next."""
    folder.mkdir()
    z = varied.z[:, component]
    low, high = np.percentile(z, _ENDS)
    places = np.linspace(float(low), float(high), frames)
    step = places[1] - places[0]
    told: list[dict[str, Any]] = []
    volumes = []
    for number, place in enumerate(places):
        weights = np.clip(1 - np.abs(z - place) / step, 0, None)
        if number == 0:
            weights[z < place] = 1
        elif number == frames - 1:
            weights[z > place] = 1
        sizes = [int(((weights > 0) & (found.halves.half == half)).sum()) for half in (1, 2)]
        if min(sizes) < 2:
            continue
        one = _reconstructed(found, images, weights, voxel)
        shell = resolution_at(one.fsc, THRESHOLD).shell
        volumes.append(one.volume.filtered(one.fsc))
        path = folder / f"frame_{number + 1:02d}.mrc"
        write_volume(path, volumes[-1], voxel)
        told.append(
            {
                "file": f"{folder.name}/{path.name}",
                "coordinate": float(place),
                "particles": sum(sizes),
                "resolution_angstrom": float(images.box * voxel / shell) if shell >= 1 else None,
            }
        )
    if not told:
        raise ZooError(f"{found.place}: no place along {folder.name} has 2 particles of each half set")
    paths = [folder / Path(each["file"]).name for each in told]
    write_series_script(folder / "series.cxc", paths, contour_level(np.stack(volumes)))
    shown = sorted({0, len(told) // 2, len(told) - 1})
    save_slices(folder / "series.png", np.stack([volumes[k] for k in shown]), [paths[k].stem for k in shown])
    return told


def _range(values) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "no resolution"
    return f"{min(known):.1f} to {max(known):.1f} Å"


def _save_coordinates(path: Path, z: np.ndarray) -> None:
    count = z.shape[1]
    figure = new_figure(2.6 * count + 0.6, 2.4 * count + 0.4)
    panels = figure.subplots(count, count, squeeze=False)
    size = float(np.clip(20000 / len(z), 0.5, 8))
    for row in range(count):
        for column in range(count):
            axes = panels[row, column]
            if row == column:
                axes.hist(z[:, row], bins=60, color="#0072b2")
                axes.set(yticks=[])
            elif column < row:
                axes.scatter(z[:, column], z[:, row], s=size, c="#0072b2", linewidths=0, rasterized=True)
            else:
                axes.axis("off")
            if row == count - 1:
                axes.set_xlabel(f"component {column + 1}", fontsize="small")
    save_figure(figure, path)


def _clusters(z: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A mixture of Gaussians: cluster of each particle, the largest is 0, and its probability."""
    from sklearn.mixture import GaussianMixture

    if len(z) < count * _LEAST_OF_CLUSTER:
        raise ZooError(f"--clusters {count}: {len(z)} particles, expected {_LEAST_OF_CLUSTER} for each")
    mixture = GaussianMixture(count, n_init=5, random_state=seed, reg_covar=1e-3).fit(z)
    posterior = mixture.predict_proba(z)
    order = np.argsort(-np.bincount(posterior.argmax(1), minlength=count), kind="stable")
    posterior = posterior[:, order]
    return posterior.argmax(1), posterior.max(1)


def _cluster_lines(cluster: np.ndarray, label: np.ndarray) -> list[str]:
    sizes = ", ".join(f"class {k + 1}: {size:,}" for k, size in enumerate(np.bincount(cluster)))
    lines = [f"Gaussians of the coordinates: {sizes} particles"]
    known = label >= 0
    if len(np.unique(label[known])) > 1:
        nmi = clustering_scores(label[known], cluster[known])["nmi"]
        lines.append(f"classes against labels: NMI {nmi:.3f} of all {int(known.sum()):,} labelled particles")
    return lines
