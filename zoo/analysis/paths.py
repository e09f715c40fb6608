"""Walk through a cluster: latents along its first principal component (thesis §11)."""

import numpy as np

from zoo.errors import ZooError

MOST_MAPS = 1000  # written at once


def principal_axes(z) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """PCA of latents z (n, d): mean (d,), axes (k, d) as unit rows, spread (k,) as standard deviations.

    Each axis points so that its largest coordinate is positive, so that paths do not flip between
    runs. Raises ZooError for an empty cluster.
    """
    z = np.asarray(z, np.float64)
    if not len(z):
        raise ZooError("the cluster is empty; a path needs at least one particle")
    mean = z.mean(axis=0)
    _, singular, axes = np.linalg.svd(z - mean, full_matrices=False)
    largest = np.abs(axes).argmax(axis=1)
    axes *= np.sign(axes[np.arange(len(axes)), largest])[:, None]
    return mean, axes, singular / np.sqrt(max(len(z) - 1, 1))


def pca_path(z, count: int = 4, low: float = 5.0, high: float = 95.0, component: int = 0) -> np.ndarray:
    """`count` latents (count, d) float32 along one principal component of z (n, d).

    They are spaced evenly from the `low`-th to the `high`-th percentile of the component; all other
    components stay at the mean. Raises ZooError if `component` or the percentiles make no sense.
    """
    z = np.asarray(z, np.float64)
    if not 1 <= count <= MOST_MAPS or not 0 <= low <= high <= 100:
        raise ZooError(
            f"a path of {count} latents from percentile {low} to {high} cannot be made; "
            f"expected 1 to {MOST_MAPS:,} latents and 0 ≤ low ≤ high ≤ 100"
        )
    mean, axes, _ = principal_axes(z)
    if not 0 <= component < len(axes):
        raise ZooError(f"principal component {component} does not exist; expected 0 to {len(axes) - 1}")
    along = (z - mean) @ axes[component]
    first, last = np.percentile(along, [low, high])
    steps = np.linspace(first, last, count) if count > 1 else np.array([(first + last) / 2])
    return (mean + steps[:, None] * axes[component]).astype(np.float32)


def cluster_centres(z, cluster) -> np.ndarray:
    """Mean latent (k, d) float32 of each cluster 0 … k−1; raises ZooError if one is empty."""
    z, cluster = np.asarray(z, np.float64), np.asarray(cluster)
    count = int(cluster.max(initial=-1)) + 1
    if count == 0:
        raise ZooError("no particle belongs to a cluster; cluster again with other settings")
    sizes = np.bincount(cluster[cluster >= 0], minlength=count)
    if (sizes == 0).any():
        raise ZooError(
            f"cluster {int(np.flatnonzero(sizes == 0)[0])} is empty; "
            f"expected members in each of the {count} clusters"
        )
    sums = np.zeros((count, z.shape[1]))
    np.add.at(sums, cluster[cluster >= 0], z[cluster >= 0])
    return (sums / sizes[:, None]).astype(np.float32)
