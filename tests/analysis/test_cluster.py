import numpy as np
import pytest
from sklearn.cluster import HDBSCAN
from sklearn.metrics import normalized_mutual_info_score

from zoo.analysis import cluster as clusters
from zoo.errors import ZooError


@pytest.fixture(scope="module")
def blobs():
    """600 latents of 10 coordinates in three well separated groups of 300, 200 and 100."""
    random = np.random.default_rng(0)
    label = np.repeat([2, 0, 1], [300, 200, 100])
    centres = random.normal(size=(3, 10)) * 5
    return (centres[label] + random.normal(size=(600, 10)) * 0.4).astype(np.float32), label


@pytest.fixture
def two_components(monkeypatch):
    """Principal components for UMAP, which needs a minute to be compiled: `slow` tests have the real one."""

    def embed(z, *settings):
        left, size, _ = np.linalg.svd(z - z.mean(axis=0), full_matrices=False)
        return (left[:, :2] * size[:2]).astype(np.float32)

    monkeypatch.setattr(clusters, "embed_umap", embed)


@pytest.fixture(scope="module")
def found(blobs):
    z, label = blobs
    return clusters.cluster_latents(z, label)


def test_embedding_is_clustered_scored_and_ordered(blobs, two_components):
    z, label = blobs
    found = clusters.cluster_latents(z, label)
    assert found.settings.method == "umap-hdbscan" and found.count == 3
    assert found.settings.smallest(600) == 18  # 3 % of 600
    assert found.scores["nmi"] == pytest.approx(normalized_mutual_info_score(label, found.cluster))
    assert found.scores["nmi"] > 0.97
    sizes = [len(found.members(index)) for index in range(3)]
    assert sizes == sorted(sizes, reverse=True) and sum(sizes) > 570
    np.testing.assert_array_equal(found.embedding, clusters.embed_umap(z))


@pytest.mark.slow
def test_umap_hdbscan_finds_the_groups(found, blobs):
    _, label = blobs
    assert found.count == 3
    assert found.settings.smallest(600) == 18  # 3 % of 600
    assert found.scores["nmi"] > 0.97
    assert found.scores["nmi"] == pytest.approx(normalized_mutual_info_score(label, found.cluster))
    assert [len(found.members(index)) for index in range(3)] == sorted(
        [len(found.members(index)) for index in range(3)], reverse=True
    )


@pytest.mark.slow
def test_clustering_is_the_same_again(found, blobs):
    z, label = blobs
    again = clusters.cluster_latents(z, label)
    np.testing.assert_array_equal(again.embedding, found.embedding)
    np.testing.assert_array_equal(again.cluster, found.cluster)


@pytest.mark.slow
def test_nothing_is_printed(blobs, capfd):
    clusters.embed_umap(blobs[0][:60])
    printed = capfd.readouterr()
    assert printed.out == "" and printed.err == ""


def test_kmeans_finds_the_groups(blobs):
    z, label = blobs
    found = clusters.cluster_kmeans(z, 3)
    assert normalized_mutual_info_score(label, found) == pytest.approx(1.0)
    np.testing.assert_array_equal(np.bincount(found), [300, 200, 100])


def test_hdbscan_agrees_with_scikit_learn():
    random = np.random.default_rng(1)
    dense = random.normal(size=(200, 2)) * 0.1
    points = np.concatenate([dense, dense[:150] + 3, random.uniform(-5, 8, (150, 2))])
    found = clusters.cluster_hdbscan(points, min_samples=10, min_cluster_size=50)
    # scikit-learn counts the point itself among its neighbours
    reference = HDBSCAN(min_cluster_size=50, min_samples=11, copy=True).fit_predict(points)
    np.testing.assert_array_equal(found, clusters.number_by_size(reference))
    assert np.bincount(found + 1)[0] > 50 and found.max() == 1


def test_default_smallest_cluster_is_that_of_the_thesis():
    assert clusters.default_min_cluster_size(30_000) == 900
    assert clusters.default_min_cluster_size(50) == 10


