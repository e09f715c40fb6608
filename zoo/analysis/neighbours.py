"""Which known map a generated one is most like, and the other way round (figure 3 of the wgan3d paper)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from zoo.analysis.pseudo_maps import check_generator, draw_latents, generated_maps
from zoo.data.kinds import kind_of
from zoo.errors import ZooError
from zoo.metrics.map_sets import DENSE, correlations

_BATCH = 16
_MOST_KNOWN = 512


@dataclass(frozen=True)
class Neighbours:
    """k samples and m known maps, each with the one of the others that is nearest in the critic's features.

    ``samples`` (k, n, n, n); ``nearest_known`` (k, n, n, n), turned as it was found, ``nearest_name`` (k,);
    ``names`` (m,), ``known`` (m, n, n, n) and ``nearest_sample`` (m, n, n, n). ``correlations`` are those of
    the samples (k,) and of the known maps (m,) with their nearest. ``coverage`` is the share of the known
    maps that are the nearest of some sample.
    """

    samples: np.ndarray
    nearest_known: np.ndarray
    nearest_name: list[str]
    names: list[str]
    known: np.ndarray
    nearest_sample: np.ndarray
    correlations: tuple[np.ndarray, np.ndarray]
    coverage: float


def find_neighbours(model, info, count: int = 512, turns: int = 16, seed: int = 0) -> Neighbours:
    """Neighbours of ``count`` samples of ``model`` (opened, with ``features``) and the maps of ``info``.

    Each known map is compared at ``turns`` random turns, since a sample has any. Raises ZooError for maps of
    another box, and for more than 512 of them.
    """
    from scipy.spatial.transform import Rotation

    if info.box != model.box:
        raise ZooError(f"{info.path}: maps of {info.box} voxels, but {model.path} makes {model.box}")
    if info.count > _MOST_KNOWN:
        raise ZooError(f"{info.path}: {info.count} maps are too many to compare, at most {_MOST_KNOWN}")
    samples = np.stack(list(generated_maps(model, draw_latents(count, check_generator(model), seed))))
    known, name_index = known_maps(info)
    rng = np.random.default_rng([seed, 1])
    data = np.concatenate(
        [turned(known, Rotation.random(len(known), random_state=rng).as_matrix()) for _ in range(turns)]
    )
    ours, theirs = (np.concatenate(list(_features(model, maps))) for maps in (samples, data))
    distance = ((ours**2).sum(1)[:, None] + (theirs**2).sum(1)[None]) - 2.0 * ours @ theirs.T
    to_known = distance.argmin(axis=1)
    # Of a known map, the turn at which some sample is nearest.
    by_map = distance.reshape(len(samples), turns, len(known))
    at = [np.unravel_index(by_map[:, :, i].argmin(), by_map.shape[:2]) for i in range(len(known))]
    shown = np.stack([data[turn * len(known) + i] for i, (_, turn) in enumerate(at)])
    nearest_sample = samples[[sample for sample, _ in at]]
    names = [info.names[i] for i in name_index]
    return Neighbours(
        samples,
        data[to_known],
        [names[i % len(known)] for i in to_known],
        names,
        shown,
        nearest_sample,
        (correlations(samples, data[to_known]), correlations(shown, nearest_sample)),
        len(np.unique(to_known % len(known))) / len(known),
    )


def known_maps(info) -> tuple[np.ndarray, np.ndarray]:
    """All maps (m, n, n, n) of a data set, each with a peak of 1, and which of ``info.names`` each has."""
    parts = list(kind_of(info).sequential_batches(info, _BATCH))
    maps = np.concatenate([np.asarray(part["map"], np.float32)[..., 0] for part in parts])
    peak = maps.max(axis=(1, 2, 3), keepdims=True)
    return maps / np.where(peak > 0, peak, 1), np.concatenate([part["name_index"] for part in parts])


def turned(maps: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """Maps (k, n, n, n) turned by matrices (k, 3, 3), as `zoo.ops.turned_maps.turned_maps` does."""
    from keras import ops

    from zoo.ops.turned_maps import turned_maps

    parts = [
        ops.convert_to_numpy(
            turned_maps(maps[i : i + _BATCH, ..., None], rotations[i : i + _BATCH].astype(np.float32))
        )
        for i in range(0, len(maps), _BATCH)
    ]
    return np.concatenate(parts)[..., 0]


def save_neighbours(path, found: Neighbours, count: int = 5) -> None:
    """Picture of ``count`` samples over their nearest known maps, and known maps over their nearest samples.

    Samples are red, known maps blue, as surfaces at 0.3 of the peak. Shown are samples of unlike
    neighbours, and known maps spread evenly over all.
    """
    from zoo.analysis.figures import new_figure, save_figure

    chosen = _unlike(found.nearest_name, count)
    known = np.linspace(0, len(found.names) - 1, min(count, len(found.names))).round().astype(int)
    rows = [
        ("samples", found.samples[chosen], "Reds", [f"sample {i}" for i in chosen]),
        ("nearest known", found.nearest_known[chosen], "Blues", [found.nearest_name[i] for i in chosen]),
        ("known", found.known[known], "Blues", [found.names[i] for i in known]),
        ("nearest sample", found.nearest_sample[known], "Reds", ["" for _ in known]),
    ]
    columns = max(len(chosen), len(known))
    figure = new_figure(1.7 * columns + 0.4, 7.4)
    axes = figure.subplots(4, columns, squeeze=False)
    for line, (title, maps, colours, words) in zip(axes, rows, strict=True):
        draw_surfaces(line, maps, colours, words)
        line[0].set_ylabel(title, fontsize="small")
    save_figure(figure, path)


def draw_surfaces(axes, maps: np.ndarray, colours: str, words: list[str]) -> None:
    """Each map as a surface at 0.3 of its peak in one of ``axes``; those that are left over stay empty."""
    import matplotlib

    from zoo.analysis.surface_picture import surface_image

    shades = matplotlib.colormaps[colours].reversed()
    for panel in axes:
        panel.set(xticks=[], yticks=[])
        panel.set_frame_on(False)
    for panel, volume, text in zip(axes, maps, words, strict=False):
        image = surface_image(volume, DENSE * max(float(volume.max()), 1e-6))
        # The brightest third of the map would be lost on white paper.
        panel.imshow(image, cmap=shades, vmin=-0.1, vmax=1.4, origin="lower", interpolation="nearest")
        panel.set_title(text, fontsize="x-small")


def _features(model, maps: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(maps), _BATCH):
        found = model.apply("features", {"map": maps[start : start + _BATCH, ..., None]})
        yield found["features"].astype(np.float64)


def _unlike(names: list[str], count: int) -> list[int]:
    """The first rows whose names differ, then further ones, ``count`` at most, in order."""
    first = {name: row for row, name in reversed(list(enumerate(names)))}
    rows = sorted(first.values()) + [row for row in range(len(names)) if row not in first.values()]
    return sorted(rows[:count])
