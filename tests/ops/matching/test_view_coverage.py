"""Density of what was seen, and how much of it a pose sees again, against sums over single voxels."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zoo.ops.matching import view_coverage
from zoo.ops.matching.half_space import HalfBall

BALL = HalfBall(16, 6)


def test_density_is_relative_to_its_shell():
    rng = np.random.default_rng(0)
    weights = rng.uniform(0, 5, (2, len(BALL))).astype("float32")
    weights[1, BALL.shell == 3] = 0.0
    found = np.asarray(view_coverage.relative_density(weights, BALL.shell_table, BALL.per_shell))
    for shell in range(1, 6):
        inside = BALL.shell == shell
        mean = weights[0, inside].mean()
        np.testing.assert_allclose(found[0, inside], weights[0, inside] / mean, rtol=1e-4)
    np.testing.assert_array_equal(found[1, BALL.shell == 3], 1)


def test_seen_before_is_the_mean_over_the_measured_voxels():
    rng = np.random.default_rng(1)
    density = rng.uniform(0, 2, (2, 16, 16, 16)).astype("float32")
    wedge = np.abs(BALL.frequency[:, 2]) <= 1.5 * np.abs(BALL.frequency[:, 0])
    wedge = np.stack([wedge, np.zeros_like(wedge)]).astype("float32")  # the second sees nothing
    rotations = Rotation.random(12, rng=rng).as_matrix().reshape(2, 2, 3, 3, 3).astype("float32")
    found = np.asarray(view_coverage.seen_before(BALL, density, wedge, rotations, 4))
    assert found.shape == (2, 2, 3)
    np.testing.assert_array_equal(found[1], 1)
    for k in range(2):
        for c in range(3):
            values = []
            for frequency, seen in zip(BALL.frequency, wedge[0], strict=True):
                if seen and (frequency**2).sum() <= 16:
                    x, y, z = np.rint(rotations[0, k, c].T @ frequency).astype(int) + 8
                    values.append(density[k, z, y, x])
            assert found[0, k, c] == pytest.approx(np.mean(values), rel=1e-5)
