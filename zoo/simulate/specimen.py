"""A slab of specimen: complexes packed without overlap, vesicles and fiducial beads, and what lies where."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from zoo.errors import ZooError
from zoo.simulate.classes import ClassMaps
from zoo.simulate.poses import draw_poses
from zoo.simulate.rotate import Rotator
from zoo.simulate.tilt_series import euler_matrices
from zoo.simulate.tomogram_settings import TomogramSettings

_OCCUPIED = 0.1  # of a map's highest density
_GAP_VOXELS = 1
_MEMBRANE_DENSITY = 0.5  # of a particle's mean density inside
_BEAD_DENSITY = 8.0  # gold scatters some ten times as strongly as protein
_LEAFLET_SIGMA_ANGSTROM = 7.0
_VESICLE_TRIES = 200
_STREAMS = {"vesicles": 10, "beads": 11, "places": 12}


@dataclass(frozen=True)
class Specimen:
    """Density (z, y, x) float32, labels (z, y, x) int16 and the particles: class, pose and centre of each.

    Labels: 0 empty, 1 to k the classes, k + 1 membrane, k + 2 beads. `centre_voxel` (n, 3) xyz, 0-based.
    """

    density: np.ndarray
    labels: np.ndarray
    particle_class: np.ndarray
    euler_deg: np.ndarray
    centre_voxel: np.ndarray


def build_specimen(
    classes: ClassMaps,
    settings: TomogramSettings,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Specimen:
    """Fill a slab: vesicles and beads first, then the particles in turn of their classes, each where it fits.

    Random sequential addition: a particle whose places are all taken is left out. Pure function of the seed.
    Raises ZooError if the slab is smaller than a particle's box, and if not one particle found a place.
    """
    size = tuple(settings.size_voxels[::-1])  # zyx
    if classes.box > min(size):
        given = " ".join(str(side) for side in settings.size_voxels)
        raise ZooError(
            f"--size {given}: the particles' box has {classes.box} voxels; give a thicker slab or a smaller "
            "--box"
        )
    density, labels = np.zeros(size, np.float32), np.zeros(size, np.int16)
    inside = classes.maps[classes.maps > _OCCUPIED * classes.maps.max(axis=(1, 2, 3), keepdims=True)]
    mean, voxel, kinds = float(inside.mean()), classes.voxel_size_angstrom, len(classes.maps)
    seed = settings.imaging.seed
    membrane, bead = _MEMBRANE_DENSITY * mean, _BEAD_DENSITY * mean
    _add_vesicles(density, labels, settings, voxel, membrane, kinds + 1, _rng(seed, "vesicles"))
    _add_beads(density, labels, settings, voxel, bead, kinds + 2, _rng(seed, "beads"))
    return _add_particles(density, labels, classes, settings, _rng(seed, "places"), progress)


def _add_particles(density, labels, classes, settings, rng, progress):
    kinds, box = len(classes.maps), classes.box
    count = kinds * settings.imaging.count_of_each
    euler, _ = draw_poses(count, settings.imaging.seed, 0.0)
    matrices = euler_matrices(euler)
    rotators = [Rotator(each) for each in classes.maps]
    room = np.array(density.shape) - box + 1
    taken = ndimage.binary_dilation(labels > 0, iterations=_GAP_VOXELS)
    placed, centres = [], []
    for number in range(count):
        kind = number % kinds
        part = np.round(rng.uniform(-0.5, 0.5, 3), 3)  # xyz, of a voxel
        volume = rotators[kind](matrices[number], -part)
        solid = volume > _OCCUPIED * classes.maps[kind].max()
        body = ndimage.binary_dilation(solid, iterations=_GAP_VOXELS)
        corners = (rng.random((settings.attempts, 3)) * room).astype(int)
        for corner in corners:
            at = tuple(slice(start, start + box) for start in corner)
            if not (taken[at] & solid).any():
                density[at] += volume
                labels[at][solid] = kind + 1
                taken[at] |= body
                placed.append(number)
                centres.append(corner[::-1] + box // 2 + part)
                break
        progress(number + 1, count)
    if not placed:
        raise ZooError("not one particle found a place: give a larger --size, or fewer --membranes")
    placed = np.array(placed)
    return Specimen(density, labels, placed % kinds, euler[placed], np.array(centres))


def _add_vesicles(density, labels, settings, voxel, level, label, rng):
    """Spheres of two leaflets; the slab may cut them. Radii from a sixth to a third of the smaller side."""
    shape = np.array(density.shape)
    half, sigma = settings.leaflet_distance_angstrom / voxel / 2, _sigma(voxel)
    least = min(shape[1:]) / 6
    vesicles = []
    for _ in range(settings.membranes):
        for _ in range(_VESICLE_TRIES):
            centre, radius = rng.random(3) * shape, least * (1 + rng.random())
            reach = 2 * (half + 3 * sigma)
            if all(abs(np.linalg.norm(centre - c) - radius - r) > reach and
                   np.linalg.norm(centre - c) > abs(radius - r) + reach for c, r in vesicles):  # fmt: skip
                vesicles.append((centre, radius))
                break
    grid = np.ogrid[tuple(slice(side) for side in density.shape)]
    for centre, radius in vesicles:
        distance = np.sqrt(sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True))) - radius
        near = np.abs(distance) < half + 3 * sigma
        d = distance[near]
        leaflets = np.exp(-((d - half) ** 2) / (2 * sigma**2)) + np.exp(-((d + half) ** 2) / (2 * sigma**2))
        density[near] += (level * leaflets).astype(np.float32)
        labels[np.abs(distance) < half + 1.5 * sigma] = label


def _add_beads(density, labels, settings, voxel, level, label, rng):
    """Gold spheres with an edge as soft as a voxel, inside the slab."""
    radius = settings.bead_diameter_angstrom / voxel / 2
    reach = int(np.ceil(radius + 2))
    axis = np.arange(-reach, reach + 1)
    shape = np.array(density.shape)
    for _ in range(settings.fiducials):
        for _ in range(_VESICLE_TRIES):
            centre = (reach + rng.random(3) * np.maximum(shape - 2 * reach - 1, 1)).astype(int)
            at = tuple(slice(max(c - reach, 0), c + reach + 1) for c in centre)
            if labels[at].any() or density[at].shape != (2 * reach + 1,) * 3:
                continue
            offset = rng.uniform(-0.5, 0.5, 3)
            grid = np.meshgrid(*[axis - o for o in offset], indexing="ij")
            distance = np.sqrt(sum(g**2 for g in grid))
            density[at] += (level * np.clip(radius + 0.5 - distance, 0, 1)).astype(np.float32)
            labels[at][distance < radius + 0.5] = label
            break


def _sigma(voxel):
    return max(_LEAFLET_SIGMA_ANGSTROM / voxel, 0.6)  # no sharper than voxels show


def _rng(seed, name):
    return np.random.default_rng([seed, _STREAMS[name]])
