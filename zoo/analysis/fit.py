"""Where an atomic model lies in a map: exhaustive search over rotations and shifts, then refinement."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from zoo.errors import ZooError
from zoo.metrics.alignment import align_maps, mirror
from zoo.metrics.fsc import fsc, resolution_at
from zoo.metrics.mask import density_mask
from zoo.simulate.density import density_from_atoms
from zoo.simulate.resample import border_level, resample_map

_SEARCH_BOX = 64  # voxels; finer maps are searched on a coarser grid
_JUDGE_BOX = 192  # voxels that the correlations and the FSC are taken on, at most
_SHELLS_PER_SIZE = 3  # waves of the coarse search along the structure
_LEAST_SHELLS, _MOST_SHELLS = 5, 12
_CANDIDATES = 12
_MASK_LEVEL = 0.1  # of the densest voxel of the model
_MARGIN_VOXELS = 2
_ROOM = 1.03
_SMALLEST_BOX = 12


@dataclass(frozen=True)
class MapFrame:
    """A map (z, y, x) with the voxel size and the place of its first voxel's middle (xyz) in Å."""

    density: np.ndarray
    voxel_size_angstrom: float
    corner_angstrom: tuple[float, float, float] = (0.0, 0.0, 0.0)
    name: str = "map"

    def __post_init__(self):
        if not np.isfinite(self.density).all():
            raise ZooError(f"{self.name}: holds values that are not finite; expected densities")
        if np.ptp(self.density) == 0:
            raise ZooError(f"{self.name}: all voxels are equal; expected a map with density")
        if min(self.density.shape) < _SMALLEST_BOX:
            size = " x ".join(str(side) for side in self.density.shape[::-1])
            raise ZooError(
                f"{self.name}: {size} voxels; a fit needs at least {_SMALLEST_BOX} along each side"
            )


@dataclass(frozen=True)
class Fit:
    """A model's place in a map, x_map = rotation @ x_model + translation_angstrom (xyz, Å), and its fit.

    ``correlation`` is Pearson's, of the map with the model's density over all voxels of the map,
    ``correlation_inside`` over those of the model. ``mirrored_correlation`` is that of the model's mirror
    image at its own best place, ``searched_correlation`` the same of the model as it is (both on the grid of
    the search). ``fsc`` of the map with the model's density holds the curves ``whole`` and ``masked`` (in a
    soft mask about the model), of a box ``edge_angstrom`` wide; ``fsc_half_angstrom`` is where each falls
    below 0.5. ``densities`` (2, n, n, n) are map and model on the grid that they were compared on.
    """

    rotation: np.ndarray
    translation_angstrom: np.ndarray
    resolution_angstrom: float
    correlation: float
    correlation_inside: float
    searched_correlation: float
    mirrored_correlation: float
    fsc: dict[str, np.ndarray]
    fsc_half_angstrom: dict[str, float]
    edge_angstrom: float
    frame: MapFrame
    densities: np.ndarray

    @property
    def mirror_fits_better(self) -> bool:
        return self.mirrored_correlation > self.searched_correlation


def fit_atoms(
    atoms,
    frame: MapFrame,
    resolution_angstrom: float | None = None,
    progress: Callable[[str], None] = lambda text: None,
    name: str = "structure",
) -> Fit:
    """Fit `atoms` (`zoo.data.formats.structures.Atoms`) rigidly into a map whose density is positive.

    The model's density has `resolution_angstrom` (default: 3 voxels). Rotations 14.5 degrees apart and all
    shifts are searched on low Fourier shells, the best of them refined on ever higher ones
    (`zoo.metrics.alignment`); the mirror image of the model is searched as well, to be compared, never used.
    Raises ZooError for a model that is longer than the map, and for one with all atoms in one place.
    """
    voxel = frame.voxel_size_angstrom
    resolution = 3 * voxel if resolution_angstrom is None else resolution_angstrom
    if not (math.isfinite(resolution) and resolution > 0):
        raise ZooError(f"--resolution {resolution:g}: expected more than 0 Å")
    xyz = atoms.positions_angstrom
    centre = (xyz.min(0) + xyz.max(0)) / 2
    reach = float(np.linalg.norm(xyz - centre, axis=1).max())
    if not reach > 0:
        raise ZooError(f"{name}: {len(xyz)} atoms at one place; expected a molecule, which can be turned")
    _check_size(reach, frame)

    cube, middle = _cube(frame, _room(reach / voxel))
    edge = len(cube) * voxel
    if resolution > edge / 2:
        raise ZooError(
            f"--resolution {resolution:g}: coarser than half of {frame.name}, which is {edge:.0f} Å wide"
        )
    box = min(len(cube), _SEARCH_BOX)
    target = resample_map(cube, voxel, box, edge / box)
    model = _density(atoms, xyz, centre, box, edge / box, max(resolution, 2 * edge / box))
    shells = int(np.clip(round(_SHELLS_PER_SIZE * edge / (2 * reach)), _LEAST_SHELLS, _MOST_SHELLS))
    progress(f"searching {frame.name} at {max(resolution, 2 * edge / box):.1f} Å on {box} voxels")
    found = align_maps(model, target, False, _CANDIDATES, shells)
    progress("searching with the mirror image")
    other = align_maps(mirror(model), target, False, _CANDIDATES, shells)

    shift = middle + found.shift_px * edge / box
    placed = Fit(
        rotation=found.rotation,
        translation_angstrom=shift - found.rotation @ centre,
        resolution_angstrom=resolution,
        correlation=math.nan,
        correlation_inside=math.nan,
        searched_correlation=found.correlation,
        mirrored_correlation=other.correlation,
        fsc={},
        fsc_half_angstrom={},
        edge_angstrom=edge,
        frame=frame,
        densities=np.zeros((2, 0, 0, 0)),
    )
    progress("comparing the model's density with the map")
    return judged(placed, atoms)


