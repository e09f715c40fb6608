"""Three synthetic assembly intermediates of ribosome-like size, made by code: nothing is downloaded."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zoo.errors import ZooError
from zoo.files import cache_folder

if TYPE_CHECKING:
    from zoo.simulate.classes import ClassMaps

EMBEDDED_EXTENT_ANGSTROM = 320.0
"""Edge of the box that the embedded particles fit into with room for shifts; voxel = this / box."""

EMBEDDED_CLASSES = ("core", "core+A", "core+A+B")

_DATASET_VERSION = 1
_GEOMETRY_SEED = 20240131
_FINEST_BEAD_SIGMA_ANGSTROM = 4.5
_STRETCH = 1.15
_FILLER_WEIGHT = 0.2

# centre (x, y, z), semi-axes, long-axis direction, rods, filler beads; in Å, before _STRETCH.
# The bodies differ in size and shape, and no two of their directions are opposite or at 90 degrees:
# the whole has no symmetry and is far from its own mirror image.
_CORE_BODIES = (
    ((-18.0, -10.0, -8.0), (70.0, 52.0, 44.0), (0.80, 0.45, -0.40), 34, 800),
    ((-40.0, 38.0, 22.0), (38.0, 27.0, 24.0), (0.25, -0.55, 0.80), 10, 180),
    ((34.0, -46.0, -26.0), (30.0, 22.0, 18.0), (0.65, -0.70, -0.30), 5, 90),
)
_CORE_STALK = ((-66.0, -34.0, 4.0), (-88.0, -62.0, 22.0), (-78.0, -84.0, 44.0))
_MODULE_A = (
    ((35.0, 21.0, 28.0), (44.0, 33.0, 29.0), (0.10, 0.75, 0.65), 17, 320),
    ((59.0, -3.0, 52.0), (22.0, 17.0, 15.0), (0.70, -0.30, 0.65), 4, 60),
)
_MODULE_B = (
    ((8.0, -28.0, 62.0), (46.0, 26.0, 22.0), (0.55, -0.80, 0.20), 14, 250),
    ((-30.0, 4.0, 74.0), (27.0, 20.0, 17.0), (-0.60, 0.70, 0.35), 6, 90),
    ((-48.0, -56.0, 76.0), (20.0, 16.0, 14.0), (0.30, 0.20, 0.93), 3, 50),
)


def embedded_maps(box: int = 32, voxel_size_angstrom: float | None = None) -> np.ndarray:
    """Densities (3, box, box, box) float32 of core, core+A and core+A+B in one frame; the highest voxel is 1.

    `voxel_size_angstrom` None means EMBEDDED_EXTENT_ANGSTROM / box. Detail follows the voxel: beads of
    0.9 voxels, never finer than 4.5 Å, so that every box holds texture but nothing beyond its Nyquist.
    """
    if voxel_size_angstrom is None:
        voxel_size_angstrom = EMBEDDED_EXTENT_ANGSTROM / box
    sigma = max(_FINEST_BEAD_SIGMA_ANGSTROM, 0.9 * voxel_size_angstrom)
    parts = [splat(xyz, weight, sigma, box, voxel_size_angstrom) for xyz, weight in embedded_beads()]
    maps = np.cumsum(parts, axis=0)
    return (maps / maps.max()).astype(np.float32)


def embedded_classes(box: int, pixel_size_angstrom: float | None = None) -> ClassMaps:
    """The three synthetic assembly intermediates; without a pixel size they fill two thirds of the box."""
    from zoo.simulate.classes import ClassMaps, check_box  # SciPy: whoever only looks for a set does without

    check_box(box)
    pixel_size_angstrom = pixel_size_angstrom or EMBEDDED_EXTENT_ANGSTROM / box
    return ClassMaps(embedded_maps(box, pixel_size_angstrom), pixel_size_angstrom, EMBEDDED_CLASSES)


def embedded_dataset(
    box: int = 32,
    count_per_class: int = 3000,
    sigma: float = 1.0,
    seed: int = 0,
    cache_dir: str | os.PathLike | None = None,
    shift_max_px: float = 1.5,
    apply_ctf: bool = True,
) -> Path:
    """Folder of packed records of simulated particles of the three classes; made on first use, then kept.

    Beside it lie `particles/` (STAR, stack, the true maps) and the records, not normalised again: the noise
    has standard deviation `sigma` in units of the signal (see ParticleSettings). The cache is `cache_dir`,
    the environment variable ZOO_CACHE, or ~/.cache/cryozoo. Processes that ask at once wait for the first.
    Raises ZooError for values that cannot be and for a cache that cannot be written.
    """
    from zoo.data.info import INFO_NAME

    parts = [f"v{_DATASET_VERSION}", f"box{box}", f"n{count_per_class}", f"sigma{sigma:g}", f"seed{seed}"]
    parts += [f"shift{shift_max_px:g}"] if shift_max_px else []
    parts += [] if apply_ctf else ["noctf"]
    folder = cache_folder(cache_dir) / "-".join(["embedded", *parts])
    records = folder / "records"
    if (records / INFO_NAME).exists():
        return records
    from zoo.data.packing.pack_particles import pack_particles
    from zoo.data.packing.shards import PackSettings
    from zoo.simulate.particles import simulate_particles
    from zoo.simulate.settings import ParticleSettings

    settings = ParticleSettings(
        count_per_class, sigma=sigma, seed=seed, shift_max_px=shift_max_px, apply_ctf=apply_ctf
    )
    with only_one(folder):
        star = folder / "particles" / "particles.star"
        if not star.exists():
            simulate_particles(embedded_classes(box), star.parent, settings, command="embedded_dataset")
        packing = PackSettings(box=box, normalisation="none", contrast=1, seed=seed, name="embedded")
        pack_particles(star, records, packing, command="embedded_dataset")
    return records


@contextlib.contextmanager
def only_one(folder):
    """Hold the lock of a cache entry; the system lets go of it even where a process is killed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / ".lock", "w")
    except OSError as error:
        raise ZooError(
            f"{folder}: the cache cannot be written: {error.strerror or error}; "
            "set ZOO_CACHE to another folder"
        ) from error
    with lock:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            # where the file system has no locks, both work: each step is atomic, and equal in result
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def embedded_beads() -> list[tuple[np.ndarray, np.ndarray]]:
    """Bead positions (n, 3) xyz in Å from the box centre and weights (n,) of core, module A and module B."""
    rng = np.random.default_rng(_GEOMETRY_SEED)
    stalk = _tube(np.array(_CORE_STALK))
    core = [_body(rng, *body) for body in _CORE_BODIES] + [(stalk, np.full(len(stalk), 0.9))]
    groups = [core, [_body(rng, *body) for body in _MODULE_A], [_body(rng, *body) for body in _MODULE_B]]
    beads = [(np.concatenate([x for x, _ in g]), np.concatenate([w for _, w in g])) for g in groups]
    everything = np.concatenate([xyz for xyz, _ in beads])
    middle = (everything.max(0) + everything.min(0)) / 2
    return [((xyz - middle) * _STRETCH, weight) for xyz, weight in beads]


