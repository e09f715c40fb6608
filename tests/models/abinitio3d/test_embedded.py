"""The embedded particles, 9,000 images of three states, solved from nothing at the resolution of the data."""

import numpy as np
import pytest

from zoo.data.formats.images import ImageReader
from zoo.data.formats.mrc import read_volume
from zoo.data.particles import read_particles
from zoo.metrics.alignment import align_maps, mirror
from zoo.metrics.clustering import clustering_scores
from zoo.metrics.fsc import fsc, resolution_at
from zoo.models.abinitio3d.config import Config
from zoo.models.abinitio3d.solve import reconstruct
from zoo.models.given_poses import GivenPoses
from zoo.simulate.embedded import embedded_dataset


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    folder = embedded_dataset(cache_dir=tmp_path_factory.mktemp("cache")).parent / "particles"
    table = read_particles(folder / "particles.star")
    truth = [read_volume(folder / "maps" / f"class_{k}.mrc")[0] for k in range(3)]
    return table, ImageReader(table).read(np.arange(len(table))), truth


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("classes", [3, 6])
def test_three_states_are_found_from_nothing(embedded, classes):
    table, images, truth = embedded
    config, half_set = Config(classes=classes), table.random_subset
    found = reconstruct(images, table.ctf(), table.pixel_size_angstrom, config, seed=1, half_set=half_set)
    label = np.asarray(table.label, int)
    assert len(found.maps) == 3, found.lines
    assert clustering_scores(label, found.class_number)["nmi"] >= 0.99
    states = [np.bincount(label[found.class_number == k]).argmax() for k in range(3)]
    assert sorted(states) == [0, 1, 2]
    pixels = {}
    for hand in (1, -1):
        laid = [
            align_maps(volume if hand > 0 else mirror(volume), truth[state], allow_mirror=False)
            for volume, state in zip(found.maps, states, strict=True)
        ]
        pixels[hand] = [
            resolution_at(fsc(one.aligned, truth[state])).pixels
            for one, state in zip(laid, states, strict=True)
        ]
    # one hand for all maps: every one of them is right in the same one
    assert max(min(pixels.values(), key=sum)) <= 2.25, pixels


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_three_states_are_found_at_known_poses(embedded):
    """Better than from nothing, and in the frame and hand of the file: nothing is laid over anything."""
    table, images, truth = embedded
    poses = GivenPoses(table.euler_deg(), table.shift_angstrom(), table.random_subset)
    pixels = table.pixel_size_angstrom
    found = reconstruct(images, table.ctf(), pixels, Config(poses="known"), seed=1, poses=poses)
    label = np.asarray(table.label, int)
    assert clustering_scores(label, found.class_number)["nmi"] >= 0.99
    np.testing.assert_array_equal(found.half_set, table.random_subset)
    states = [np.bincount(label[found.class_number == k]).argmax() for k in range(3)]
    assert sorted(states) == [0, 1, 2]
    finest = [
        resolution_at(fsc(volume, truth[k])).pixels for volume, k in zip(found.maps, states, strict=True)
    ]
    assert max(finest) <= 2.25, finest


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_nothing_is_found_in_noise_with_the_same_ctfs(embedded):
    table, images, _ = embedded
    noise = np.random.default_rng(1).standard_normal(images.shape, np.float32)
    found = reconstruct(noise, table.ctf(), table.pixel_size_angstrom, Config(), seed=1)
    assert not found.found and "no particle was found" in found.lines[-1]
