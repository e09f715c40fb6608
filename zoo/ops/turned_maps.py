"""Density maps turned about voxel n // 2."""

import numpy as np
from keras import ops

from zoo.ops.interpolation import sample_trilinear


def turned_maps(maps, rotations):
    """Maps ``(b, n, n, n, 1)`` and matrices A ``(b, 3, 3)`` → maps ``(b, n, n, n, 1)``, trilinear.

    A point at r (x, y, z from voxel n // 2) comes to A·r; what comes from outside the box is 0.
    """
    n = maps.shape[1]
    axis = np.arange(n, dtype="float32") - n // 2
    zyx = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    # The value at r is that at A⁻¹ r = Aᵀ r: rows of r times A.
    source = ops.matmul(ops.convert_to_tensor(np.ascontiguousarray(zyx[:, ::-1])), rotations) + float(n // 2)
    return ops.reshape(sample_trilinear(maps, source), (-1, n, n, n, 1))
