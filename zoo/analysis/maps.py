"""Latents → density maps: an MRC series with its voxel size, and a ChimeraX script that opens it.

The script uses ChimeraX's `open … vseries true` and `volume`, and file names relative to itself
(ChimeraX runs a script in the script's own folder).
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from zoo.data.formats.mrc import write_volume
from zoo.errors import ZooError

# A palette that colour-blind readers can tell apart (Okabe & Ito 2008), as #rrggbb.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999")


_MOST_VALUES = 4_000_000


def cluster_colour(cluster: int) -> str:
    """Colour of a cluster in figures and in ChimeraX; grey for the unassigned (−1)."""
    return COLOURS[cluster % (len(COLOURS) - 1)] if cluster >= 0 else COLOURS[-1]


def latent_maps(density, z, batch_size: int = 4) -> Iterator[np.ndarray]:
    """Maps (n, n, n) float32 of latents z (k, d), one after the other: a batch of them is in memory at once.

    Raises ZooError if a map is not finite.
    """
    z = np.asarray(z, np.float32)
    if z.ndim != 2 or not len(z):
        raise ZooError(f"latents of shape {z.shape} given for maps, expected (k, d) with k > 0")
    for start in range(0, len(z), batch_size):
        for number, volume in enumerate(np.asarray(density(z[start : start + batch_size]), np.float32)):
            if not np.isfinite(volume).all():
                raise ZooError(
                    f"the map of latent {start + number} is not finite; the run has diverged, use an "
                    "earlier one"
                )
            yield volume


class ValueSample:
    """Values of `count` maps that pass by one after the other: all of few, of many every so many-th voxel."""

    def __init__(self, count: int, most: int = _MOST_VALUES):
        self._count, self._most = count, most
        self._parts: list[np.ndarray] = []

    def add(self, volume: np.ndarray) -> None:
        """Take from a map (n, n, n)."""
        stride = -(-self._count * volume.size // self._most)
        # odd: an even one would meet the same columns of every row; from another start in each map
        stride += (stride + 1) % 2
        self._parts.append(volume.ravel()[len(self._parts) % stride :: stride].copy())

    @property
    def values(self) -> np.ndarray:
        """(m,) float32."""
        return np.concatenate(self._parts)


def contour_level(maps, bins: int = 512) -> float:
    """Density that parts particle from solvent in maps (…, n, n, n): Otsu's threshold.

    That threshold maximises the variance between the two sides (Otsu 1979). Where it would run through
    strong noise, the level is three spreads of the solvent (median absolute deviation × 1.4826) above
    the median, but two voxels in a hundred stay inside. One level for a whole series keeps its
    differences visible. A map of one value gives that value.
    """
    values = np.asarray(maps, np.float64).ravel()
    low, high = values.min(), values.max()
    if low == high:
        return float(low)
    counts, edges = np.histogram(values, bins=bins, range=(low, high))
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = len(values) - below
    sums = np.cumsum(counts * centres)
    mean_below = sums[:-1] / np.maximum(below, 1)
    mean_above = (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    between = below * above * (mean_below - mean_above) ** 2
    # Empty bins between the two sides give a plateau; its middle is the fair threshold.
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    otsu = edges[1:-1][best].mean()
    median = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - median))
    return float(max(otsu, min(median + 3 * spread, np.percentile(values, 98))))


def write_map_series(
    maps, folder, voxel_size_angstrom: float, stem: str = "map", count: int | None = None, seen=()
) -> list[Path]:
    """Write maps (n, n, n), an array or `count` of any iterable, as ``STEM_000.mrc`` … into `folder`.

    Each of `seen` is called with the number and the map before the next is made. Returns the paths.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    count = len(maps) if count is None else count
    digits = max(3, len(str(count - 1)))
    paths = [folder / f"{stem}_{index:0{digits}d}.mrc" for index in range(count)]
    for index, (path, volume) in enumerate(zip(paths, maps, strict=True)):
        write_volume(path, volume, voxel_size_angstrom)
        for look in seen:
            look(index, volume)
    return paths


def write_series_script(path, maps_paths, level: float, colour: str = COLOURS[0]) -> None:
    """ChimeraX script that opens maps of one folder as a volume series with a slider.

    All maps must match ``STEM_*.mrc`` in the script's folder, since one wildcard names a series.
    """
    stem = maps_paths[0].name.rsplit("_", 1)[0]
    opened = f"open {stem}_*.mrc vseries true" if len(maps_paths) > 1 else f"open {maps_paths[0].name}"
    _write_lines(
        path,
        ["close session", opened, f"volume #1 style surface step 1 level {level:.6g} color {colour}", *_VIEW],
    )


def write_overlay_script(path, maps_paths, level: float) -> None:
    """ChimeraX script that opens maps as separate models side by side, each in its cluster's colour."""
    folder = Path(path).parent
    lines = ["close session", *(f"open {Path(each).relative_to(folder)}" for each in maps_paths)]
    lines += [
        f"volume #{index + 1} style surface step 1 level {level:.6g} color {cluster_colour(index)}"
        for index in range(len(maps_paths))
    ]
    _write_lines(path, [*lines, *(["tile"] if len(maps_paths) > 1 else []), *_VIEW])


_VIEW = ("set bgColor white", "lighting soft", "view")


def _write_lines(path, lines) -> None:
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")
