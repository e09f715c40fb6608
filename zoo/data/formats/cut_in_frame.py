"""A cube of a tomogram in any frame: its voxels come from the tomogram, also those of its turned corners."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
from scipy import ndimage

from zoo.data.tables.cube_frames import CubeFrames

_SPLINE_MARGIN = 6  # a cubic spline depends on voxels farther away by less than a thousandth


def cut_in_frame(
    read: Callable[[tuple[slice, slice, slice]], np.ndarray],
    shape: tuple[int, int, int],
    middle_zyx: np.ndarray,
    matrix: np.ndarray,
    centre_xyz: np.ndarray,
    box: int,
) -> np.ndarray:
    """Cube (box, box, box) float32, [z, y, x], whose point u shows middle + R^T u + centre (cubic spline).

    ``read`` gives parts of a tomogram of ``shape`` (z, y, x). ``matrix`` R (3, 3) has the cube's axes as
    rows, xyz; u counts from voxel box // 2. Beyond the tomogram stands the mean of what lies inside.
    """
    axis = np.arange(box) - box // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    steps = [matrix[0, i] * x + matrix[1, i] * y + matrix[2, i] * z + centre_xyz[i] for i in (2, 1, 0)]
    places = np.stack(steps) + np.asarray(middle_zyx, np.float64)[:, None, None, None]
    last = np.array(shape) - 1
    edges = [(np.floor(part.min()), np.ceil(part.max())) for part in places]
    low = [int(np.clip(edge[0] - _SPLINE_MARGIN, 0, end)) for edge, end in zip(edges, last, strict=True)]
    high = [int(np.clip(edge[1] + _SPLINE_MARGIN, 0, end)) + 1 for edge, end in zip(edges, last, strict=True)]
    z_part, y_part, x_part = map(slice, low, high)
    part = read((z_part, y_part, x_part))
    at = places - np.array(low)[:, None, None, None]
    cube = ndimage.map_coordinates(part, at, order=3, mode="nearest", output=np.float32)
    inside = ((places >= -1e-6) & (places <= last[:, None, None, None] + 1e-6)).all(axis=0)
    if inside.any() and not inside.all():
        cube[~inside] = cube[inside].mean()
    return cube


def turned_weight(weight: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Fourier weight (n, n, n), DC at n // 2, of a volume cut in the frame R: at k what it was at R^T k."""
    n = weight.shape[0]
    axis = np.arange(n) - n // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    places = np.stack([matrix[0, i] * x + matrix[1, i] * y + matrix[2, i] * z for i in (2, 1, 0)]) + n // 2
    turned = ndimage.map_coordinates(weight, places, order=1, mode="nearest", output=np.float32)
    turned[n // 2, n // 2, n // 2] = weight[n // 2, n // 2, n // 2]
    return turned


def frame_reach(frames: CubeFrames | None, box: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """How far boxes reach from their places, least and largest (n, 3) xyz in voxels; None: straight."""
    low, high = -(box // 2), box - 1 - box // 2
    if frames is None:
        return np.full((count, 3), low, float), np.full((count, 3), high, float)
    corners = np.array(list(product((low, high), repeat=3)), float)
    places = np.einsum("nji,cj->nci", frames.matrices, corners) + frames.centres_voxel[:, None]
    return places.min(axis=1), places.max(axis=1)
