"""A data set has one pixel size: several are refused or told, headers that disagree are told."""

import mrcfile
import numpy as np
import pytest

from zoo.data.formats.images import ImageReader
from zoo.data.formats.mrc import read_header, write_stack, write_volume
from zoo.data.formats.volumes import volume_file
from zoo.data.packing.pack_particles import pack_particles
from zoo.data.packing.pack_subtomograms import pack_subtomograms
from zoo.data.packing.pixel_sizes import check_pixel_sizes
from zoo.data.packing.shards import PackSettings
from zoo.data.particles import read_particles
from zoo.data.tables.particle_table import ParticleTable
from zoo.errors import ZooError


def table_of(folder, sizes, stated=3.0):
    write_stack(folder / "s.mrcs", np.random.default_rng(0).normal(size=(len(sizes), 32, 32)), stated)
    table = ParticleTable(
        [str(folder / "s.mrcs")],
        {"stack_index": np.zeros(len(sizes), int), "pixel_size_angstrom": np.array(sizes)},
    )
    return table, ImageReader(table).headers


def test_one_size_says_nothing(tmp_path):
    assert check_pixel_sizes(*table_of(tmp_path, [3.0] * 4), 32) == []


def test_several_sizes_are_refused_with_their_rows(tmp_path):
    with pytest.raises(ZooError) as error:
        check_pixel_sizes(*table_of(tmp_path, [3.0, 3.0, 1.5, 3.0]), 32)
    assert "row 3: 2 pixel sizes: 3 Å (3 rows), 1.5 Å (1 rows)" in str(error.value)


def test_sizes_that_differ_by_less_than_the_box_shows_are_told(tmp_path):
    sizes = [3.0, 3.0, 3.02]
    (note,) = check_pixel_sizes(*table_of(tmp_path, sizes), 32)
    assert "2 pixel sizes" in note and "count as 3 Å" in note and "0.67 %" in note
    with pytest.raises(ZooError, match="2 pixel sizes"):  # in a box of 512 pixels the edge moves by 1.7
        check_pixel_sizes(*table_of(tmp_path, sizes), 512)


@pytest.mark.parametrize(("stated", "told"), [(4.5, True), (1.0, False), (0.0, False), (3.01, False)])
def test_headers_that_say_another_size_are_told(tmp_path, stated, told):
    notes = check_pixel_sizes(*table_of(tmp_path, [3.0] * 4, stated), 32)
    assert len(notes) == told
    assert not told or "1 of 1 files" in notes[0] and "4.5 Å, 3 Å is used" in notes[0]


def test_subtomograms_of_two_sizes_are_refused(tmp_path):
    for number, size in enumerate((10.0, 10.0, 15.0)):
        volume = np.random.default_rng(number).normal(size=(16, 16, 16))
        write_volume(tmp_path / "set" / f"{number}.mrc", volume, size)
    with pytest.raises(ZooError, match=r"set: row 3: 2 pixel sizes: 10 Å \(2 rows\), 15 Å \(1 rows\)"):
        pack_subtomograms(tmp_path / "set", tmp_path / "out", PackSettings(16), processes=1)
    assert not (tmp_path / "out").exists()


def test_pixels_that_are_not_square_are_refused(tmp_path):
    write_stack(tmp_path / "s.mrcs", np.zeros((4, 8, 8)), 2.0)
    write_volume(tmp_path / "t.mrc", np.zeros((8, 8, 8)), 2.0)
    for name in ("s.mrcs", "t.mrc"):
        with mrcfile.open(tmp_path / name, "r+") as mrc:
            mrc.voxel_size = (2.0, 3.0, 2.0)
    with pytest.raises(ZooError, match="pixels of 2 x 3 Å"):
        read_particles(tmp_path / "s.mrcs")
    with pytest.raises(ZooError, match="voxels of 2 x 3 x 2 Å"):
        volume_file(str(tmp_path / "t.mrc"))


def test_a_map_is_no_stack_of_particles(tmp_path):
    write_volume(tmp_path / "map.mrc", np.random.default_rng(0).normal(size=(40, 40, 40)), 2.0)
    with pytest.raises(ZooError, match=r"map.mrc: is one 3D map .*space group 1, 40 x 40 x 40.*\.mrcs"):
        pack_particles(tmp_path / "map.mrc", tmp_path / "out", PackSettings(32), processes=1)
    (tmp_path / "map.mrc").rename(tmp_path / "images.mrcs")  # many programs leave the space group of a stack
    assert len(read_particles(tmp_path / "images.mrcs")) == 40
    write_stack(tmp_path / "stack.mrc", np.zeros((40, 40, 40)), 2.0)
    assert len(read_particles(tmp_path / "stack.mrc")) == 40


@pytest.mark.parametrize(("values", "dtype"), [((0, 200), "u1"), ((0, 100), "i1"), ((-100, 100), "i1")])
def test_bytes_are_unsigned_where_the_range_says_so(tmp_path, values, dtype):
    data = np.linspace(*values, 64).reshape(1, 8, 8)
    with mrcfile.new(tmp_path / "s.mrcs") as mrc:
        mrc.set_data(data.astype(np.int16).astype(dtype).view(np.int8))
        mrc.header.dmin, mrc.header.dmax = values
    assert read_header(tmp_path / "s.mrcs").dtype == np.dtype(dtype)
    images = ImageReader(read_particles(tmp_path / "s.mrcs")).read([0])
    np.testing.assert_array_equal(images, data.astype(np.int16))
