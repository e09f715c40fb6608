"""From where the particles of each map are seen, and what that leaves of its resolution by direction."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from zoo.files import whole_file, whole_path
from zoo.metrics.directional_fsc import directional_fsc
from zoo.metrics.fsc import fsc, resolution_at
from zoo.metrics.views import crowded_direction, fibonacci_half_sphere, fourier_completeness

WITHIN_DEG = 20.0
_DIRECTIONS = 200
_EVEN = 0.8  # of the sampling factor: below it a person is told
_FEWEST = 100  # particles whose views say something
_THRESHOLD = 0.143


class Views(NamedTuple):
    """``crowded``: largest share of views within `WITHIN_DEG` of one axis of the map (either way), ``axis``
    (3,), xyz; ``completeness``: sampling factor SCF*; resolutions in Å by direction: NaN
    without half maps."""

    name: str
    particles: int
    completeness: float
    crowded: float
    axis: np.ndarray
    best_angstrom: float
    worst_angstrom: float
    worst_axis: np.ndarray

    @property
    def even(self) -> bool:
        """Whether nothing need be said."""
        return self.completeness >= _EVEN

    def line(self) -> str:
        """What a person is told."""
        expected = 1 - np.cos(np.radians(WITHIN_DEG))
        words = (
            f"{self.name}: views are uneven, {self.crowded:.0%} within {WITHIN_DEG:g} degrees of one axis "
            f"({expected:.0%} if they were even), sampling factor SCF* {self.completeness:.2f}"
        )
        if np.isnan(self.worst_angstrom):
            return words
        return f"{words}; FSC {_THRESHOLD} by direction: {_in_words(self.best_angstrom, self.worst_angstrom)}"


def _in_words(best, worst):
    return f"{best:.1f} Å in the best, {f'{worst:.1f} Å' if np.isfinite(worst) else 'none'} in the worst"


def views_of(
    name: str, euler_deg: np.ndarray, halves: np.ndarray | None, voxel_size_angstrom: float
) -> Views | None:
    """Views of particles with RELION's angles ``(n, 3)``, of a map with ``halves (2, z, y, x)``; None for
    fewer than 100 particles."""
    if len(euler_deg) < _FEWEST:
        return None
    matrices = Rotation.from_euler("ZYZ", euler_deg, degrees=True).inv().as_matrix()
    # a box of 2 r voxels: slices are as thick as a Fourier voxel at its edge
    radius = 16 if halves is None else min(halves.shape[-1] // 2, 50)
    crowded, axis = crowded_direction(matrices[:, 2], WITHIN_DEG)
    best, worst, worst_axis = np.nan, np.nan, np.full(3, np.nan)
    if halves is not None:
        directions = fibonacci_half_sphere(_DIRECTIONS)
        curves = directional_fsc(halves[0], halves[1], directions)
        curves = np.where(np.isnan(curves), fsc(*halves), curves)
        found = np.array([resolution_at(curve, _THRESHOLD, voxel_size_angstrom).angstrom for curve in curves])
        best, worst, worst_axis = found.min(), found.max(), directions[found.argmax()]
    complete = fourier_completeness(matrices, radius)
    return Views(name, len(euler_deg), complete, crowded, axis, float(best), float(worst), worst_axis)


def write_views(
    euler_deg: Mapping[str, np.ndarray],
    halves: Mapping[str, np.ndarray],
    voxel_size_angstrom: float,
    folder: Path,
) -> list[str]:
    """views.csv and views.png of maps by name, with angles ``(n, 3)`` of their particles and half maps where
    there are some; a line for each map whose views are uneven."""
    found = {
        name: views
        for name, angles in euler_deg.items()
        if (views := views_of(name, angles, halves.get(name), voxel_size_angstrom)) is not None
    }
    if not found:
        return []
    with whole_file(folder / "views.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["map", "particles", "scf", f"share_within_{WITHIN_DEG:g}_deg", "axis_x", "axis_y", "axis_z"]
            + ["best_angstrom", "worst_angstrom", "worst_axis_x", "worst_axis_y", "worst_axis_z"]
        )
        for views in found.values():
            numbers = [views.completeness, views.crowded, *views.axis]
            numbers += [views.best_angstrom, views.worst_angstrom, *views.worst_axis]
            words = ["" if np.isnan(number) else f"{number:.4g}" for number in numbers]
            writer.writerow([views.name, views.particles, *words])
    _draw({name: euler_deg[name] for name in found}, folder / "views.png")
    return [views.line() for views in found.values() if not views.even]


def _draw(euler_deg: Mapping[str, np.ndarray], path: Path) -> None:
    """Density of views over that of even ones, rot across and the cosine of tilt upwards: equal areas."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4 * len(euler_deg), 3), layout="constrained")
    for place, (name, angles) in enumerate(euler_deg.items(), start=1):
        axes = figure.add_subplot(1, len(euler_deg), place)
        bins = int(np.clip(np.sqrt(len(angles) / 10), 6, 36))
        rot = (angles[:, 0] + 180) % 360 - 180
        count, *edges = np.histogram2d(
            rot, np.cos(np.radians(angles[:, 1])), (2 * bins, bins), ((-180, 180), (-1, 1))
        )
        mesh = axes.pcolormesh(*edges, count.T * count.size / len(angles), cmap="viridis", vmin=0)
        figure.colorbar(mesh, ax=axes, label="density of views (even: 1)")
        axes.set(xlabel="rot (degrees)", ylabel="cosine of tilt", xticks=(-180, -90, 0, 90, 180))
        axes.set_title(f"{name.replace('_', ' ')}: {len(angles):,} particles", fontsize=8)
    with whole_path(path) as partial:
        figure.savefig(partial, format="png", dpi=150)
