"""Even grids of views, in-plane turns and shifts to search."""

import numpy as np
from scipy.spatial.transform import Rotation

from zoo.ops.fourier_volume.randoms import generator

_GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))


def view_frames(views: int, turns: int, rng: np.random.Generator) -> np.ndarray:
    """Frames ``(views · turns, 2, 3)`` float32: a Fibonacci sphere of views, each turned evenly in the plane.

    A frame is the first two rows of RELION's matrix A. The whole grid is turned by one random rotation and
    each view begins at a random angle, so that what one grid misses another finds. Spacing: about
    sqrt(41253 / views) and 360 / turns degrees.
    """
    number = np.arange(views)
    angles = np.empty((views, turns, 3))
    angles[..., 0] = (number * _GOLDEN_ANGLE)[:, None]
    angles[..., 1] = np.arccos(1 - (2 * number + 1) / views)[:, None]
    angles[..., 2] = 2 * np.pi * (np.arange(turns) + rng.random((views, 1))) / turns
    frames = Rotation.from_euler("ZYZ", angles.reshape(-1, 3)).inv().as_matrix()[:, :2]
    return np.ascontiguousarray(frames @ random_rotations(1, rng)[0], np.float32)


def random_rotations(count: int, rng: np.random.Generator) -> np.ndarray:
    """Matrices ``(count, 3, 3)``, uniform on SO(3)."""
    quaternions = rng.standard_normal((count, 4))
    return Rotation.from_quat(quaternions).as_matrix()


def random_frames(count: int, seed: int, stream: int, step: int) -> np.ndarray:
    """Frames ``(count, 2, 3)`` float32 of uniform rotations: a function of (seed, stream, step)."""
    return random_rotations(count, generator(seed, stream, step))[:, :2].astype(np.float32)


def shift_grid(step_px: float, radius_px: float) -> np.ndarray:
    """Shifts ``(s, 2)`` float32 xy on a square grid about 0, within ``radius_px`` along each axis."""
    count = int(np.floor(radius_px / step_px + 1e-6))
    axis = np.arange(-count, count + 1) * step_px
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2).astype(np.float32)