def judged(fit: Fit, atoms) -> Fit:
    """`fit` with the correlations and the FSC of `atoms` at its place, and the two densities."""
    frame, voxel = fit.frame, fit.frame.voxel_size_angstrom
    xyz = atoms.positions_angstrom @ fit.rotation.T + fit.translation_angstrom
    middle = np.asarray(frame.corner_angstrom) + voxel * _middle_voxel(frame)
    cube, middle = _cube(frame, _room(np.abs(xyz - middle).max() / voxel))
    edge, box = len(cube) * voxel, min(len(cube), _JUDGE_BOX)
    target = resample_map(cube, voxel, box, edge / box)
    model = _density(atoms, xyz, middle, box, edge / box, fit.resolution_angstrom)
    within = _part_of_map(frame, box, edge / box)
    mask = density_mask(model, _MASK_LEVEL * model.max(), extend_px=2, edge_px=4)
    curves = {"whole": fsc(model, target), "masked": fsc(model, target, mask)}
    half = {name: resolution_at(curve, 0.5, edge / box, box).angstrom for name, curve in curves.items()}
    inside = within & (mask > 0.5)
    return replace(
        fit,
        correlation=_pearson(model[within], target[within]),
        correlation_inside=_pearson(model[inside], target[inside]),
        fsc=curves,
        fsc_half_angstrom=half,
        edge_angstrom=edge,
        densities=np.stack([target, model]),
    )


def _part_of_map(frame, box, voxel):
    """Which voxels of the cube lie in the map as it is, not in what it was filled up with."""
    within = np.ones((box,) * 3, bool)
    for axis, size in enumerate(frame.density.shape):
        place = (np.arange(box) - box // 2) * voxel / frame.voxel_size_angstrom + size // 2
        along = (place > -0.5) & (place < size - 0.5)
        within &= along.reshape([-1 if axis == other else 1 for other in range(3)])
    return within


def _room(reach_voxels):
    """Side of a cube, in voxels, that holds a model of this reach on a coarser grid too."""
    return 2 * math.ceil(_ROOM * reach_voxels + _MARGIN_VOXELS)


def _middle_voxel(frame):
    """xyz of voxel n // 2 of each side."""
    return np.array([size // 2 for size in frame.density.shape[::-1]])


def _density(atoms, xyz, centre, box, voxel, resolution):
    occupancies = atoms.occupancies if atoms.occupancies.any() else None
    return density_from_atoms(xyz, atoms.elements, box, voxel, resolution, occupancies, centre)


def _cube(frame, least):
    """The map in the middle of an even cube of `least` voxels or more, background 0, and where that is.

    Voxel n // 2 of each side of the map comes to voxel N // 2, the place that is returned (xyz in Å).
    """
    shape = frame.density.shape
    side = max(*shape, least)
    side += side % 2
    density = frame.density.astype(np.float64) - border_level(frame.density)
    before = [side // 2 - size // 2 for size in shape]
    cube = np.pad(density, [(b, side - size - b) for b, size in zip(before, shape, strict=True)])
    return cube, np.asarray(frame.corner_angstrom) + _middle_voxel(frame) * frame.voxel_size_angstrom


def _check_size(reach, frame):
    longest = float(np.linalg.norm(frame.density.shape)) * frame.voxel_size_angstrom
    if 2 * reach > longest:
        sides = " x ".join(f"{size * frame.voxel_size_angstrom:.0f}" for size in frame.density.shape[::-1])
        raise ZooError(
            f"{frame.name}: {sides} Å, too small for a structure of {2 * reach:.0f} Å; is the voxel size "
            f"right ({frame.voxel_size_angstrom:g} Å; --pixel-size), and is it one complex?"
        )


def _pearson(a, b):
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
