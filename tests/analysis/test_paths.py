import numpy as np
import pytest
from sklearn.decomposition import PCA

from zoo.analysis.paths import cluster_centres, pca_path, principal_axes
from zoo.errors import ZooError


@pytest.fixture
def cloud():
    """400 latents of 6 coordinates, spread most along one oblique direction."""
    random = np.random.default_rng(3)
    return random.normal(size=(400, 6)) @ np.diag([4, 1.5, 1, 0.5, 0.3, 0.1]) @ random.normal(size=(6, 6)) + 7


def test_axes_are_those_of_scikit_learn(cloud):
    mean, axes, spread = principal_axes(cloud)
    reference = PCA().fit(cloud)
    np.testing.assert_allclose(mean, reference.mean_)
    np.testing.assert_allclose(spread**2, reference.explained_variance_)
    np.testing.assert_allclose(np.abs(np.sum(axes * reference.components_, axis=1)), 1)
    assert (axes[np.arange(6), np.abs(axes).argmax(axis=1)] > 0).all()


@pytest.mark.parametrize("component", [0, 2])
def test_path_runs_from_the_5th_to_the_95th_percentile(cloud, component):
    path = pca_path(cloud, 4, component=component)
    pca = PCA().fit(cloud)
    along = pca.transform(cloud)[:, component]
    steps = pca.transform(path)
    ends = np.percentile(along, [5, 95])
    found = steps[[0, -1], component]
    np.testing.assert_allclose(np.sort(found), ends, rtol=1e-4)
    np.testing.assert_allclose(np.diff(steps[:, component]), (found[1] - found[0]) / 3, rtol=1e-4)
    np.testing.assert_allclose(np.delete(steps, component, axis=1), 0, atol=1e-4)
    assert path.shape == (4, 6) and path.dtype == np.float32


def test_path_does_not_depend_on_the_order_of_particles(cloud):
    np.testing.assert_allclose(pca_path(cloud), pca_path(cloud[::-1]), rtol=1e-5)


def test_path_of_one_particle_stays_there():
    np.testing.assert_allclose(pca_path(np.full((1, 3), 2.0)), np.full((4, 3), 2.0))
    np.testing.assert_allclose(pca_path(np.array([[0.0, 0], [2, 0]]), count=1), [[1, 0]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "a path of 0 latents"),
        ({"low": 95, "high": 5}, "from percentile 95 to 5"),
        ({"component": 6}, "principal component 6 does not exist; expected 0 to 5"),
    ],
)
def test_bad_paths_are_told(cloud, arguments, message):
    with pytest.raises(ZooError, match=message):
        pca_path(cloud, **arguments)


def test_empty_cluster_is_told():
    with pytest.raises(ZooError, match="the cluster is empty"):
        pca_path(np.zeros((0, 3)))
    with pytest.raises(ZooError, match="cluster 1 is empty"):
        cluster_centres(np.zeros((3, 2)), [0, 0, 2])
    with pytest.raises(ZooError, match="no particle belongs to a cluster"):
        cluster_centres(np.zeros((3, 2)), [-1, -1, -1])


def test_centres_leave_the_unassigned_out():
    z = np.array([[0.0, 0], [2, 0], [9, 9], [5, 5]])
    np.testing.assert_allclose(cluster_centres(z, [0, 0, -1, 1]), [[1, 0], [5, 5]])
