"""How far a pose sees the same frequencies of an average as the subtomograms before it.

Subtomograms with a missing wedge explain each other best where they see the same, so that poses which are
alike for the particle (symmetric ones, or all at first) drift towards one orientation of the wedge, and the
average keeps a hole. Poses that see what few have seen are preferred by as much, while the average takes
shape.
"""

import numpy as np
from keras import ops

from zoo.ops.matching import maximisation, oversampled_transform
from zoo.ops.matching.rigid_refinement import template_starts


def relative_density(weights, shell_table, per_shell):
    """Sums of R⁻¹w² ``(k, j)`` over their mean in the shell: 1 where seen as often as others."""
    mean = maximisation.shell_mean(weights, shell_table, per_shell)
    return ops.where(mean > 0.0, weights / ops.where(mean > 0.0, mean, 1.0), 1.0)


def seen_before(ball, density, wedge, rotations, radius):
    """Mean density ``(b, k, c)`` of the frequencies within ``radius`` that a pose sees; 1: as others see.

    density: volumes ``(k, n, n, n)`` of ``relative_density``; wedge ``(b, j)`` on the half ball; rotations
    ``(b, k, c, 3, 3)``. Read at the nearest voxel.
    """
    inner = np.flatnonzero((ball.frequency**2).sum(-1) <= radius**2).astype("int32")
    points = ops.matmul(ball.frequency[inner], rotations)  # rows k·R are Rᵀk
    voxel = oversampled_transform.nearest_voxel(points, ball.n) + template_starts(rotations, ball.n**3)
    found = ops.take(ops.reshape(density, (-1,)), voxel, axis=0)
    weight = ops.take(wedge, inner, axis=1)[:, None, None] ** 2
    total = ops.sum(weight, axis=-1)
    return ops.where(total > 0.0, ops.sum(weight * found, axis=-1) / ops.where(total > 0.0, total, 1.0), 1.0)
