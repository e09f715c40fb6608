"""How much of the space of rotations and shifts each candidate stands for: Voronoi weights."""

import numpy as np
from keras import ops
from scipy.spatial.transform import Rotation

POINTS = 10_000
_FAR = 1e30


def monte_carlo_points(count=POINTS, seed=0):
    """NumPy rotations ``(m, 3, 3)``, uniform on SO(3), and places ``(m, 3)`` in the unit cube, float32."""
    rng = np.random.default_rng(seed)
    rotations = Rotation.random(count, rng=rng).as_matrix()
    return rotations.astype("float32"), rng.random((count, 3)).astype("float32")


def voronoi_weights(rotations, shifts, used, points):
    """Share of the Monte-Carlo points nearest to each candidate → ``(..., c)``, summing to 1.

    rotations ``(..., c, 3, 3)``, shifts ``(..., c, 3)`` in voxels, used ``(..., c)`` bool (the others weigh
    0), points from ``monte_carlo_points``. Their shifts fill the box of the candidates' shifts. Distance:
    √(‖I − R₁ᵀR₂‖² + |t₁ − t₂|²). Zhao et al. (FAML), equations 4–6.
    """
    point_rotations, places = points
    count = rotations.shape[-3]
    shape = ops.shape(shifts)[:-1]
    rotations = ops.reshape(rotations, (-1, count, 9))
    shifts, used = ops.reshape(shifts, (-1, count, 3)), ops.reshape(used, (-1, count))
    low = ops.min(ops.where(used[..., None], shifts, _FAR), axis=-2, keepdims=True)
    high = ops.max(ops.where(used[..., None], shifts, -_FAR), axis=-2, keepdims=True)
    any_used = ops.any(used, axis=-1)[:, None, None]
    low, high = ops.where(any_used, low, 0.0), ops.where(any_used, high, 0.0)
    places = low + (high - low) * places[None]
    # ‖I − R₁ᵀR₂‖² = 6 − 2 tr(R₁ᵀR₂), and the trace is the inner product of the matrices.
    turned = 6.0 - 2.0 * ops.matmul(point_rotations.reshape(1, -1, 9), ops.swapaxes(rotations, -1, -2))
    moved = ops.sum((places[:, :, None] - shifts[:, None]) ** 2, axis=-1)
    distance = ops.where(used[:, None], turned + moved, _FAR)
    nearest = ops.one_hot(ops.argmin(distance, axis=-1), count, dtype="float32")
    share = ops.mean(nearest, axis=1) * ops.cast(used, "float32")
    return ops.reshape(share, shape)
