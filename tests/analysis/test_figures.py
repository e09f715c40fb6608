import numpy as np
import pytest
from matplotlib.image import imread

from zoo.analysis.figures import save_scatter, save_slices
from zoo.analysis.maps import cluster_colour


def shows(image, colour):
    """True if a picture (y, x, rgba) has pixels of a colour #rrggbb."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return (np.abs(image[..., :3] - wanted).max(axis=-1) < 0.02).sum() > 20


def test_scatter_shows_clusters_and_labels(tmp_path):
    random = np.random.default_rng(0)
    cluster = np.repeat([0, 1, -1], 100)
    embedding = random.normal(size=(300, 2)) + cluster[:, None] * 5
    save_scatter(tmp_path / "one.png", embedding, cluster)
    save_scatter(tmp_path / "two.png", embedding, cluster, label=np.repeat([0, 1, 2], 100), title="t")
    one, two = imread(tmp_path / "one.png"), imread(tmp_path / "two.png")
    assert two.shape[1] == pytest.approx(2 * one.shape[1], rel=0.02)
    for each in (0, 1, -1):
        assert shows(one, cluster_colour(each))
    assert shows(two, cluster_colour(2)) and not shows(one, cluster_colour(2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "two.png"]


def test_unknown_labels_get_no_panel(tmp_path):
    save_scatter(tmp_path / "a.png", np.zeros((5, 2)), np.zeros(5, int), label=np.full(5, -1))
    save_scatter(tmp_path / "b.png", np.zeros((5, 2)), np.zeros(5, int))
    assert imread(tmp_path / "a.png").shape == imread(tmp_path / "b.png").shape


def test_slices_show_each_axis_once_and_the_contour(tmp_path):
    volume = np.zeros((16, 16, 16), np.float32)
    volume[8, 4:12, 4:12] = 1  # a plate: bright in z, a line in y and x
    save_slices(tmp_path / "a.png", [volume, volume], ["first", "second"], level=0.5)
    save_slices(tmp_path / "b.png", [volume])
    assert shows(imread(tmp_path / "a.png"), "#e69f00")
    image = imread(tmp_path / "b.png")
    # the plate is plain white on black, the page is white too: count the black of each third
    thirds = np.array_split(image[..., :3].max(axis=-1) < 0.1, 3, axis=1)
    black = [third.sum() for third in thirds]
    assert black[0] < 0.9 * black[1] and black[0] < 0.9 * black[2]
