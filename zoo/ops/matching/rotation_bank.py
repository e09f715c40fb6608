"""Even rotations with their neighbours, and a grid of shifts: constants of an exhaustive search."""

from functools import lru_cache

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from zoo.ops.matching import fourier_grid
from zoo.ops.rotation_grid import so3_grid

_NEIGHBOURS = 14


@lru_cache(maxsize=8)
def even_rotations(step_deg):
    """NumPy float32 ``(m, 3, 3)`` about step_deg apart, and int32 ``(m, 14)``: the nearest to each."""
    matrices = so3_grid(step_deg)
    quaternion = Rotation.from_matrix(matrices).as_quat()
    # q and −q are one rotation
    _, nearest = cKDTree(np.concatenate([quaternion, -quaternion])).query(quaternion, _NEIGHBOURS + 1)
    neighbours = (nearest[:, 1:] % len(quaternion)).astype("int32")
    return matrices.astype("float32"), neighbours


@lru_cache(maxsize=8)
def bank_index(step_deg, radius, pad):
    """int32 ``(m, j)``: where every even rotation finds the half ball in a zoomed transform."""
    return _nearest(_turned(step_deg, radius), radius, pad)


@lru_cache(maxsize=8)
def bank_voxel_index(step_deg, radius, n):
    """int32 ``(m, j)``: the same in an unpadded centred ``(n, n, n)``, for masks."""
    return fourier_grid.voxel_index(_turned(step_deg, radius), n)


def shift_grid(largest, spacing):
    """NumPy float32 ``(s, 3)``: a cubic grid of shifts in voxels, xyz, within the distance ``largest``."""
    axis = np.arange(-int(largest / spacing), int(largest / spacing) + 1) * spacing
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    return grid[(grid**2).sum(-1) <= largest**2 * (1 + 1e-6)].astype("float32")


def shift_phases(frequency, shifts, n):
    """NumPy float32 ``(2j, s)``: rows for re then im, so that Re Σ y·exp(2πi·k·t/n) is one product."""
    angle = 2.0 * np.pi / n * frequency @ shifts.T
    return np.concatenate([np.cos(angle), -np.sin(angle)]).astype("float32")


def _turned(step_deg, radius):
    return fourier_grid.half_ball(radius) @ even_rotations(step_deg)[0]  # rows (Rᵀk)ᵀ


def _nearest(points, radius, pad):
    step = np.array([1, fourier_grid.zoom_size(radius, pad), fourier_grid.zoom_size(radius, pad) ** 2])
    whole = np.rint(points * pad).astype("int32") + (radius + fourier_grid.MARGIN) * pad
    return (whole @ step).astype("int32")
