"""References and masks of another voxel size are brought to that of the subtomograms, and it is said."""

import mrcfile
import numpy as np
import pytest

from zoo.data.formats.mrc import write_volume
from zoo.errors import ZooError
from zoo.training.given_maps import read_mask, read_references


def ball(box, voxel, radius=40.0):
    axis = (np.arange(box) - box // 2) * voxel
    distance = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    return (1 / (1 + np.exp((distance - radius) / 10.0))).astype(np.float32)


@pytest.mark.parametrize("box", [32, 64, 40])
def test_a_reference_of_half_the_voxel_size_is_rescaled(tmp_path, box):
    write_volume(tmp_path / "r.mrc", ball(box, 5.0), 5.0)
    lines = []
    found = read_references(str(tmp_path / "r.mrc"), 32, 1, 10.0, lines)[0]
    assert np.corrcoef(found.ravel(), ball(32, 10.0).ravel())[0, 1] > 0.98
    assert "5 Å, rescaled to 32 of 10 Å" in lines[0] and "reference" in lines[0] and len(lines) == 1


def test_a_mask_of_another_voxel_size_stays_between_0_and_1(tmp_path):
    write_volume(tmp_path / "m.mrc", (ball(64, 5.0) > 0.5).astype(np.float32), 5.0)
    lines = []
    mask = read_mask(str(tmp_path / "m.mrc"), 32, 10.0, lines)
    assert mask.min() >= 0 and mask.max() <= 1 and "mask" in lines[0]
    assert np.corrcoef(mask.ravel(), (ball(32, 10.0) > 0.5).ravel())[0, 1] > 0.95


@pytest.mark.parametrize("stated", [0.0, 1.0, 10.05])
def test_an_unset_or_equal_voxel_size_changes_nothing(tmp_path, stated):
    write_volume(tmp_path / "r.mrc", ball(32, 10.0), 10.0)
    with mrcfile.open(tmp_path / "r.mrc", "r+") as mrc:
        mrc.voxel_size = stated
    lines = []
    found = read_references(str(tmp_path / "r.mrc"), 32, 1, 10.0, lines)[0]
    np.testing.assert_array_equal(found, ball(32, 10.0))
    assert not lines


@pytest.mark.parametrize("what", ["mask", "reference"])
def test_nan_is_refused_by_name(tmp_path, what):
    volume = ball(32, 10.0)
    with mrcfile.new(tmp_path / "n.mrc") as mrc:
        volume[0, 0, 0] = np.nan
        mrc.set_data(volume)
    read = {"mask": lambda path: read_mask(path, 32), "reference": lambda path: read_references(path, 32, 1)}
    with pytest.raises(ZooError, match=rf"n.mrc: 1 voxels of the {what} are NaN"):
        read[what](str(tmp_path / "n.mrc"))
