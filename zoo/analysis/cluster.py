"""Find the classes in a latent space: UMAP → HDBSCAN, HDBSCAN of the latents themselves, or K-means.

Thesis §11: UMAP to 2-D (30 neighbours, min_dist 0.0), then HDBSCAN (min_samples 10,
min_cluster_size 900 of 30,000 particles). UMAP: McInnes et al. 2018; HDBSCAN: Campello et al. 2013.
"""

import warnings
from dataclasses import dataclass, field, replace

import numpy as np

from zoo.errors import ZooError

UNASSIGNED = -1
SMALLEST_CLUSTER_SHARE = 0.03  # 900 of 30,000
SMALLEST_CLUSTER = 10
SMALLEST_UMAP = 5  # particles
METHODS = ("auto", "umap-hdbscan", "hdbscan", "kmeans")


@dataclass(frozen=True)
class ClusterSettings:
    """How to cluster: ``umap-hdbscan`` and ``hdbscan`` find the number, ``kmeans`` needs ``clusters``.

    ``hdbscan`` works on the latents themselves. ``auto`` takes it where there are at most two latents: there
    is nothing for UMAP to reduce, and it would cut a line of latents into pieces; otherwise ``umap-hdbscan``.
    ``min_cluster_size`` None means three per cent of the particles, at least 10. ``assign_all`` gives the
    particles that HDBSCAN leaves out to the cluster in which their membership is highest.
    """

    method: str = "auto"
    clusters: int | None = None
    neighbours: int = 30
    min_dist: float = 0.0
    min_samples: int = 10
    min_cluster_size: int | None = None
    random_state: int = 0
    assign_all: bool = False

    def check(self, count: int) -> None:
        """Raise ZooError if these settings cannot cluster `count` particles."""
        if self.method not in METHODS:
            raise ZooError(f"unknown clustering method {self.method!r}, expected one of {', '.join(METHODS)}")
        if not 0 <= self.random_state < 2**32:
            raise ZooError(f"--seed {self.random_state}: expected a whole number from 0 to {2**32 - 1}")
        if not 0 <= self.min_dist <= 1:  # UMAP's own spread
            raise ZooError(f"--min-dist {self.min_dist}: expected a distance from 0 to 1")
        if self.method == "kmeans":
            _check_kmeans(count, self.clusters)
        elif self.clusters is not None:
            raise ZooError(
                f"--clusters {self.clusters} is for --method kmeans; HDBSCAN finds the number itself"
            )
        else:
            if self.method != "hdbscan":
                _check_umap(count, self.neighbours)
            _check_hdbscan(count, self.min_samples, self.smallest(count))

    def smallest(self, count: int) -> int:
        """HDBSCAN's smallest cluster for `count` particles."""
        return default_min_cluster_size(count) if self.min_cluster_size is None else self.min_cluster_size


