"""How far one half map has turned and moved against the other: six numbers, measured at low shells."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from zoo.ops.fourier_volume import FourierGrid, resized
from zoo.ops.fourier_volume.grid import PAD

_LARGEST_BAND = 20
_ROUNDS = 8
_STEP = 1e-3
_DONE = 1e-5
_OBLIQUE = (0.3, -0.5, 0.7)
# Chi-square of six parameters at one in a thousand, twice: a mask makes neighbouring coefficients alike.
_SIGNIFICANT = 45.0
_MOST_FSC = 0.999


class Drift(NamedTuple):
    """x_first = rotation @ x_second + shift_px (xyz from voxel box // 2) lays the second map on the first."""

    rotation: np.ndarray
    shift_px: np.ndarray

    @property
    def angle_deg(self) -> float:
        """Angle of the rotation."""
        return float(np.degrees(Rotation.from_matrix(self.rotation).magnitude()))


def measure_drift(first: np.ndarray, second: np.ndarray, band: int, curve: np.ndarray) -> Drift:
    """The small rigid motion of ``second`` on ``first`` (z, y, x): Gauss-Newton on shells 1 to ``band``.


    Shells weigh as the FSC ``curve`` of the maps says. Starts at no motion: it is for maps that once were in
    one frame. What noise alone would show is no motion.
    """
    box = first.shape[0]
    band = int(min(band, _LARGEST_BAND, box // 2 - 1))
    small = min(box, 2 * (band + 2))
    grid = FourierGrid(small)
    target, moving = (grid.transform(resized(volume, small)) for volume in (first, second))
    axis = np.arange(-band, band + 1)
    k = np.stack([part.ravel() for part in np.meshgrid(axis, axis, axis, indexing="ij")][::-1], axis=1)
    length = np.sqrt((k**2).sum(1))
    half = (k[:, 2] > 0) | ((k[:, 2] == 0) & ((k[:, 1] > 0) | ((k[:, 1] == 0) & (k[:, 0] > 0))))
    # Interpolation takes noise away, but not at grid points: off the grid no motion is special.
    k = k[half & (length <= band)] @ Rotation.from_rotvec(_OBLIQUE).as_matrix()
    shell = np.rint(np.sqrt((k**2).sum(1))).astype(int)
    wanted = _interpolated(target, k)
    power = np.bincount(shell, np.abs(wanted) ** 2) / np.maximum(np.bincount(shell), 1)
    # the maps differ by noise: 1 - FSC of their power
    trusted = np.clip(curve, 0, _MOST_FSC)[shell]
    weight = trusted / np.sqrt((1 - trusted) * np.maximum(power[shell], 1e-30))

    def residual(rotation, shift):
        value = _interpolated(moving, k @ rotation)
        left = weight * (wanted - value * np.exp(-2j * np.pi / box * (k @ shift)))
        return np.concatenate([left.real, left.imag])

    rotation, shift = np.eye(3), np.zeros(3)
    best = start = residual(rotation, shift)
    for _ in range(_ROUNDS):
        slopes = np.empty((len(best), 6))
        for j in range(6):
            turn, move = _STEP * np.eye(6)[j, :3], _STEP * box * np.eye(6)[j, 3:]
            there = residual(Rotation.from_rotvec(turn).as_matrix() @ rotation, shift + move)
            back = residual(Rotation.from_rotvec(-turn).as_matrix() @ rotation, shift - move)
            slopes[:, j] = (there - back) / (2 * _STEP)
        step = np.linalg.lstsq(slopes, -best, rcond=None)[0]
        step *= min(1.0, 0.1 / max(np.abs(step).max(), 1e-12))
        turned = Rotation.from_rotvec(step[:3]).as_matrix() @ rotation
        moved = shift + step[3:] * box
        found = residual(turned, moved)
        if (found**2).sum() >= (best**2).sum():
            break
        rotation, shift, best = turned, moved, found
        if np.abs(step).max() < _DONE:
            break
    noise = (best**2).sum() / max(len(best) - 6, 1)
    if ((start**2).sum() - (best**2).sum()) < _SIGNIFICANT * noise:
        return Drift(np.eye(3), np.zeros(3))
    return Drift(rotation, shift)


def _interpolated(grid, k):
    """Values of a padded transform at frequencies k (n, 3) xyz."""
    at = (PAD * k)[:, ::-1].T + grid.shape[0] // 2
    parts = (ndimage.map_coordinates(part, at, order=1) for part in (grid.real, grid.imag))
    return next(parts) + 1j * next(parts)


def turned_poses(frames: np.ndarray, shifts: np.ndarray, drift: Drift) -> tuple[np.ndarray, np.ndarray]:
    """Poses ``(n, 2, 3)`` and ``(n, 2)`` of the same images against the map moved by ``drift``."""
    # x' = R x + t: the frame looks at the moved map through A R^T, and its particle lies -A R^T t further
    turned = frames @ drift.rotation.T
    return turned.astype(np.float32), (shifts - turned @ drift.shift_px).astype(np.float32)
