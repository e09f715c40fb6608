"""Fifteen synthetic complexes of unlike shapes and of 150 kDa to 4 MDa, made by code: nothing is downloaded.

Each is a set of beads, 1 nm wide and spread evenly over a body of simple geometry; their number follows
from the mass, at 0.81 Da/Å³ (the density of protein).
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from zoo.simulate.classes import ClassMaps
from zoo.simulate.embedded import splat

_DALTON_PER_CUBIC_ANGSTROM = 0.81
_BEAD_ANGSTROM = 10.0
_SEED = 2018

Body = Callable[[np.ndarray], np.ndarray]


def _ring(radius: float, width: float, height: float, z: float = 0.0) -> Body:
    def inside(p):
        return (np.abs(np.hypot(p[:, 0], p[:, 1]) - radius) < width / 2) & (np.abs(p[:, 2] - z) < height / 2)

    return inside


def _ball(radius: float, centre=(0.0, 0.0, 0.0), axes=(1.0, 1.0, 1.0)) -> Body:
    return lambda p: (((p - centre) / axes) ** 2).sum(1) < radius**2


def _rod(radius: float, length: float, axis: int = 2, centre=(0.0, 0.0, 0.0)) -> Body:
    across = [k for k in range(3) if k != axis]

    def inside(p):
        q = p - centre
        return (np.hypot(*q[:, across].T) < radius) & (np.abs(q[:, axis]) < length / 2)

    return inside


def _any(*bodies: Body) -> Body:
    return lambda p: np.any([body(p) for body in bodies], axis=0)


def _but(body: Body, *holes: Body) -> Body:
    return lambda p: body(p) & ~_any(*holes)(p)


def _turned(count: int, radius: float, one: Callable[[np.ndarray], Body], height: float = 0.0) -> Body:
    angle = 2 * np.pi * np.arange(count) / count
    centres = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.full(count, height)], 1)
    return _any(*(one(centre) for centre in centres))


def _helix(radius: float, pitch: float, thickness: float, length: float) -> Body:
    def inside(p):
        phase = 2 * np.pi * p[:, 2] / pitch
        away = np.hypot(p[:, 0] - radius * np.cos(phase), p[:, 1] - radius * np.sin(phase))
        return (away < thickness) & (np.abs(p[:, 2]) < length / 2)

    return inside


def _cage(radius: float, thickness: float) -> Body:
    """A shell with twelve round windows, at the corners of an icosahedron."""
    golden = (1 + 5**0.5) / 2
    corners = np.array(
        [np.roll([0, a, b * golden], k) for k in range(3) for a in (-1, 1) for b in (-1, 1)], float
    )
    corners *= radius / np.linalg.norm(corners[0])
    shell = _but(_ball(radius), _ball(radius - thickness))
    return _but(shell, *(_ball(0.35 * radius, corner) for corner in corners))


def _half_shell(p):
    return _but(_ball(75), _ball(45))(p) & (p[:, 2] < 20)


def _lumps(seed: int, count: int, spread: float, radius: float) -> Body:
    rng = np.random.default_rng([_SEED, seed])
    centres = np.cumsum(rng.normal(0, spread, (count, 3)), axis=0)
    centres -= centres.mean(0)
    return _any(*(_ball(radius * rng.uniform(0.6, 1.2), centre) for centre in centres))


_BARREL = _but(_rod(58, 150), _rod(24, 110))
COMPLEXES: dict[str, tuple[float, Body]] = {
    "ring": (0.35e6, _ring(55, 34, 40)),
    "double_ring": (0.8e6, _any(_ring(52, 40, 60, 38), _ring(52, 40, 60, -38))),
    "barrel": (0.7e6, _but(_rod(58, 150), _rod(26, 150), _rod(40, 30))),
    "capped_barrel": (2.0e6, _any(_BARREL, _ball(62, (28, 0, 118)), _ball(62, (-28, 0, -118)))),
    "shell": (4.0e6, _but(_ball(150), _ball(112))),
    "cage": (1.4e6, _cage(120, 34)),
    "rod": (0.45e6, _rod(24, 320)),
    "helix": (0.5e6, _helix(42, 90, 24, 210)),
    "disc": (0.6e6, _rod(85, 36)),
    "cup": (0.75e6, _half_shell),
    "dumbbell": (0.55e6, _any(_ball(46, (0, 0, 78)), _ball(38, (0, 0, -78)), _rod(14, 130))),
    "star": (0.4e6, _any(_ball(34), _turned(5, 66, lambda c: _ball(22, c)))),
    "tripod": (0.3e6, _any(_ball(32, (0, 0, 40)), _turned(3, 44, lambda c: _ball(26, c), -30))),
    "large_lumps": (3.0e6, _lumps(1, 14, 52, 58)),
    "small_lumps": (0.15e6, _lumps(2, 6, 24, 24)),
}
"""Name → (mass in Da, which points (n, 3) in Å lie inside)."""


def embedded_complexes(box: int = 64, voxel_size_angstrom: float = 6.0) -> ClassMaps:
    """Densities of all complexes, (15, n, n, n), a standard deviation of 1 each; always the same."""
    from zoo.simulate.map_set import unit_scale

    sigma = max(_BEAD_ANGSTROM / 2, voxel_size_angstrom / 2)
    maps = []
    for number in range(len(COMPLEXES)):
        xyz = _beads(number)
        density = splat(xyz, np.ones(len(xyz)), sigma, box, voxel_size_angstrom)
        maps.append(unit_scale(density.astype(np.float32)))
    return ClassMaps(np.stack(maps), float(voxel_size_angstrom), tuple(COMPLEXES))


def complexes_of_one_density(
    names: tuple[str, ...], box: int, voxel_size_angstrom: float, unit_dalton: float = 1.0
) -> ClassMaps:
    """Some of the complexes, so that a voxel holds its mass in units of ``unit_dalton``.

    Those of `embedded_complexes` have a standard deviation of 1 each: a small one would be the densest.
    """
    found = embedded_complexes(box, voxel_size_angstrom)
    maps = []
    for name in names:
        density = found.maps[found.names.index(name)]
        maps.append(density * np.float32(COMPLEXES[name][0] / density.sum() / unit_dalton))
    return ClassMaps(np.stack(maps), found.voxel_size_angstrom, names)


@functools.cache
def _beads(number: int) -> np.ndarray:
    """Points in Å, one for 1 nm³, inside a body that is scaled to its mass; their mean is the origin."""
    dalton, inside = list(COMPLEXES.values())[number]
    volume = dalton / _DALTON_PER_CUBIC_ANGSTROM
    grid = np.random.default_rng([_SEED, number]).uniform(-260, 260, (400_000, 3))
    kept = grid[inside(grid)]
    scale = (volume / (len(kept) / len(grid) * 520.0**3)) ** (1 / 3)
    wanted = min(len(kept), round(volume / _BEAD_ANGSTROM**3))
    return (kept[:wanted] - kept.mean(0)) * scale
