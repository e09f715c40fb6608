"""How well found clusters agree with known labels."""

import numpy as np
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from zoo.errors import ZooError


def clustering_scores(labels, clusters) -> dict[str, float]:
    """NMI (arithmetic mean), ARI and purity of `clusters` (n,) against true `labels` (n,), and their number.

    Rows with label < 0 (unknown) are left out. Cluster -1 (HDBSCAN's noise) counts as one cluster in the
    scores, so that throwing particles away is not free, but not in `clusters`; `noise` is its share.
    Raises ZooError if the lengths differ or no label is known.
    """
    labels, clusters = labelled(labels, clusters)
    return {
        "nmi": float(normalized_mutual_info_score(labels, clusters)),
        "ari": float(adjusted_rand_score(labels, clusters)),
        "purity": purity(labels, clusters),
        "clusters": float(len(np.unique(clusters[clusters >= 0]))),
        "noise": float((clusters < 0).mean()),
    }


def labelled(labels, clusters) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) and clusters (n,) of the particles with a label ≥ 0.

    Raises ZooError if the lengths differ or no label is known.
    """
    labels, clusters = np.asarray(labels), np.asarray(clusters)
    if labels.shape != clusters.shape or labels.ndim != 1:
        raise ZooError(f"labels {labels.shape}, clusters {clusters.shape}; expected one of each per particle")
    known = labels >= 0
    if not known.any():
        raise ZooError("no particle has a known label; scores need data with a _zooLabel column")
    return labels[known], clusters[known]


def purity(labels, clusters) -> float:
    """Share of particles that carry the commonest label of their cluster."""
    table = contingency_matrix(labels, clusters)
    return float(table.max(axis=0).sum() / table.sum())
