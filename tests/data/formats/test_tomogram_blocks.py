"""Tomograms by parts: every axis order and type, compressed ones, files that are cut short; and writing."""

import gzip
import pickle
import shutil

import mrcfile
import numpy as np
import pytest

from zoo.data.formats.mrc import read_volume
from zoo.data.formats.mrc_blocks import MrcBlockWriter
from zoo.data.formats.tomogram_blocks import TomogramBlocks
from zoo.data.formats.tomogram_scale import measure_scale
from zoo.errors import ZooError

SHAPE = (9, 14, 61)
PARTS = [(0, 9, 0, 14, 0, 61), (2, 5, 3, 9, 1, 7), (8, 9, 0, 14, 0, 61), (1, 4, 13, 14, 60, 61)]


def write(path, array, axes=(1, 2, 3)):
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(array)
        file.voxel_size = 5.0
        file.header.origin = (10.0, 20.0, 30.0)
        file.header.mapc, file.header.mapr, file.header.maps = axes
    return path


def slices(numbers):
    return tuple(slice(numbers[i], numbers[i + 1]) for i in (0, 2, 4))


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "float16", "float32"])
@pytest.mark.parametrize("axes", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
def test_parts_are_those_of_the_whole(tmp_path, dtype, axes):
    array = np.random.default_rng(0).integers(0, 100, SHAPE).astype(dtype)
    path = write(tmp_path / "t.mrc", array, axes)
    whole, _ = read_volume(path)
    blocks = TomogramBlocks(path)
    assert blocks.shape == whole.shape and blocks.corner_xyz_angstrom == (10.0, 20.0, 30.0)
    for numbers in PARTS:
        order = [axes[::-1].index(axis) for axis in (3, 2, 1)]
        part = tuple(slices(numbers)[along] for along in order)
        found = blocks.read(part)
        assert found.dtype == np.float32 and found.flags["C_CONTIGUOUS"]
        np.testing.assert_array_equal(found, whole[part])


def test_compressed_files_and_copies_of_the_reader(tmp_path):
    array = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    path = write(tmp_path / "t.mrc", array)
    with open(path, "rb") as plain, gzip.open(tmp_path / "t.mrc.gz", "wb") as packed:
        shutil.copyfileobj(plain, packed)
    for name in ("t.mrc", "t.mrc.gz"):
        blocks = TomogramBlocks(tmp_path / name)
        for _ in range(2):  # open, and again after it was closed
            np.testing.assert_array_equal(blocks.read(slices(PARTS[1])), array[slices(PARTS[1])])
            blocks.close()
        again = pickle.loads(pickle.dumps(blocks))
        np.testing.assert_array_equal(again.read(slices(PARTS[0])), array)


def test_a_file_that_shrinks_is_one_line(tmp_path):
    path = write(tmp_path / "t.mrc", np.ones(SHAPE, np.float32))
    blocks = TomogramBlocks(path)
    with open(path, "r+b") as file:
        file.truncate(2000)
    with pytest.raises(ZooError, match="t.mrc: (was )?cut short"):
        blocks.read(slices(PARTS[0]))


@pytest.mark.parametrize("dtype", ["int8", "float16", "float32"])
def test_blocks_in_any_order_make_the_same_file(tmp_path, dtype):
    array = np.random.default_rng(2).integers(-20, 20, SHAPE).astype(dtype)
    cores = [(z, y, x) for x in (slice(0, 30), slice(30, 61)) for y in (slice(0, 14),)
             for z in (slice(4, 9), slice(0, 4))]  # fmt: skip
    with MrcBlockWriter(tmp_path / "b.mrc", SHAPE, dtype, 3.5, (1.0, 2.0, 3.0)) as writer:
        for core in cores:
            writer.write(core, array[core])
        assert not (tmp_path / "b.mrc").exists()
    with mrcfile.open(tmp_path / "b.mrc") as file:
        # mrcfile sums float16 in float16, which overflows
        assert dtype == "float16" or mrcfile.validate(tmp_path / "b.mrc")
        np.testing.assert_array_equal(file.data, array)
        assert file.data.dtype == np.dtype(dtype) and file.is_volume()
        assert file.voxel_size.x == pytest.approx(3.5) and file.header.origin.z == 3.0
        assert file.header.dmin == array.min() and file.header.dmax == array.max()
        assert file.header.dmean == pytest.approx(array.mean(dtype=float), abs=1e-5)
        assert file.header.rms == pytest.approx(array.std(dtype=float), rel=1e-5)
    whole, voxel = read_volume(tmp_path / "b.mrc")
    np.testing.assert_array_equal(whole, array.astype(np.float32))
    assert voxel == pytest.approx(3.5)


def test_an_unfinished_or_broken_volume_leaves_nothing(tmp_path):
    part = slice(0, 2), slice(0, 14), slice(0, 61)
    with pytest.raises(ZooError, match="1708 of 7686 voxels"):
        with MrcBlockWriter(tmp_path / "b.mrc", SHAPE, "int8", 1.0) as writer:
            writer.write(part, np.zeros((2, 14, 61)))
    with pytest.raises(ZooError, match="NaN or infinite"):
        with MrcBlockWriter(tmp_path / "b.mrc", SHAPE, "float32", 1.0) as writer:
            writer.write(part, np.full((2, 14, 61), np.nan))
    assert list(tmp_path.iterdir()) == []


def test_the_scale_leaves_out_padding_and_beads(tmp_path):
    rng = np.random.default_rng(3)
    array = rng.normal(50, 4, (40, 60, 60)).astype(np.float32)
    plain = measure_scale(TomogramBlocks(write(tmp_path / "plain.mrc", array)))
    array[:, :, :18] = 0.0
    array[20:23, 30:33, 30:33] = 5000.0
    padded = measure_scale(TomogramBlocks(write(tmp_path / "padded.mrc", array)))
    assert padded.mean == pytest.approx(plain.mean, abs=0.1) and padded.std == pytest.approx(
        plain.std, rel=0.02
    )
    assert padded.padding == 0 and np.isnan(plain.padding)
    values = padded.of(np.array([0.0, padded.mean, padded.mean + padded.std], np.float32), sign=-1)
    np.testing.assert_allclose(values, [0, 0, -1], atol=1e-5)
    with pytest.raises(ZooError, match="all equal"):
        measure_scale(TomogramBlocks(write(tmp_path / "flat.mrc", np.full((8, 8, 8), 7, np.float32))))
    array[::2] = np.nan
    with pytest.raises(ZooError, match="NaN or infinite"):
        measure_scale(TomogramBlocks(write(tmp_path / "nan.mrc", array)))
