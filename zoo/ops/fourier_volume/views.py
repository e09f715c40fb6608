"""Even grids of views, in-plane turns and shifts to search."""

import warnings

import numpy as np
from scipy.spatial.transform import Rotation

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


def frames_of_uniforms(uniform: np.ndarray) -> np.ndarray:
    """Uniform numbers ``(n, 3)`` in [0, 1) → frames ``(n, 2, 3)`` of uniform rotations (Shoemake 1992)."""
    u, a, b = uniform[:, 0], 2 * np.pi * uniform[:, 1], 2 * np.pi * uniform[:, 2]
    low, high = np.sqrt(1 - u), np.sqrt(u)
    quaternions = np.stack([low * np.sin(a), low * np.cos(a), high * np.sin(b), high * np.cos(b)], axis=1)
    return Rotation.from_quat(quaternions).as_matrix()[:, :2].astype(np.float32)


def matrices_of_frames(frames: np.ndarray) -> np.ndarray:
    """RELION's matrices A ``(n, 3, 3)`` float64 of frames ``(n, 2, 3)``, their first two rows."""
    frames = np.asarray(frames, np.float64)
    return np.concatenate([frames, np.cross(frames[:, 0], frames[:, 1])[:, None]], axis=1)


def euler_of_frames(frames: np.ndarray) -> np.ndarray:
    """RELION's angles rot, tilt, psi in degrees ``(n, 3)`` of frames ``(n, 2, 3)``."""
    matrices = matrices_of_frames(frames)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # at tilt 0 and 180 one angle is free: scipy takes 0
        return Rotation.from_matrix(matrices).inv().as_euler("ZYZ", degrees=True)


def frames_of_euler(euler_deg: np.ndarray) -> np.ndarray:
    """Frames ``(n, 2, 3)`` float32 of RELION's angles ``(n, 3)``: undoes `euler_of_frames`."""
    angles = np.asarray(euler_deg, np.float64)
    return Rotation.from_euler("ZYZ", angles, degrees=True).inv().as_matrix()[:, :2].astype(np.float32)


def shift_grid(step_px: float, radius_px: float) -> np.ndarray:
    """Shifts ``(s, 2)`` float32 xy on a square grid about 0, within ``radius_px`` along each axis."""
    count = int(np.floor(radius_px / step_px + 1e-6))
    axis = np.arange(-count, count + 1) * step_px
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2).astype(np.float32)
