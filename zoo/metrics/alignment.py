"""Find the rotation, shift and hand that lay one map over another."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from zoo.errors import ZooError
from zoo.metrics.fsc import check_cube
from zoo.metrics.shells import Shells, centred_transform, padded_transform
from zoo.ops.rotation_grid import so3_grid

_COARSE_RADIUS = 5
_COARSE_STEP_DEG = 14.5


@dataclass(frozen=True)
class Alignment:
    """Result of align_maps: x_reference = rotation @ x_moving + shift_px, after mirroring if hand is -1.

    Coordinates are xyz in pixels from voxel box // 2; the mirror flips x. `correlation` is the Pearson
    correlation of `aligned` (z, y, x) with the reference.
    """

    aligned: np.ndarray
    rotation: np.ndarray
    shift_px: np.ndarray
    hand: int
    correlation: float


def align_maps(
    moving: np.ndarray,
    reference: np.ndarray,
    allow_mirror: bool = True,
    candidates: int = 12,
    coarse_radius: int = _COARSE_RADIUS,
) -> Alignment:
    """Lay `moving` over `reference` (both (box, box, box)): global search, then refinement.

    Search: even rotations 14.5 degrees apart (4,900 per hand) on the lowest `coarse_radius` shells (5 suit a
    particle that fills its box; a smaller one needs more), the best shift of each by FFT cross-correlation.
    The best `candidates` are refined (Nelder-Mead on rotation vector and shift) with shells added up to a
    third of the box; the hand is the one that correlates better then.
    Maps must lie near the middle of their boxes.
    Raises ZooError if the maps are not finite cubes of one box, or one of them is constant.
    """
    moving, reference = check_cube(moving, "moving map"), check_cube(reference, "reference map")
    if moving.shape != reference.shape:
        raise ZooError(f"cannot align {moving.shape} to {reference.shape}: expected one box; resample one")
    if np.ptp(moving) == 0 or np.ptp(reference) == 0:
        raise ZooError("cannot align a constant map; expected density")
    box = reference.shape[0]
    if box < 8:
        raise ZooError(f"cannot align maps of {box} voxels: expected a box of at least 8")
    coarse_radius = min(coarse_radius, box // 2 - 1)
    hands = {1: moving, -1: mirror(moving)} if allow_mirror else {1: moving}
    transforms = {hand: padded_transform(volume) for hand, volume in hands.items()}
    target = centred_transform(reference)

    coarse = Shells(target, coarse_radius)
    matrices = so3_grid(_COARSE_STEP_DEG)
    found = []
    for hand, transform in transforms.items():
        scores, shifts = coarse.search(transform, matrices)
        for index in np.argsort(-scores)[:candidates]:
            found.append((scores[index], hand, Rotation.from_matrix(matrices[index]), shifts[index]))

    # Few candidates survive each step, so that the shells that cost most see only the likely ones. Of each
    # hand some do: many molecules are their own mirror image but for the last shells.
    for radius, keep in ((coarse_radius, 4), (box // 5, 2), (box // 3, 1)):
        radius = max(radius, coarse_radius)
        shells = Shells(target, radius)
        found = [shells.refine(transforms[hand], hand, rotation, shift) for _, hand, rotation, shift in found]
        best = sorted(found, key=lambda item: -item[0])
        found = [item for hand in hands for item in [i for i in best if i[1] == hand][:keep]]

    laid = [_laid_over(moving, reference, *pose) for _, *pose in found]
    return max(laid, key=lambda alignment: alignment.correlation)


def _laid_over(moving, reference, hand, rotation, shift):
    aligned = transform_map(moving, rotation.as_matrix(), shift, hand)
    correlation = float(np.corrcoef(aligned.ravel(), reference.ravel())[0, 1])
    return Alignment(aligned.astype(np.float32), rotation.as_matrix(), shift, hand, correlation)


def transform_map(
    volume: np.ndarray, rotation: np.ndarray, shift_px=(0.0, 0.0, 0.0), hand: int = 1
) -> np.ndarray:
    """The map (z, y, x) after x -> rotation @ x + shift_px, mirrored first along x if `hand` is -1.

    Coordinates are xyz pixels from voxel box // 2. Quintic splines; zero outside the box.
    """
    volume = mirror(volume) if hand < 0 else np.asarray(volume)
    rotation, shift_px = np.asarray(rotation), np.asarray(shift_px)
    centre = np.full(3, volume.shape[0] // 2)
    inverse = rotation.T[::-1, ::-1]
    offset = centre - inverse @ (centre + shift_px[::-1])
    return ndimage.affine_transform(volume, inverse, offset, order=5, mode="constant")


def mirror(volume: np.ndarray) -> np.ndarray:
    """The other hand of volumes (..., n, n, n): x -> -x about voxel n // 2."""
    flipped = np.asarray(volume)[..., ::-1]
    return np.roll(flipped, 1, axis=-1) if volume.shape[-1] % 2 == 0 else flipped
