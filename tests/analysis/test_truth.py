import numpy as np
import pytest
from scipy import signal
from scipy.spatial.transform import Rotation

from zoo.analysis.truth import match_truth, read_truths, truth_folder
from zoo.data.formats.mrc import write_volume
from zoo.errors import ZooError
from zoo.metrics.alignment import transform_map
from zoo.simulate.embedded import EMBEDDED_EXTENT_ANGSTROM, embedded_maps

BOX, VOXEL = 24, EMBEDDED_EXTENT_ANGSTROM / 24


@pytest.fixture(scope="module")
def truths():
    return embedded_maps(BOX)


@pytest.fixture
def folder(truths, tmp_path):
    """A particle file and the true maps beside it, as zoo-simulate writes them."""
    (tmp_path / "particles.star").write_text("data_\n")
    for index, volume in enumerate(truths):
        write_volume(tmp_path / "maps" / f"class_{index}.mrc", volume, VOXEL)
    return tmp_path


def test_truths_are_found_beside_the_particles(folder, truths):
    found = truth_folder(folder / "particles.star")
    names, maps = read_truths(found, BOX, VOXEL)
    assert names == ["class_0.mrc", "class_1.mrc", "class_2.mrc"]
    np.testing.assert_array_equal(maps, truths)
    assert truth_folder(folder / "maps" / "class_0.mrc") is None and truth_folder("") is None


def test_truths_come_in_the_order_of_their_numbers(folder, truths):
    write_volume(folder / "maps" / "class_10.mrc", truths[0], VOXEL)
    assert read_truths(folder / "maps", BOX, VOXEL)[0][-2:] == ["class_2.mrc", "class_10.mrc"]


def test_finer_truths_are_brought_to_the_box(folder, truths):
    for index, volume in enumerate(truths):
        for axis in range(3):
            volume = signal.resample(volume, 2 * BOX, axis=axis)
        write_volume(folder / "maps" / f"class_{index}.mrc", volume, VOXEL / 2)
    _, maps = read_truths(folder / "maps", BOX, VOXEL)
    np.testing.assert_allclose(maps, truths, atol=2e-3)  # scipy halves the Nyquist frequency differently


def test_a_turned_mirrored_map_finds_its_truth(truths):
    moved = transform_map(truths[2], Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix(), (1, 0, -1), hand=-1)
    match = match_truth(moved, truths, ["a", "b", "c"], VOXEL, candidates=[1, 2])
    assert (match.truth, match.name, match.hand) == (2, "c", -1)
    assert match.pixels < 2.6 and match.angstrom == pytest.approx(match.pixels * VOXEL)
    assert match.correlation > 0.97


def test_bad_truths_are_told(folder, tmp_path):
    with pytest.raises(ZooError, match="holds no class_"):
        read_truths(tmp_path / "nowhere", BOX, VOXEL)
    with pytest.raises(ZooError, match="expected a box 640 Å wide as the model's"):
        read_truths(folder / "maps", BOX, 2 * VOXEL)
    write_volume(folder / "maps" / "class_1.mrc", np.zeros((BOX, BOX, BOX)), 0)
    with pytest.raises(ZooError, match="class_1.mrc: 24 voxels of 0 Å"):
        read_truths(folder / "maps", BOX, VOXEL)
