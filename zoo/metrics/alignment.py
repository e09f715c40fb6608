"""Find the rotation, shift and hand that lay one map over another."""

from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage, optimize
from scipy.spatial.transform import Rotation

from zoo.errors import ZooError
from zoo.metrics.fsc import check_cube
from zoo.ops.rotation_grid import so3_grid

_COARSE_RADIUS = 5
_COARSE_STEP_DEG = 14.5
_PAD = 2


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
    moving: np.ndarray, reference: np.ndarray, allow_mirror: bool = True, candidates: int = 12
) -> Alignment:
    """Lay `moving` over `reference` (both (box, box, box)): global search, then refinement.

    Search: even rotations 14.5 degrees apart (4,900 per hand) on the lowest 5 Fourier shells, the best shift
    of each by FFT cross-correlation. The best `candidates` are refined (Nelder-Mead on rotation vector and
    shift) with shells added up to a third of the box; the hand is the one that correlates better then.
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
    coarse_radius = min(_COARSE_RADIUS, box // 2 - 1)
    hands = {1: moving, -1: mirror(moving)} if allow_mirror else {1: moving}
    transforms = {hand: _padded_transform(volume) for hand, volume in hands.items()}
    target = _centred_transform(reference)

    coarse = _Shells(target, coarse_radius)
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
        shells = _Shells(target, radius)
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
    """The other hand: x -> -x about voxel box // 2."""
    flipped = np.asarray(volume)[:, :, ::-1]
    return np.roll(flipped, 1, axis=2) if volume.shape[2] % 2 == 0 else flipped


class _Shells:
    """Half a ball of Fourier voxels of the reference, without the origin, and scores on it."""

    def __init__(self, target, radius):
        box = target.shape[0]
        axis = np.arange(-radius, radius + 1)
        kz, ky, kx = (k.ravel() for k in np.meshgrid(axis, axis, axis, indexing="ij"))
        length = kx**2 + ky**2 + kz**2
        half = (kz > 0) | ((kz == 0) & ((ky > 0) | ((ky == 0) & (kx > 0))))
        keep = half & (length <= radius**2)
        self.frequency = np.stack([kx, ky, kz], axis=1)[keep]
        self.reference = target[tuple(self.frequency[:, ::-1].T + box // 2)]
        self.power = np.sqrt((np.abs(self.reference) ** 2).sum())
        self.radius = radius
        self.box = box

    def rotated(self, transform, rotations):
        """Transform of the rotated map at the half ball: (..., n) complex for matrices (..., 3, 3)."""
        # A rotated map has the rotated transform: its value at k is the old one at R^T k.
        source = np.einsum("nj,...ji->...ni", self.frequency, rotations)[..., ::-1]
        at = np.moveaxis(source * _PAD + transform.shape[0] // 2, -1, 0)
        return ndimage.map_coordinates(transform.real, at, order=1) + 1j * ndimage.map_coordinates(
            transform.imag, at, order=1
        )

    def search(self, transform, rotations):
        """Best correlation (n,) over all shifts and that shift (n, 3) xyz in pixels, for each rotation."""
        size = 3 * self.radius + 1
        # irfftn takes kx >= 0; on the plane kx = 0 both of a Friedel pair must be there
        flip = np.where(self.frequency[:, 0] < 0, -1, 1)
        place = tuple((self.frequency * flip[:, None])[:, ::-1].T % size)
        plane = self.frequency[:, 0] == 0
        partner = tuple(-self.frequency[plane, ::-1].T % size)
        scores, shifts = np.empty(len(rotations)), np.empty((len(rotations), 3))
        for start in range(0, len(rotations), 100):
            values = self.rotated(transform, rotations[start : start + 100])
            norm = np.sqrt((np.abs(values) ** 2).sum(-1)) * self.power
            product = self.reference * values.conj()
            spectrum = np.zeros((len(values), size, size, size // 2 + 1), np.complex64)
            spectrum[(slice(None), *place)] = np.where(flip > 0, product, product.conj())
            spectrum[(slice(None), *partner)] = product[:, plane].conj()
            maps = fft.irfftn(spectrum, s=(size,) * 3, axes=(1, 2, 3)).reshape(len(values), -1)
            best = maps.argmax(1)
            scores[start : start + 100] = maps.max(1) * size**3 / 2 / np.maximum(norm, 1e-30)
            zyx = np.stack(np.unravel_index(best, (size,) * 3), axis=1)
            zyx = (zyx + size // 2) % size - size // 2
            shifts[start : start + 100] = zyx[:, ::-1] * self.box / size
        return scores, shifts

    def refine(self, transform, hand, rotation, shift):
        """(correlation, hand, rotation, shift) at the best rotation and shift near the given ones."""

        def loss(step):
            turned = Rotation.from_rotvec(step[:3]) * rotation
            values = self.rotated(transform, turned.as_matrix())
            phase = np.exp(-2j * np.pi / self.box * (self.frequency @ (shift + step[3:])))
            norm = np.sqrt((np.abs(values) ** 2).sum()) * self.power
            return -float(((values * phase).conj() @ self.reference).real / max(norm, 1e-30))

        # First steps: nearly one Fourier voxel at the edge of the ball, and a part of its wavelength.
        steps = [0.7 / self.radius] * 3 + [0.15 * self.box / self.radius] * 3
        simplex = np.vstack([np.zeros(6), np.diag(steps)])
        options = {"initial_simplex": simplex, "maxfev": 400, "xatol": 2e-4, "fatol": 1e-7, "adaptive": True}
        best = optimize.minimize(loss, np.zeros(6), method="Nelder-Mead", options=options)
        return -best.fun, hand, Rotation.from_rotvec(best.x[:3]) * rotation, shift + best.x[3:]


def _centred_transform(volume):
    """Transform with the origin of both spaces in the middle (voxel n // 2)."""
    return np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(volume)))


def _padded_transform(volume):
    """The same of the map padded twice, so that linear interpolation between its voxels is good enough."""
    box = volume.shape[0]
    before = _PAD * box // 2 - box // 2
    padded = np.pad(volume - volume.mean(), [(before, _PAD * box - box - before)] * 3)
    return _centred_transform(padded)
