"""The embedded tomogram: every kind of cube is there, lies where its label says, and is made once."""

import numpy as np
import pytest

from zoo.data.formats.mrc import read_volume
from zoo.data.info import DatasetInfo
from zoo.data.records.check import check_dataset
from zoo.errors import ZooError
from zoo.simulate.embedded_data import embedded
from zoo.simulate.embedded_tomogram import KINDS, embedded_cubes, places_of_kinds, tomogram_classes


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return embedded_cubes(16, tmp_path_factory.mktemp("cache"), pose_normalise=False)


def test_cubes_of_every_kind_lie_where_their_label_says(records):
    info = check_dataset(records, 1)
    assert (info.kind, info.box, info.contrast_sign) == ("subtomograms", 16, 1)
    assert info.voxel_size_angstrom == pytest.approx(28.4)
    assert set(info.labels) == set(range(len(KINDS))) and min(info.labels.values()) >= 5
    labels, _ = read_volume(records.parent / "tomogram" / "labels.mrc")
    table = info.load_table()
    xyz = np.stack([table[f"coordinate_{axis}_voxel"] for axis in "xyz"], axis=1).astype(int)
    expected = {"empty": {0}, "large": {1}, "small": {2, 3}, "membrane": {4}, "fiducial": {5}}
    for number, name in enumerate(KINDS):
        found = []
        for x, y, z in xyz[table["label"] == number]:
            near = labels[tuple(slice(c - 2, c + 3) for c in (z, y, x))]
            found.append(bool(set(np.unique(near).astype(int).tolist()) & expected[name]))
            if name == "empty":
                found[-1] = not near.any()
        assert np.mean(found) > 0.95, name
    assert (xyz >= 8).all() and (xyz <= np.array(labels.shape[::-1]) - 8).all()
    assert (table["tilt_min_deg"] == -60).all()


def test_made_once_and_the_same_in_another_place(records, tmp_path):
    before = records.stat().st_mtime_ns
    assert (
        embedded_cubes(16, records.parent.parent, pose_normalise=False) == records
        and records.stat().st_mtime_ns == before
    )
    again = DatasetInfo.load(embedded_cubes(16, tmp_path, pose_normalise=False))
    assert [s.crc32 for s in again.shards] == [s.crc32 for s in DatasetInfo.load(records).shards]


def test_turned_cubes_are_the_same_places(records):
    turned = DatasetInfo.load(embedded("cubes", 16, records.parent.parent))
    straight = DatasetInfo.load(records)
    assert turned.labels == straight.labels and turned.wedge == "mask" and straight.wedge == "tilts"
    assert turned.path != straight.path


def test_complexes_have_one_density_and_their_mass():
    classes = tomogram_classes(32)
    sums = classes.maps.sum(axis=(1, 2, 3))
    np.testing.assert_allclose(sums / sums[0], [1, 0.7 / 3, 0.3 / 3], rtol=1e-3)
    inside = [volume[volume > 0.5 * volume.max()].mean() for volume in classes.maps]
    assert max(inside) / min(inside) < 1.5


def test_places_keep_apart_and_inside():
    rng = np.random.default_rng(0)
    labels = np.zeros((32, 48, 48), np.int16)
    labels[15:17] = 2  # a membrane; class 1 and beads (3) elsewhere
    labels[4:8, 10:14, 10:14] = 3
    particles = rng.uniform(10, 20, (5, 3))
    points = {3: 6, 0: 4}
    places, kinds = places_of_kinds(labels, particles, np.zeros(5, int), (1,), 8, 0, points)
    assert np.bincount(kinds, minlength=5).tolist() == [4, 5, 0, 6, 1]
    assert (places >= 4).all() and (places <= np.array([48, 48, 32]) - 4).all()
    bead = places[kinds == 4][0]
    assert np.abs(bead - [11.5, 11.5, 5.5]).max() <= 1.5


def test_bad_boxes_are_one_line(tmp_path):
    with pytest.raises(ZooError, match="--box 15"):
        embedded_cubes(15, tmp_path)
    assert not list(tmp_path.iterdir())
