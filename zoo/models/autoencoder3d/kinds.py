"""How well K-means on codes parts the kinds of cubes that are known, in words; no Keras."""

from __future__ import annotations

import numpy as np

_CUBES_PER_CLUSTER = 10  # at least, where a person groups clusters
_MOST_CLUSTERS = 100  # of the paper
_STARTS = 4


def kinds_told_apart(codes: np.ndarray, labels: np.ndarray) -> list[str]:
    """A line with the NMI of K-means on ``codes`` (n, d) against ``labels`` (n,), -1 where unknown.

    K is the number of kinds, and then as many as a person would group by looking (100, fewer of few cubes):
    each cluster then counts as its commonest kind. No line where fewer than two kinds are known.
    """
    known = labels >= 0
    codes, labels = codes[known], labels[known]
    kinds = len(np.unique(labels))
    if kinds < 2:
        return []
    from sklearn.cluster import KMeans

    from zoo.metrics.clustering import clustering_scores

    different = len(np.unique(codes, axis=0))
    many = min(_MOST_CLUSTERS, len(codes) // _CUBES_PER_CLUSTER, different)
    parts = []
    for count in sorted({min(kinds, different), max(many, 1)}):
        found = KMeans(count, n_init=_STARTS, random_state=0).fit_predict(codes)
        words = f"{clustering_scores(labels, found)['nmi']:.3f} of K-means into {count}"
        if count > kinds:
            named = commonest_label(found, labels)
            words = (
                f"{clustering_scores(labels, named)['nmi']:.3f} of {count} clusters, each named by its "
                f"commonest kind ({(named == labels).mean():.1%} of the cubes are then named right)"
            )
        parts.append(words)
    return [f"codes against {kinds} known kinds of {len(labels):,} cubes: NMI " + ", ".join(parts)]


def commonest_label(cluster: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """For each row (n,) the label, 0 or more, that is commonest in its cluster."""
    named = np.empty_like(labels)
    for each in np.unique(cluster):
        rows = cluster == each
        named[rows] = np.bincount(labels[rows]).argmax()
    return named