def test_clusters_are_numbered_by_size_and_gaps_close():
    given = np.array([5, 5, 9, 9, 9, -1, 2])
    np.testing.assert_array_equal(clusters.number_by_size(given), [1, 1, 0, 0, 0, -1, 2])
    np.testing.assert_array_equal(clusters.number_by_size([-1, -1]), [-1, -1])


def test_no_scores_without_two_labels():
    assert clusters.score_clusters(np.array([0, 1, 1]), np.array([-1, -1, -1])) == {}
    assert clusters.score_clusters(np.array([0, 1, 1]), np.array([3, 3, 3])) == {}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "dbscan"}, "method 'dbscan', expected one of auto, umap-hdbscan, hdbscan, kmeans"),
        ({"method": "kmeans"}, "pass --clusters K"),
        ({"method": "kmeans", "clusters": 1000}, "1000 clusters of 600 particles"),
        ({"clusters": 3}, "is for --method kmeans"),
        ({"min_cluster_size": 700}, "needs at least 700 particles"),
        ({"min_samples": 0}, "expected at least 2 and 1"),
        ({"min_cluster_size": 0}, "expected at least 2 and 1"),
        ({"neighbours": 1}, "neighbours is 1"),
        ({"min_dist": float("nan")}, "--min-dist nan"),
        ({"min_dist": -0.5}, "--min-dist -0.5"),
        ({"random_state": -1}, "--seed -1"),
        ({"random_state": 2**40}, "--seed 1099511627776"),
    ],
)
def test_bad_settings_are_told(blobs, settings, message):
    with pytest.raises(ZooError, match=message):
        clusters.cluster_latents(blobs[0], settings=clusters.ClusterSettings(**settings))


def test_too_few_particles_are_told():
    with pytest.raises(ZooError, match="UMAP needs at least 5 particles, found 3"):
        clusters.cluster_latents(np.zeros((3, 4)))


def test_collapsed_latents_are_told():
    with pytest.raises(ZooError, match="only 1 different points"):
        clusters.cluster_kmeans(np.zeros((50, 4)), 3)


def test_kmeans_of_very_few_particles_needs_no_umap():
    found = clusters.cluster_latents(
        np.eye(4, 6) * 3, settings=clusters.ClusterSettings("kmeans", clusters=2)
    )
    assert found.count == 2 and found.embedding.shape == (4, 2)


def test_two_latents_are_not_reduced(two_components):
    """Three classes along one line: HDBSCAN of the latents finds them, in the latents' own plane."""
    rng = np.random.default_rng(3)
    label = np.repeat([0, 1, 2], 200)
    along = rng.normal(size=600) * 0.15 + label
    z = np.stack([along, 0.8 * along + 0.01 * rng.normal(size=600)], axis=1).astype(np.float32)
    found = clusters.cluster_latents(z, label)
    assert found.settings.method == "hdbscan"
    assert found.count == 3
    assert found.scores["nmi"] > 0.9
    np.testing.assert_array_equal(found.embedding, z)
    assert clusters.cluster_latents(np.concatenate([z, z], axis=1)).settings.method == "umap-hdbscan"


def test_left_out_particles_go_to_their_likeliest_cluster():
    """Two groups and outliers beside them: none is left out, the assigned ones keep their cluster."""
    random = np.random.default_rng(2)
    groups = np.repeat([-3.0, 3.0], 200)[:, None] * [1.0, 0.0] + random.normal(size=(400, 2)) * 0.4
    outliers = np.array([[-10.0, 8.0], [-12.0, -7.0], [-9.0, -10.0]])
    points = np.concatenate([groups, outliers, outliers * [-1.0, 1.0]])
    plain = clusters.cluster_hdbscan(points, 10, 50)
    full = clusters.cluster_hdbscan(points, 10, 50, assign_all=True)
    assert (plain[400:] < 0).all() and (full >= 0).all()
    np.testing.assert_array_equal(full[plain >= 0], plain[plain >= 0])
    assert full[0] != full[399]
    np.testing.assert_array_equal(full[400:403], full[0])
    np.testing.assert_array_equal(full[403:], full[399])
