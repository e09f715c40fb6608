"""Latents by seed, maps of a run or an exported model, and whose inverse a regressor is; no TensorFlow."""

import numpy as np
import pytest

from zoo.analysis.interpolate import latents_by_search, path_between
from zoo.analysis.neighbours import find_neighbours, save_neighbours
from zoo.analysis.pseudo_maps import check_same_generator, draw_latents, generate_maps, generated_maps
from zoo.errors import ZooError

BOX = 16


class Balls:
    """Stands for an opened generator: a ball whose place and size are the latents."""

    name, path, box, latent_dim, voxel_size_angstrom = "balls", "run", BOX, 3, 12.0

    def __init__(self, scale=1.0, path="run", latent_dim=3):
        self.scale, self.path, self.latent_dim = scale, path, latent_dim

    def features(self, verb):
        return {"generate": ["latents"], "features": ["map"]}[verb]

    def apply(self, verb, batch):
        if verb == "features":
            return {"features": batch["map"].reshape(len(batch["map"]), -1)}
        axis = np.arange(BOX) - BOX // 2
        z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
        place = 2 * np.tanh(batch["latents"])[:, :, None, None, None]
        squared = (x - place[:, 0]) ** 2 + (y - place[:, 1]) ** 2 + z**2
        return {"map": np.exp(-squared * self.scale / (4 + place[:, 2])).astype("float32")}


class Known:
    """Stands for a data set of three balls."""

    kind, box, count, path, names = "maps", BOX, 3, "known", ("a", "b", "c")
    maps = Balls().apply("generate", {"latents": np.eye(3, dtype="float32") * 2})["map"]


@pytest.fixture
def known(monkeypatch):
    monkeypatch.setattr(
        "zoo.analysis.neighbours.known_maps", lambda info: (info.maps, np.arange(3, dtype="int32"))
    )
    return Known()


def test_latents_are_the_same_for_a_seed_and_the_first_of_more():
    few, many = draw_latents(4, 100, 7), draw_latents(50, 100, 7)
    np.testing.assert_array_equal(few, many[:4])
    assert few.dtype == np.float32 and not np.array_equal(few, draw_latents(4, 100, 8))
    assert abs(draw_latents(2000, 100, 1).std() - 1) < 0.01


def test_maps_do_not_depend_on_the_batches():
    one, other = generate_maps(Balls(), 5, 3), generate_maps(Balls(), 5, 3, batch_size=2)
    np.testing.assert_array_equal(one, other)
    assert one.shape == (5, BOX, BOX, BOX) and one.dtype == np.float32


def test_latents_of_another_size_and_broken_maps_are_one_line():
    with pytest.raises(ZooError, match=r"latents of shape \(2, 5\), but run takes \(count, 3\)"):
        list(generated_maps(Balls(), np.zeros((2, 5))))
    with pytest.raises(ZooError, match="not finite; the run has diverged"):
        list(generated_maps(Balls(scale=np.nan), np.zeros((2, 3))))
    other = Balls()
    other.features = lambda verb: ["z", "euler_deg"]
    with pytest.raises(ZooError, match="balls generates from z, euler_deg"):
        generate_maps(other, 2)


def test_a_regressor_of_another_generator_is_refused():
    check_same_generator(Balls(path="inverse"), Balls())
    for wrong in (Balls(scale=1.2, path="inverse"), Balls(path="inverse", latent_dim=4)):
        with pytest.raises(ZooError, match="inverse: inverts another generator than run") as caught:
            check_same_generator(wrong, Balls())
        assert "\n" not in str(caught.value)


def test_search_finds_the_sample_that_is_asked_for():
    model = Balls()
    wanted = draw_latents(60, 3, 0)[[11, 42]]
    maps = np.stack(list(generated_maps(model, wanted)))
    np.testing.assert_array_equal(latents_by_search(model, 3 * maps + 1, tried=60), wanted)


def test_the_way_begins_and_ends_at_its_ends():
    ends = draw_latents(2, 5, 1)
    way = path_between(ends, 8)
    np.testing.assert_allclose(way[[0, -1]], ends, atol=1e-6)
    np.testing.assert_allclose(np.diff(way, axis=0), np.tile((ends[1] - ends[0]) / 7, (7, 1)), atol=1e-6)
    with pytest.raises(ZooError, match="--steps 1: expected 2 or more"):
        path_between(ends, 1)


def test_neighbours_are_the_nearest_both_ways_and_drawn(known, tmp_path):
    from matplotlib.image import imread

    found = find_neighbours(Balls(), known, count=20, turns=2, seed=0)
    assert found.samples.shape == (20, BOX, BOX, BOX) and set(found.nearest_name) <= {"a", "b", "c"}
    assert found.coverage == len(set(found.nearest_name)) / 3
    for sample, nearest, name in zip(found.samples, found.nearest_known, found.nearest_name, strict=True):
        gaps = [np.linalg.norm(sample - other) for other in found.nearest_known]
        assert np.linalg.norm(sample - nearest) <= min(gaps) + 1e-6 and name
    for shown, sample in zip(found.known, found.nearest_sample, strict=True):
        gap = np.linalg.norm(shown - sample)
        assert gap <= np.linalg.norm(found.samples - shown, axis=(1, 2, 3)).min() if gap.ndim else True
    save_neighbours(tmp_path / "n.png", found, 3)
    picture = imread(tmp_path / "n.png")
    red, blue = (picture[..., i] - picture[..., 2 - i] > 0.2 for i in (0, 2))
    assert red.sum() > 200 and blue.sum() > 200
    assert red[: len(red) // 4].any() and not blue[: len(red) // 4].any()


def test_maps_of_another_box_are_refused(known):
    known.box = 24
    with pytest.raises(ZooError, match="known: maps of 24 voxels, but run makes 16"):
        find_neighbours(Balls(), known)
