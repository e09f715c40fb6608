import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from zoo.errors import ZooError
from zoo.metrics.clustering import clustering_scores, purity


def test_renamed_clusters_score_fully():
    labels = np.repeat([0, 1, 2], 50)
    scores = clustering_scores(labels, np.array([7, 3, 5])[labels])
    assert scores == {"nmi": 1.0, "ari": 1.0, "purity": 1.0, "clusters": 3.0, "noise": 0.0}


def test_chance_scores_nothing():
    rng = np.random.default_rng(0)
    scores = clustering_scores(rng.integers(0, 3, 6000), rng.integers(0, 3, 6000))
    assert scores["nmi"] < 0.01
    assert abs(scores["ari"]) < 0.01
    assert scores["purity"] < 0.4


def test_unknown_labels_are_left_out_and_noise_is_a_cluster():
    labels = np.array([0, 0, 0, 1, 1, 1, -1, -1])
    clusters = np.array([0, 0, -1, 1, 1, -1, 5, 6])
    scores = clustering_scores(labels, clusters)
    assert scores["nmi"] == pytest.approx(normalized_mutual_info_score(labels[:6], clusters[:6]))
    assert scores["ari"] == pytest.approx(adjusted_rand_score(labels[:6], clusters[:6]))
    assert scores["clusters"] == 2
    assert scores["noise"] == pytest.approx(1 / 3)
    assert scores["nmi"] < 1


def test_purity_counts_the_commonest_label():
    assert purity([0, 0, 1, 1, 1, 2], [0, 0, 0, 1, 1, 1]) == pytest.approx(4 / 6)


def test_bad_input_is_refused():
    with pytest.raises(ZooError, match="one of each per particle"):
        clustering_scores([0, 1], [0, 1, 2])
    with pytest.raises(ZooError, match="no particle has a known label"):
        clustering_scores([-1, -1], [0, 1])