@dataclass
class Clustering:
    """Cluster of each of n particles, −1 for none, and the 2-D embedding it was drawn in.

    Clusters are numbered from 0 by falling size. ``scores`` holds NMI, ARI and the like where the
    true classes are known.
    """

    cluster: np.ndarray
    embedding: np.ndarray
    settings: ClusterSettings
    scores: dict = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The number of clusters, the unassigned not counted."""
        return int(self.cluster.max(initial=UNASSIGNED)) + 1

    def members(self, cluster: int) -> np.ndarray:
        """Row indices of one cluster."""
        return np.flatnonzero(self.cluster == cluster)


def embed_umap(z, neighbours: int = 30, min_dist: float = 0.0, random_state: int = 0) -> np.ndarray:
    """UMAP of latents (n, d) to (n, 2) float32; the same on every call with the same `random_state`."""
    z = np.asarray(z, np.float32)
    _check_umap(len(z), neighbours)
    with warnings.catch_warnings():
        # numba's and scikit-learn's deprecations inside umap are not for the reader of a cluster table.
        warnings.simplefilter("ignore")
        import umap

        reducer = umap.UMAP(
            n_components=2,
            n_neighbors=min(neighbours, len(z) - 1),
            min_dist=min_dist,
            random_state=random_state,
            n_jobs=1,
            # the spectral start needs more points than eigenvectors
            init="spectral" if len(z) > 15 else "random",
        )
        embedding = reducer.fit_transform(z)
    if not np.isfinite(embedding).all():
        raise ZooError("UMAP gave coordinates that are not finite; the latents may all be equal")
    return embedding.astype(np.float32)


def default_min_cluster_size(count: int) -> int:
    """Three per cent of the particles (900 of 30,000), at least 10."""
    return max(SMALLEST_CLUSTER, round(SMALLEST_CLUSTER_SHARE * count))


def cluster_hdbscan(
    points, min_samples: int = 10, min_cluster_size: int | None = None, assign_all: bool = False
) -> np.ndarray:
    """HDBSCAN of points (n, k): cluster (n,) int64, 0 the largest, −1 for noise.

    With ``assign_all`` noise goes to the cluster of its highest membership (HDBSCAN's soft clustering).
    """
    points = np.asarray(points, np.float64)
    size = default_min_cluster_size(len(points)) if min_cluster_size is None else min_cluster_size
    _check_hdbscan(len(points), min_samples, size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import hdbscan

        model = hdbscan.HDBSCAN(
            min_cluster_size=size, min_samples=min_samples, core_dist_n_jobs=1, prediction_data=assign_all
        ).fit(points)
        found = model.labels_
        if assign_all and found.max(initial=UNASSIGNED) >= 0:
            membership = hdbscan.all_points_membership_vectors(model).reshape(len(points), -1)
            found = np.where(found < 0, membership.argmax(axis=1), found)
    return number_by_size(found)


def cluster_kmeans(points, count: int, random_state: int = 0) -> np.ndarray:
    """K-means of points (n, k) into `count` clusters: cluster (n,) int64, 0 the largest."""
    from sklearn.cluster import KMeans

    points = np.asarray(points, np.float64)
    _check_kmeans(len(points), count)
    if len(np.unique(points, axis=0)) < count:
        raise ZooError(
            f"K-means was asked for {count} clusters, but the latents hold only "
            f"{len(np.unique(points, axis=0))} different points (a collapsed run); ask for fewer"
        )
    found = KMeans(n_clusters=count, n_init=10, random_state=random_state).fit_predict(points)
    return number_by_size(found)


def number_by_size(cluster) -> np.ndarray:
    """Renumber clusters 0, 1, … by falling size; −1 stays."""
    cluster = np.asarray(cluster, np.int64)
    names, counts = np.unique(cluster[cluster >= 0], return_counts=True)
    order = names[np.lexsort((names, -counts))]
    rank = np.empty(order.max(initial=0) + 1, np.int64)
    rank[order] = np.arange(len(order))
    return np.where(cluster >= 0, rank[np.maximum(cluster, 0)], UNASSIGNED)


def cluster_latents(z, label=None, settings: ClusterSettings | None = None) -> Clustering:
    """Cluster latents z (n, d) and score the result against `label` (n,) where at least two are known.

    K-means and ``hdbscan`` work on z itself, ``umap-hdbscan`` on the UMAP embedding. Clusters are drawn in
    that embedding, two latents as they are.
    Raises ZooError for settings that do not fit, or if no cluster is found.
    """
    settings = settings or ClusterSettings()
    z = np.asarray(z, np.float32)
    settings.check(len(z))
    if settings.method == "auto":
        settings = replace(settings, method="hdbscan" if z.shape[1] <= 2 else "umap-hdbscan")
    embedding = _embedding(z, settings)
    if settings.method == "kmeans":
        cluster = cluster_kmeans(z, settings.clusters, settings.random_state)
    else:
        size = settings.smallest(len(z))
        points = z if settings.method == "hdbscan" else embedding
        cluster = cluster_hdbscan(points, settings.min_samples, size, settings.assign_all)
        if cluster.max(initial=UNASSIGNED) < 0:
            raise ZooError(
                f"HDBSCAN found no cluster in {len(z)} particles (min_cluster_size {size}, min_samples "
                f"{settings.min_samples}); lower --min-cluster-size, or use --method kmeans --clusters K"
            )
    return Clustering(
        cluster, embedding, settings, score_clusters(cluster, label) if label is not None else {}
    )


def _embedding(z, settings: ClusterSettings) -> np.ndarray:
    if len(z) >= SMALLEST_UMAP and not (settings.method == "hdbscan" and z.shape[1] <= 2):
        return embed_umap(z, settings.neighbours, settings.min_dist, settings.random_state)
    flat = np.zeros((len(z), 2), np.float32)
    flat[:, : min(2, z.shape[1])] = z[:, :2]
    return flat


def _check_umap(count: int, neighbours: int) -> None:
    if count < SMALLEST_UMAP:
        raise ZooError(f"UMAP needs at least {SMALLEST_UMAP} particles, found {count}; use --method kmeans")
    if neighbours < 2:
        raise ZooError(f"UMAP neighbours is {neighbours}, expected at least 2 (the thesis uses 30)")


def _check_hdbscan(count: int, min_samples: int, size: int) -> None:
    if size < 2 or min_samples < 1:
        raise ZooError(
            f"HDBSCAN got min_cluster_size {size} and min_samples {min_samples}, expected at least 2 and 1"
        )
    if count < max(size, min_samples + 1):
        raise ZooError(
            f"HDBSCAN needs at least {max(size, min_samples + 1)} particles (min_cluster_size {size}, "
            f"min_samples {min_samples}), found {count}; lower --min-cluster-size and --min-samples or use "
            "--method kmeans"
        )


def _check_kmeans(count: int, clusters: int | None) -> None:
    if clusters is None:
        raise ZooError("K-means needs the number of clusters; pass --clusters K")
    if not 1 <= clusters <= count:
        raise ZooError(
            f"K-means was asked for {clusters} clusters of {count} particles; "
            "expected from 1 to the number of particles"
        )


def score_clusters(cluster, label) -> dict[str, float]:
    """`clustering_scores` (NMI, ARI, purity, …), or nothing where fewer than two classes are labelled."""
    from zoo.metrics.clustering import clustering_scores

    label = np.asarray(label)
    if len(np.unique(label[label >= 0])) < 2:
        return {}
    return clustering_scores(label, cluster)
