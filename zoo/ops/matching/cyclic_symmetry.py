"""Fourier sums averaged over the turns of a cyclic group about z."""

import numpy as np
from keras import ops


def symmetrised(ball, sums, fold):
    """Sums turned by 2π·i/fold, i = 0 … fold − 1, and averaged.

    ball: the `HalfBall` that they lie on; sums: a dict with ``re``, ``im`` and ``weights`` ``(…, k, j)``.
    Returns a dict of these three. Weights stay ≥ 0.
    """
    angle = 2.0 * np.pi * np.arange(fold) / fold
    turns = np.zeros((fold, 3, 3), "float32")
    turns[:, 0, 0] = turns[:, 1, 1] = np.cos(angle)
    turns[:, 1, 0], turns[:, 0, 1], turns[:, 2, 2] = np.sin(angle), -np.sin(angle), 1.0
    shape = sums["re"].shape
    flat = {name: ops.reshape(sums[name], (-1, len(ball))) for name in ("re", "im", "weights")}
    points = np.einsum("mab,jb->mja", turns, ball.frequency).astype("float32")
    points = ops.broadcast_to(points[None], (flat["re"].shape[0], *points.shape))

    def turned(re, im):
        zoomed = ball.zoomed(ball.to_maps(re, im))
        return [ops.reshape(ops.mean(part, axis=1), shape) for part in ball.sampled(zoomed, points)]

    re, im = turned(flat["re"], flat["im"])
    weights, _ = turned(flat["weights"], ops.zeros_like(flat["weights"]))
    return {"re": re, "im": im, "weights": ops.maximum(weights, 0.0)}
