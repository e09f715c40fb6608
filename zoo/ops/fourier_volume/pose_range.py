"""Poses within a range about given ones: drawn evenly from it, and brought back to its edge."""

import numpy as np
from scipy.spatial.transform import Rotation

from zoo.ops.fourier_volume.views import frames_of_uniforms, matrices_of_frames

_ROUNDING = 1e-4


def poses_near(frames, shifts, uniform, range_rad: float, range_px: float):
    """Poses drawn evenly from the range about ``frames (n, 2, 3)`` and ``shifts (n, 2)``, alike in shape.

    ``uniform (n, 6)`` in [0, 1): three for the axis of the turn, one for its angle, two for the shift. Angles
    go as the cube root, as rotations fill a small ball of turns.
    """
    axis = frames_of_uniforms(uniform[:, :3])[:, 0].astype(np.float64)
    turn = Rotation.from_rotvec(axis * (range_rad * np.cbrt(uniform[:, 3:4]))).as_matrix()
    radius, angle = range_px * np.sqrt(uniform[:, 4]), 2 * np.pi * uniform[:, 5]
    moved = shifts + np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return (frames @ turn).astype(np.float32), moved.astype(np.float32)


def poses_within(frames, shifts, given_frames, given_shifts, range_rad: float, range_px: float):
    """Poses of ``frames (n, 2, 3)`` and ``shifts (n, 2)``, those beyond the range about the given ones
    brought back to its edge the shortest way; and which these were ``(n,)``."""
    given = matrices_of_frames(given_frames)
    turn = Rotation.from_matrix(np.swapaxes(given, 1, 2) @ matrices_of_frames(frames)).as_rotvec()
    move = np.asarray(shifts, np.float64) - given_shifts
    angle, length = np.linalg.norm(turn, axis=1), np.linalg.norm(move, axis=1)
    beyond = (angle > range_rad + _ROUNDING) | (length > range_px + _ROUNDING)
    turn *= np.minimum(1, range_rad / np.maximum(angle, 1e-12))[:, None]
    move *= np.minimum(1, range_px / np.maximum(length, 1e-12))[:, None]
    back = (given @ Rotation.from_rotvec(turn).as_matrix())[:, :2]
    return back.astype(np.float32), (given_shifts + move).astype(np.float32), beyond
