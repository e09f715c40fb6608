"""Bilinear and trilinear sampling of grids, and the polar warp.

Coordinates are in pixels, as ``xy`` or ``xyz`` columns; pixel (0, 0) is the first of the array.
"""

import math

import numpy as np
from keras import ops

BOUNDARIES = ("zero", "nearest", "wrap")


def sample_bilinear(images, coordinates_xy, boundary="zero"):
    """``(b, y, x, c)`` at ``(b, ..., 2)`` pixels (x, y) → ``(b, ..., c)``.

    Outside the image: ``zero``, ``nearest`` edge or ``wrap`` around.
    """
    return _sample(images, coordinates_xy, boundary, rank=2)


def sample_trilinear(volumes, coordinates_xyz, boundary="zero"):
    """``(b, z, y, x, c)`` at ``(b, ..., 3)`` voxels (x, y, z) → ``(b, ..., c)``.

    A single volume, b = 1, may be sampled at any number of coordinate sets.
    """
    return _sample(volumes, coordinates_xyz, boundary, rank=3)


def polar_coordinates(size_y, size_x, radial, angular, log=False):
    """NumPy float32 ``(radial, angular, 2)``: pixels (x, y) of a polar grid about pixel N//2.

    Row r is at radius (r + ½)·R/radial, or at R^((r + ½)/radial) with ``log``; R = min(size)//2 pixels.
    Column a is at the angle 2π·a/angular, from +x towards +y.
    """
    outer = min(size_y, size_x) // 2
    fraction = (np.arange(radial) + 0.5) / radial
    radius = outer**fraction if log else outer * fraction
    angle = 2.0 * np.pi * np.arange(angular) / angular
    x = size_x // 2 + radius[:, None] * np.cos(angle)
    y = size_y // 2 + radius[:, None] * np.sin(angle)
    return np.stack([x, y], axis=-1).astype("float32")


def polar_warp(images, radial, angular, log=False):
    """``(b, y, x, c)`` → ``(b, radial, angular, c)``: a rotation about N//2 becomes a cyclic shift."""
    grid = polar_coordinates(images.shape[1], images.shape[2], radial, angular, log)
    images = ops.cast(images, "float32")
    height, width, channels = images.shape[1:]
    corners, weights = zip(*_corners_numpy(grid, (height, width)), strict=True)
    # All images share the grid: one gather of pixel columns, weights known beforehand.
    flat = ops.reshape(images, (-1, height * width, channels))
    warped = sum(
        ops.take(flat, corner.ravel(), axis=1) * weight.reshape(1, -1, 1)
        for corner, weight in zip(corners, weights, strict=True)
    )
    return ops.reshape(warped, (-1, radial, angular, channels))


def _corners_numpy(grid_xy, shape):
    height, width = shape
    low = np.floor(grid_xy).astype("int32")
    fraction = grid_xy - low
    for dy in (0, 1):
        for dx in (0, 1):
            x, y = low[..., 0] + dx, low[..., 1] + dy
            weight = np.abs(1 - dx - fraction[..., 0]) * np.abs(1 - dy - fraction[..., 1])
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            index = np.clip(y, 0, height - 1) * width + np.clip(x, 0, width - 1)
            yield index, (weight * inside).astype("float32")


def _sample(grids, coordinates, boundary, rank):
    if boundary not in BOUNDARIES:
        raise ValueError(f"boundary is one of {', '.join(BOUNDARIES)}, got {boundary!r}")
    grids, coordinates = ops.cast(grids, "float32"), ops.cast(coordinates, "float32")
    sizes, channels = grids.shape[1 : 1 + rank], grids.shape[-1]
    flat = ops.reshape(grids, (-1, channels))
    shared = grids.shape[0] == 1
    offset = 0 if shared else _batch_offsets(coordinates, math.prod(sizes))
    # The floor is where the surface has a kink: its gradient goes through the fractions.
    low = ops.stop_gradient(ops.floor(coordinates))
    fraction = coordinates - low
    low = ops.cast(low, "int32")
    total = 0.0
    for corner in range(2**rank):
        index, weight = 0, 1.0
        for axis in range(rank):  # sizes are (z, y, x), coordinates (x, y, z)
            column = rank - 1 - axis
            step = (corner >> axis) & 1
            part = fraction[..., column] if step else 1.0 - fraction[..., column]
            position = low[..., column] + step
            if boundary == "wrap":
                position = ops.mod(position, sizes[axis])
            else:
                clipped = ops.clip(position, 0, sizes[axis] - 1)
                if boundary == "zero":
                    part = part * ops.cast(clipped == position, "float32")
                position = clipped
            index = index * sizes[axis] + position
            weight = weight * part
        total = total + ops.take(flat, index + offset, axis=0) * weight[..., None]
    return total


def _batch_offsets(coordinates, voxels):
    shape = (-1,) + (1,) * (len(coordinates.shape) - 2)
    return ops.reshape(ops.arange(ops.shape(coordinates)[0], dtype="int32") * voxels, shape)
