"""Random poses of subtomograms: uniform, or about one axis alone; pure functions of the seed."""

import numpy as np
from scipy.spatial.transform import Rotation

_AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
_STREAMS = ("rot", "tilt", "psi", "shift_x", "shift_y", "shift_z")


def draw_poses(
    n: int, seed: int, shift_max_voxels: float, preferred_axis: str | None = None, about=None
) -> tuple[np.ndarray, np.ndarray]:
    """RELION angles (n, 3) in degrees and origins (n, 3) in voxels, xyz; both rounded to 6 digits.

    Rotations are uniform on SO(3). With `preferred_axis` they are uniform turns about x, y or z of a map
    that was first turned by `about[i]` (n, 3, 3).
    """
    uniform = {
        name: np.random.default_rng([seed, 0, number]).random(n) for number, name in enumerate(_STREAMS)
    }
    if preferred_axis is None:
        rot, psi = 360 * uniform["rot"] - 180, 360 * uniform["psi"] - 180
        euler = np.stack([rot, np.degrees(np.arccos(1 - 2 * uniform["tilt"])), psi], axis=1)
    else:
        turns = Rotation.from_rotvec(np.outer(2 * np.pi * uniform["rot"], _AXES[preferred_axis])).as_matrix()
        euler = euler_of(turns @ about)
    shift = np.stack([2 * uniform[f"shift_{axis}"] - 1 for axis in "xyz"], axis=1) * shift_max_voxels
    return np.round(euler, 6), np.round(shift, 6)


def euler_of(matrices: np.ndarray) -> np.ndarray:
    """RELION angles rot, tilt, psi (k, 3) in degrees of matrices A (k, 3, 3)."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # at tilt 0 and 180 one angle is free: scipy takes 0
        return Rotation.from_matrix(matrices).inv().as_euler("ZYZ", degrees=True)


def principal_axis(density: np.ndarray) -> np.ndarray:
    """Unit vector xyz of the axis of a map (z, y, x) whose second moment differs most from the other two.

    For a particle with one symmetry axis it is that axis: the moments across it are equal.
    """
    weight = np.clip(density, 0, None).astype(np.float64)
    axis = np.arange(density.shape[0]) - density.shape[0] // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    points = np.stack([x, y, z]).reshape(3, -1).astype(np.float64)
    mean = points @ weight.ravel() / weight.sum()
    points -= mean[:, None]
    moments, vectors = np.linalg.eigh((points * weight.ravel()) @ points.T / weight.sum())
    unique = 0 if moments[1] - moments[0] > moments[2] - moments[1] else 2
    return vectors[:, unique]


def turn_onto(vector: np.ndarray, axis: str) -> np.ndarray:
    """The smallest rotation (3, 3) that brings a unit vector, or its opposite, onto x, y or z."""
    target = np.array(_AXES[axis])
    vector = vector if vector @ target >= 0 else -vector
    cross, cosine = np.cross(vector, target), float(vector @ target)
    sine = np.linalg.norm(cross)
    if sine < 1e-12:
        return np.eye(3)
    return Rotation.from_rotvec(cross / sine * np.arctan2(sine, cosine)).as_matrix()
