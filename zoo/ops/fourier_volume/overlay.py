"""The small turn and shift that lays one map over another, from slices of the one in the other."""

import numpy as np

from zoo.ops.fourier_volume.half_plane import HalfPlane
from zoo.ops.fourier_volume.refinement import refine_poses
from zoo.ops.fourier_volume.slices import central_slices
from zoo.ops.fourier_volume.views import matrices_of_frames, view_frames

_VIEWS, _STEPS = 60, 6


def small_turn(
    moving: np.ndarray, fixed: np.ndarray, weights: np.ndarray, plane: HalfPlane, band: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rotation R ``(3, 3)`` and shift t ``(3,)`` xyz in pixels of the plane: fixed(R x + t) = moving(x).

    moving, fixed: of `FourierGrid`, some degrees and a pixel apart at most: nothing is searched. weights
    ``(radius + 1,)``: 1 over the variance of the difference by shell. Slices of ``fixed`` are refined in
    ``moving``; R is the rotation nearest to all their turns (Arun et al. 1987).
    """
    frames = view_frames(_VIEWS, 1, np.random.default_rng(0))
    slices = central_slices(fixed, frames, plane.points)
    count = len(plane)
    values = (slices[:, :count] + 1j * slices[:, count:]).astype(np.complex64)
    number = np.arange(_VIEWS)
    found = refine_poses(
        moving[None],
        np.zeros(_VIEWS, np.int64),
        number,
        frames,
        np.zeros((_VIEWS, 2), np.float32),
        values,
        np.ones(values.shape, np.float32),
        plane,
        np.asarray(weights, np.float64)[None],
        band,
        _STEPS,
        plane.box / 8,
    )
    # a slice of fixed at A lies in moving at A R, moved by A t
    before, after = matrices_of_frames(frames), matrices_of_frames(found.frames)
    left, _, right = np.linalg.svd(np.einsum("nij,nik->jk", before, after))
    rotation = left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right
    shift = np.linalg.lstsq(frames.reshape(-1, 3).astype(np.float64), found.shifts.ravel(), rcond=None)[0]
    return rotation, shift
