"""Cubes of one synthetic tomogram whose kinds are known, to mine without any file: made by code, then
kept."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from scipy import ndimage

from zoo.errors import ZooError
from zoo.files import cache_folder
from zoo.simulate.classes import ClassMaps, check_box
from zoo.simulate.embedded import only_one
from zoo.simulate.embedded_complexes import complexes_of_one_density

KINDS = ("empty", "large", "small", "membrane", "fiducial")
"""What is in the middle of a cube, by its label."""
_EMPTY, _LARGE, _SMALL, _MEMBRANE, _FIDUCIAL = range(len(KINDS))

_VERSION = 1
_COMPLEXES = ("large_lumps", "barrel", "tripod")  # 3, 0.7 and 0.3 MDa
_KIND_OF_CLASS = (_LARGE, _SMALL, _SMALL)
_BOX_ANGSTROM = 454.4  # 32 voxels of 14.2 Å, as in the paper
_SIZE_BOXES = (8, 8, 3)  # x, y, z
_COUNT_PER_CLASS, _MEMBRANES, _FIDUCIALS = 90, 4, 12
_POINTS = {_MEMBRANE: 150, _EMPTY: 80}
_APART_BOXES = 0.3  # distance of points on membranes, and of empty ones from what is something
_SNR = 2.0  # of the projections, where beads are most of the signal
_JITTER_BOXES = 1 / 16  # picks are not exactly where particles are


def embedded_cubes(
    box: int | None = None,
    cache_dir: str | os.PathLike | None = None,
    snr: float = _SNR,
    seed: int = 0,
    pose_normalise: bool = True,
) -> Path:
    """Folder of packed cubes of ``box`` voxels (None: 32) of one tomogram; their labels number `KINDS`.

    The tomogram (`zoo.simulate.tomogram`) holds three complexes, vesicles and gold beads, at ``snr`` of the
    projections; it lies beside the records with what is true of it, and ``places.star`` with places and
    labels. With ``pose_normalise`` each cube lies in the frame of what it shows. Raises ZooError for a box
    that cannot be and a cache that cannot be written.
    """
    from zoo.data.info import INFO_NAME
    from zoo.data.packing.pack_subtomograms import VolumeOptions, pack_subtomograms
    from zoo.data.packing.shards import PackSettings

    box = 32 if box is None else box
    check_box(box)
    folder = cache_folder(cache_dir) / f"embedded-cubes-v{_VERSION}-box{box}-snr{snr:g}-seed{seed}"
    records = folder / ("turned" if pose_normalise else "records")
    if (records / INFO_NAME).exists():
        return records
    with only_one(folder):
        tomogram, star = folder / "tomogram" / "tomogram.mrc", folder / "places.star"
        if not tomogram.exists():
            _simulate(box, tomogram.parent, snr, seed)
        if not star.exists():
            _write_places(folder, box, seed)
        packing = PackSettings(box=box, contrast=1, seed=seed, name="embedded")
        options = VolumeOptions(str(tomogram), outside="clip", pose_normalise=pose_normalise)
        pack_subtomograms(star, records, packing, options, processes=1, command="embedded_cubes")
    return records


def tomogram_classes(box: int) -> ClassMaps:
    """The three complexes of the tomogram, 3, 0.7 and 0.3 MDa, of equal density; always the same."""
    return complexes_of_one_density(_COMPLEXES, box, _BOX_ANGSTROM / box)


def places_of_kinds(
    labels: np.ndarray,
    particle_voxel: np.ndarray,
    particle_class: np.ndarray,
    kind_of_class: tuple[int, ...],
    box: int,
    seed: int,
    points: dict[int, int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Places (n, 3) xyz in whole voxels and kinds (n,) of cubes of ``box`` voxels that lie in a tomogram.

    ``labels`` (z, y, x) are those of `simulate_tomogram`: 0 empty, 1 to k the classes, k + 1 membrane, k + 2
    beads. All particles and beads, and so many ``points`` of membrane and emptiness, kind → number; all are
    moved by up to a sixteenth of a box along each axis, as picks are.
    """
    rng = np.random.default_rng([seed, len(labels)])
    count, points = len(kind_of_class), _POINTS if points is None else points
    shape = np.array(labels.shape)
    beads, number = ndimage.label(labels == count + 2)
    middles = np.array(ndimage.center_of_mass(beads > 0, beads, np.arange(1, number + 1))).reshape(-1, 3)
    apart = _APART_BOXES * box
    surface = _scattered(np.argwhere(labels == count + 1), apart, points[_MEMBRANE], box, shape, rng)
    away = ndimage.distance_transform_edt(labels == 0)
    empty = _scattered(np.argwhere(away > apart), apart, points[_EMPTY], box, shape, rng)
    places = [particle_voxel[:, ::-1], middles, surface, empty]
    kinds = [np.array(kind_of_class)[particle_class]]
    kinds += [np.full(len(each), kind) for each, kind in
              zip(places[1:], (_FIDUCIAL, _MEMBRANE, _EMPTY), strict=True)]  # fmt: skip
    zyx = np.concatenate(places) + rng.uniform(-1, 1, (sum(map(len, places)), 3)) * _JITTER_BOXES * box
    zyx = np.clip(np.rint(zyx), box // 2, shape - box + box // 2)
    return zyx[:, ::-1], np.concatenate(kinds)


def _scattered(candidates, apart: float, most: int, box: int, shape, rng) -> np.ndarray:
    """Up to ``most`` of the candidates (n, 3) zyx, drawn at random, ``apart`` from each other, boxes
    inside."""
    inside = ((candidates >= box // 2) & (candidates <= shape - box + box // 2)).all(axis=1)
    found: list[np.ndarray] = []
    for place in rng.permutation(candidates[inside], axis=0):
        if all(np.sum((place - other) ** 2) >= apart**2 for other in found):
            found.append(place)
        if len(found) == most:
            break
    return np.array(found, float).reshape(-1, 3)


def _simulate(box: int, out: Path, snr: float, seed: int) -> None:
    from zoo.simulate.subtomogram_settings import SubtomogramSettings
    from zoo.simulate.tomogram import simulate_tomogram
    from zoo.simulate.tomogram_settings import TomogramSettings

    x, y, z = (side * box for side in _SIZE_BOXES)
    imaging = SubtomogramSettings(_COUNT_PER_CLASS, snr=snr, seed=seed)
    settings = TomogramSettings(imaging, (x, y, z), _MEMBRANES, _FIDUCIALS)
    simulate_tomogram(tomogram_classes(box), out, settings, command="embedded_cubes")


def _write_places(folder: Path, box: int, seed: int) -> None:
    from zoo.data.formats.mrc import read_volume
    from zoo.data.formats.subtomogram_star_write import write_subtomograms
    from zoo.data.subtomograms import read_subtomograms
    from zoo.data.tables.subtomogram_table import COORDINATE_COLUMNS, SubtomogramTable

    tomogram = folder / "tomogram" / "tomogram.mrc"
    particles = read_subtomograms(tomogram.parent / "particles.star", tomogram)
    labels, voxel = read_volume(tomogram.parent / "labels.mrc")
    places, kinds = places_of_kinds(
        labels, particles.coordinates_voxel(), particles.label, _KIND_OF_CLASS, box, seed
    )
    if not set(range(len(KINDS))) <= set(kinds.tolist()):
        raise ZooError(f"{tomogram}: does not hold every kind of cube; give another box or seed")
    count = len(places)
    columns = {
        "stack_index": np.zeros(count, int),
        "row_in_stack": np.zeros(count, int),
        "label": kinds,
        "pixel_size_angstrom": np.full(count, voxel),
        "tilt_min_deg": np.full(count, particles.tilt_min_deg[0]),
        "tilt_max_deg": np.full(count, particles.tilt_max_deg[0]),
    }
    columns |= {name: places[:, number] for number, name in enumerate(COORDINATE_COLUMNS)}
    table = SubtomogramTable([str(tomogram)], columns, stack_names=["tomogram.mrc"])
    write_subtomograms(table, folder / "places.star", box)
