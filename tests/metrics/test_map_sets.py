"""Figures of sets of maps: correlations, pieces, volumes, nearest, collapse."""

import numpy as np
import pytest

from zoo.metrics import map_sets


def ball(box=16, centre=(0, 0, 0), radius=3.0):
    axis = np.arange(box) - box // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    return ((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2 < radius**2).astype(np.float32)


def test_pairwise_correlation_is_the_mean_of_the_matrix():
    maps = np.random.default_rng(0).normal(size=(7, 4, 4, 4)) + np.arange(64).reshape(4, 4, 4) / 20
    matrix = np.corrcoef(maps.reshape(7, -1))
    assert map_sets.pairwise_correlation(maps) == pytest.approx(matrix[np.triu_indices(7, 1)].mean())
    assert map_sets.pairwise_correlation(np.stack([maps[0], 5 * maps[0] + 2, maps[0]])) == pytest.approx(1)
    # A map of one value is like everything: three pairs, one of them of two real maps.
    pair = np.corrcoef(maps[0].ravel(), maps[1].ravel())[0, 1]
    flat = np.stack([maps[0], maps[1], np.ones((4, 4, 4))])
    assert map_sets.pairwise_correlation(flat) == pytest.approx((2 + pair) / 3)


def test_pieces_are_counted_without_dust():
    two = ball(centre=(-4, 0, 0)) + ball(centre=(4, 0, 0))
    dust = ball(radius=5)
    dust[0, 0, 0] = 1.0
    volumes, pieces = map_sets.volumes_and_pieces(np.stack([ball(), two, dust, np.zeros((16, 16, 16))]))
    assert pieces.tolist() == [1, 2, 1, 0]
    assert volumes.tolist() == [int(ball().sum()), int(two.sum()), int(ball(radius=5).sum()) + 1, 0]
    assert map_sets.volumes_and_pieces(-np.ones((1, 4, 4, 4)))[1].tolist() == [0]


def test_nearest_is_by_distance():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(20, 5)), rng.normal(size=(9, 5))
    wanted = np.linalg.norm(a[:, None] - b[None], axis=2).argmin(1)
    np.testing.assert_array_equal(map_sets.nearest(a, b), wanted)


def test_sets_are_compared_and_a_collapse_is_seen():
    data = np.stack([ball(radius=2 + i / 2, centre=(i - 2, 0, 0)) for i in range(5)])
    features = data.reshape(5, -1)
    labels = np.arange(5)
    same = map_sets.compare_sets(data, data, features, features, labels, 20.0)
    assert same["coverage"] == 1 and same["correlation_samples"] == same["correlation_data"]
    assert same["volume_data_nm3"] == pytest.approx(8.0 * np.median(data.sum(axis=(1, 2, 3))))
    assert map_sets.collapse_line(same) == ""
    one = np.repeat(data[:1], 4, axis=0)
    found = map_sets.compare_sets(one, data, one.reshape(4, -1), features, labels, 20.0)
    assert found["coverage"] == pytest.approx(0.2) and found["pieces_samples"] == 1
    assert "collapsed: its samples correlate 1.00" in map_sets.collapse_line(found)


def test_the_best_of_candidates_is_that_of_highest_correlation():
    rng = np.random.default_rng(2)
    maps, others = rng.normal(size=(3, 4, 4, 4)), rng.normal(size=(12, 4, 4, 4))
    matrix = np.corrcoef(np.concatenate([maps, others]).reshape(15, -1))[:3, 3:]
    np.testing.assert_array_equal(map_sets.best_correlations(maps, iter(others)), matrix.argmax(1))
    np.testing.assert_allclose(map_sets.correlations(maps, others[:3]), matrix.diagonal(), atol=1e-12)
    assert map_sets.correlations(maps[:1], np.ones((1, 4, 4, 4)))[0] == 0
