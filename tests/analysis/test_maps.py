import mrcfile
import numpy as np
import pytest

from zoo.analysis import maps
from zoo.data.formats.mrc import write_volume
from zoo.errors import ZooError


def ball(radius, box=32, noise=0.05, height=1.0):
    axis = np.arange(box) - box // 2
    radii = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    return (height * (radii < radius) + np.random.default_rng(0).normal(size=radii.shape) * noise).astype(
        "f4"
    )


@pytest.mark.parametrize("height", [1.0, 300.0])
def test_contour_level_encloses_the_particle(height):
    volume = ball(8, height=height, noise=0.05 * height)
    level = maps.contour_level(volume)
    assert level == pytest.approx(height / 2, rel=0.2)
    assert np.sum(volume > level) == np.sum(ball(8, noise=0) > 0.5)


def test_contour_level_stays_out_of_strong_noise():
    particle = ball(8, noise=0) > 0.5
    noisy = ball(8, noise=0.2)
    above = noisy > maps.contour_level(noisy)
    assert above[~particle].mean() < 0.01 and above[particle].mean() > 0.9


def test_contour_level_of_a_tightly_cropped_map_shows_something():
    volume = np.random.default_rng(0).normal(size=(20, 20, 20))
    assert 0.015 < np.mean(volume > maps.contour_level(volume)) < 0.1


def test_contour_level_of_a_flat_map_is_its_value():
    assert maps.contour_level(np.full((4, 4, 4), 2.5)) == 2.5


def test_maps_are_made_in_small_batches():
    sizes = []

    def density(z):
        sizes.append(len(z))
        return z[:, :1, None, None] * np.ones((1, 5, 5, 5), np.float32)

    found = []
    for volume in maps.latent_maps(density, np.arange(18).reshape(9, 2), batch_size=4):
        found.append(volume[0, 0, 0])
        assert sum(sizes) < len(found) + 4  # none before it is needed
        assert volume.dtype == np.float32 and volume.shape == (5, 5, 5)
    np.testing.assert_array_equal(found, np.arange(0, 18, 2))
    assert sizes == [4, 4, 1]


def test_a_map_that_is_not_finite_is_told():
    with pytest.raises(ZooError, match="map of latent 1 is not finite"):
        list(
            maps.latent_maps(
                lambda z: z[:, :, None, None] * np.ones((1, 1, 2, 2)), np.array([[1.0], [np.nan]])
            )
        )
    with pytest.raises(ZooError, match="expected"):
        list(maps.latent_maps(lambda z: z, np.zeros((0, 3))))


def test_a_sample_is_everything_of_few_maps_and_evenly_some_of_many():
    few = maps.ValueSample(2, most=200)
    for offset in (0, 1000):
        few.add(np.arange(64).reshape(4, 4, 4) + offset)
    np.testing.assert_array_equal(few.values, [*range(64), *range(1000, 1064)])
    many = maps.ValueSample(50, most=1000)
    for _ in range(50):
        many.add(np.arange(512).reshape(8, 8, 8))
    assert 850 < len(many.values) <= 1000
    assert (np.bincount(many.values.astype(int) % 8, minlength=8) > 100).all()  # every column of a row
    assert maps.contour_level(many.values) == pytest.approx(maps.contour_level(np.arange(512)), rel=0.05)


def test_series_has_voxel_size_and_a_script_that_finds_it(tmp_path):
    volumes = np.stack([ball(6), ball(9)])
    paths = maps.write_map_series(volumes, tmp_path / "out", 3.5)
    assert [path.name for path in paths] == ["map_000.mrc", "map_001.mrc"]
    for path, volume in zip(paths, volumes, strict=True):
        with mrcfile.open(path) as file:
            assert file.is_volume() and float(file.voxel_size.x) == pytest.approx(3.5)
            np.testing.assert_array_equal(file.data, volume)
        assert mrcfile.validate(path)
    maps.write_series_script(tmp_path / "out" / "map.cxc", paths, 0.5)
    lines = (tmp_path / "out" / "map.cxc").read_text().splitlines()
    assert "open map_*.mrc vseries true" in lines
    assert sorted((tmp_path / "out").glob("map_*.mrc")) == paths
    assert any(line.startswith("volume #1 ") and "level 0.5" in line for line in lines)


def test_script_of_one_map_opens_it_alone(tmp_path):
    paths = maps.write_map_series(ball(6)[None], tmp_path, 1.0)
    maps.write_series_script(tmp_path / "map.cxc", paths, 0.5)
    assert "open map_000.mrc" in (tmp_path / "map.cxc").read_text().splitlines()


def test_overlay_script_names_maps_relative_to_itself(tmp_path):
    paths = [tmp_path / f"c{i}" / "map.mrc" for i in (0, 1)]
    for path in paths:
        write_volume(path, ball(6), 1.0)
    maps.write_overlay_script(tmp_path / "maps.cxc", paths, 0.25)
    lines = (tmp_path / "maps.cxc").read_text().splitlines()
    opened = [line.split()[1] for line in lines if line.startswith("open ")]
    assert opened == ["c0/map.mrc", "c1/map.mrc"] and all((tmp_path / each).is_file() for each in opened)
    assert sum(line.startswith("volume #") for line in lines) == 2 and "tile" in lines


def test_long_series_sort_in_order(tmp_path):
    paths = maps.write_map_series(np.zeros((1001, 2, 2, 2), "f4"), tmp_path, 1.0)
    assert sorted(path.name for path in paths) == [path.name for path in paths]
    assert paths[1].name == "map_0001.mrc"