def _body(rng, centre, semi_axes, direction, rods, fillers):
    """An ellipsoid packed with helix-like rods and a weaker filling, clipped at its surface."""
    frame = _frame(direction)
    semi_axes = np.asarray(semi_axes)
    points, weights = [], []
    for _ in range(rods):
        start = _in_ball(rng) * semi_axes * 0.85
        heading = _on_sphere(rng)
        length = 35.0 + 30.0 * rng.random()
        along = np.arange(-length / 2, length / 2, 5.0)
        # a superhelix of radius 5 Å and pitch 28 Å: a rod with a surface rather than a straight line
        _, u, v = _frame(heading)
        turn = 2 * np.pi * along[:, None] / 28.0
        rod = start + along[:, None] * heading + 5.0 * (np.cos(turn) * u + np.sin(turn) * v)
        points.append(rod)
        weights.append(np.full(len(rod), 0.7 + 0.6 * rng.random()))
    filling = np.array([_in_ball(rng) * semi_axes for _ in range(fillers)])
    points.append(filling)
    weights.append(np.full(fillers, _FILLER_WEIGHT))
    points, weights = np.concatenate(points), np.concatenate(weights)
    inside = ((points / semi_axes) ** 2).sum(1) <= 1.0
    return points[inside] @ frame + np.asarray(centre), weights[inside]


def _frame(direction):
    """Rows: the unit vector along `direction` and two that complete a right-handed frame."""
    first = np.asarray(direction, float) / np.linalg.norm(direction)
    second = np.cross(np.eye(3)[np.argmin(np.abs(first))], first)
    second /= np.linalg.norm(second)
    return np.stack([first, second, np.cross(first, second)])


def _in_ball(rng):
    while True:
        point = 2 * rng.random(3) - 1
        if point @ point <= 1:
            return point


def _on_sphere(rng):
    while True:
        point = 2 * rng.random(3) - 1
        if 0.01 < point @ point <= 1:
            return point / np.linalg.norm(point)


def _tube(corners):
    """Beads every 5 Å along a polyline, wound around it as a superhelix."""
    lengths = np.linalg.norm(np.diff(corners, axis=0), axis=1)
    at = np.concatenate([[0], np.cumsum(lengths)])
    along = np.arange(0, at[-1], 4.0)
    centre = np.stack([np.interp(along, at, corners[:, k]) for k in range(3)], 1)
    turn = 2 * np.pi * along / 24.0
    return centre + 6.0 * np.stack([np.cos(turn), np.sin(turn), np.zeros_like(turn)], 1)


def splat(xyz, weights, sigma_angstrom, box, voxel_size_angstrom, chunk=256):
    """Sum of Gaussians on the grid (z, y, x), centre at voxel box // 2."""
    axis = (np.arange(box) - box // 2) * voxel_size_angstrom
    total = np.zeros((box * box, box))
    for start in range(0, len(xyz), chunk):
        part = xyz[start : start + chunk]
        gx, gy, gz = (np.exp(-((axis - part[:, k, None]) ** 2) / (2 * sigma_angstrom**2)) for k in range(3))
        gz *= weights[start : start + chunk, None]
        total += (gz[:, :, None] * gy[:, None, :]).reshape(len(part), -1).T @ gx
    return total.reshape(box, box, box)
