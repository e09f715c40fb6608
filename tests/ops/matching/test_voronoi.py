"""Voronoi weights against nearest neighbours found by scipy's rotations, one candidate at a time."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zoo.ops.matching.voronoi import monte_carlo_points, voronoi_weights


@pytest.fixture(scope="module")
def points():
    return monte_carlo_points(3000, seed=3)


def by_hand(rotations, shifts, used, points):
    kept = np.flatnonzero(used)
    low, high = shifts[kept].min(0), shifts[kept].max(0)
    counts = np.zeros(len(used))
    for rotation, place in zip(*points, strict=True):
        where = low + (high - low) * place
        distance = [
            np.sqrt(
                np.linalg.norm(np.eye(3) - rotation.T @ rotations[c]) ** 2 + np.sum((where - shifts[c]) ** 2)
            )
            for c in kept
        ]
        counts[kept[np.argmin(distance)]] += 1
    return counts / len(points[0])


def test_equal_to_nearest_neighbours_by_hand(points):
    rng = np.random.default_rng(0)
    rotations = Rotation.random(5, rng=rng).as_matrix().astype("float32")
    shifts = rng.normal(0, 1.5, (5, 3)).astype("float32")
    used = np.array([True, True, False, True, True])
    found = np.asarray(voronoi_weights(rotations[None], shifts[None], used[None], points))[0]
    expected = by_hand(rotations, shifts, used, points)
    assert found[2] == 0.0
    # A point on the border of two cells may fall on either side in float32.
    np.testing.assert_allclose(found, expected, atol=2 / 3000)


def test_lone_candidate_has_all_and_none_has_nothing(points):
    rotations = np.broadcast_to(np.eye(3, dtype="float32"), (2, 1, 3, 3, 3))
    used = np.array([[[True, False, False]], [[False, False, False]]])
    shifts = np.zeros((2, 1, 3, 3), "float32")
    found = np.asarray(voronoi_weights(rotations, shifts, used, points))
    assert found.shape == (2, 1, 3)
    np.testing.assert_allclose(found[0, 0], [1, 0, 0])
    assert found[1].sum() == 0.0


def test_points_are_uniform_rotations(points):
    angle = Rotation.from_matrix(points[0]).magnitude()
    # The rotation angle of a uniform rotation has the mean π/2 + 2/π.
    assert np.mean(angle) == pytest.approx(np.pi / 2 + 2 / np.pi, abs=0.04)
    assert np.abs(points[0].mean(0)).max() < 0.05
