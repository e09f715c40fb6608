"""MRC and EM files: read what others write, write what others accept."""

from __future__ import annotations

import gzip
import re
import subprocess
import tracemalloc
import warnings

import mrcfile
import numpy as np
import pytest

from zoo.data.formats.em import read_em
from zoo.data.formats.mrc import StackWriter, read_header, read_raw, read_volume, write_stack, write_volume
from zoo.errors import ZooError

MODE_DTYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}


@pytest.fixture
def volume() -> np.ndarray:
    return np.random.default_rng(1).normal(3, 20, size=(4, 5, 6)).round().astype(np.float32)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("mode", MODE_DTYPES)
def test_all_modes_and_byte_orders(tmp_path, volume, mode, order):
    path = tmp_path / "map.mrc"
    data = np.abs(volume) if mode == 6 else volume
    with mrcfile.new(path) as mrc:
        mrc.set_data(data.astype(order + MODE_DTYPES[mode]))
        mrc.voxel_size = 2.5
    array, voxel = read_volume(path)
    assert read_header(path).dtype == np.dtype(order + MODE_DTYPES[mode])
    assert array.dtype == np.float32 and array.flags.c_contiguous
    np.testing.assert_array_equal(array, data)
    assert voxel == 2.5


def test_extended_header_is_skipped(tmp_path, volume):
    path = tmp_path / "map.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(volume)
        mrc.set_extended_header(np.frombuffer(b"X" * 800, dtype="V80"))
    np.testing.assert_array_equal(read_volume(path)[0], volume)


@pytest.mark.parametrize("order", ["<", ">"])
def test_legacy_header_without_map_id_and_machine_stamp(tmp_path, volume, order):
    path = tmp_path / "map.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(volume.astype(order + "f4"))
    raw = bytearray(path.read_bytes())
    raw[208:216] = bytes(8)  # MAP id and machine stamp
    path.write_bytes(raw)
    np.testing.assert_array_equal(read_volume(path)[0], volume)


@pytest.mark.parametrize("axes", [(1, 2, 3), (2, 1, 3), (3, 1, 2), (2, 3, 1), (3, 2, 1), (1, 3, 2)])
def test_permuted_axes_come_out_as_zyx(tmp_path, volume, axes):
    path = tmp_path / "map.mrc"
    xyz = volume.transpose(2, 1, 0)  # index by x, y, z
    columns, rows, sections = (axis - 1 for axis in axes)
    stored = xyz.transpose(sections, rows, columns)
    with mrcfile.new(path) as mrc:
        mrc.set_data(np.ascontiguousarray(stored))
        mrc.header.mapc, mrc.header.mapr, mrc.header.maps = axes
    np.testing.assert_array_equal(read_volume(path)[0], volume)


def test_old_imod_bytes_are_unsigned(tmp_path):
    path = tmp_path / "map.mrc"
    data = np.arange(-60, 60, dtype=np.int8).reshape(4, 5, 6)
    with mrcfile.new(path) as mrc:
        mrc.set_data(data)
    raw = bytearray(path.read_bytes())
    raw[152:160] = np.array([1146047817, 0], dtype="<i4").tobytes()
    path.write_bytes(raw)
    np.testing.assert_array_equal(read_volume(path)[0], data.view(np.uint8))
    raw[156] = 1  # the flag that says signed
    path.write_bytes(raw)
    np.testing.assert_array_equal(read_volume(path)[0], data)


def test_unknown_voxel_size_is_zero_not_a_guess(tmp_path, volume):
    path = tmp_path / "map.mrc"
    write_volume(path, volume, 0.0)
    assert read_volume(path)[1] == 0.0


def test_anisotropic_voxels_are_refused(tmp_path, volume):
    path = tmp_path / "map.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(volume)
        mrc.voxel_size = (1.0, 1.0, 1.1)
    with pytest.raises(ZooError, match="1 x 1 x 1.1 Å, expected cubic"):
        read_volume(path)


@pytest.mark.parametrize("name", ["map.mrc", "map.mrc.gz"])
def test_written_volume_is_valid_and_exact(tmp_path, volume, name):
    path = tmp_path / name
    write_volume(path, volume, 1.37, origin_angstrom=(-10.5, 4.0, 7.25))
    assert mrcfile.validate(path)
    with mrcfile.open(path) as mrc:
        np.testing.assert_array_equal(mrc.data, volume)
        assert mrc.is_volume()
        assert mrc.voxel_size.x == pytest.approx(1.37, abs=1e-6)
        assert mrc.header.origin.tolist() == (-10.5, 4.0, 7.25)
        assert mrc.header.dmin == volume.min() and mrc.header.dmax == volume.max()
        assert mrc.header.dmean == pytest.approx(volume.mean(dtype=float), rel=1e-6)
        assert mrc.header.rms == pytest.approx(volume.std(dtype=float), rel=1e-6)
    array, voxel = read_volume(path)
    np.testing.assert_array_equal(array, volume)
    assert voxel == 1.37
    assert read_header(path).origin_xyz_angstrom == (-10.5, 4.0, 7.25)


def test_written_stack_is_a_stack(tmp_path, volume):
    path = tmp_path / "stack.mrcs"
    write_stack(path, volume, 1.5)
    assert mrcfile.validate(path)
    with mrcfile.open(path) as mrc:
        assert mrc.is_image_stack() and not mrc.is_volume()
        np.testing.assert_array_equal(mrc.data, volume)


def test_stack_writer_equals_the_stack_written_at_once(tmp_path):
    images = (1e4 + np.random.default_rng(2).normal(size=(50, 16, 16))).astype(np.float32)
    write_stack(tmp_path / "once.mrcs", images, 3.25)
    with StackWriter(tmp_path / "pieces.mrcs", 16, 3.25) as writer:
        writer.write(images[0])
        writer.write(images[1:30])
        writer.write(images[30:30])
        writer.write(images[30:])
    assert mrcfile.validate(tmp_path / "pieces.mrcs")
    with mrcfile.open(tmp_path / "once.mrcs") as once, mrcfile.open(tmp_path / "pieces.mrcs") as pieces:
        np.testing.assert_array_equal(once.data, pieces.data)
        for field in ("nx", "ny", "nz", "mx", "my", "mz", "mode", "ispg", "cella", "dmin", "dmax"):
            assert once.header[field] == pieces.header[field], field
        assert pieces.header.dmean == pytest.approx(images.mean(dtype=float), rel=1e-7)
        assert pieces.header.rms == pytest.approx(images.std(dtype=float), rel=1e-5)


def test_a_failed_stack_leaves_nothing_behind(tmp_path):
    with pytest.raises(RuntimeError), StackWriter(tmp_path / "stack.mrcs", 8, 1.0) as writer:
        writer.write(np.zeros((3, 8, 8)))
        raise RuntimeError("stopped")
    with pytest.raises(ZooError, match="expected .8, 8.$"), StackWriter(tmp_path / "b.mrcs", 8, 1) as writer:
        writer.write(np.zeros((3, 9, 9)))
    with pytest.raises(ZooError, match="at least one"), StackWriter(tmp_path / "c.mrcs", 8, 1.0):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_not_written(tmp_path, volume, value):
    volume[1, 2, 3] = value
    for write in (write_volume, write_stack):
        with pytest.raises(ZooError, match="1 values to be written are NaN or infinite"):
            write(tmp_path / "bad.mrc", volume, 1.0)
    with pytest.raises(ZooError, match="1 values"), StackWriter(tmp_path / "bad.mrcs", (5, 6), 1.0) as writer:
        writer.write(volume)
    assert list(tmp_path.iterdir()) == []


def test_writing_into_a_file_used_as_folder_is_one_clear_line(tmp_path, volume):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ZooError, match="cannot be written"):
        write_volume(tmp_path / "file" / "map.mrc", volume, 1.0)


def test_writing_a_long_stack_keeps_memory_flat(tmp_path):
    images = np.random.default_rng(3).normal(size=(64, 128, 128)).astype(np.float32)  # 4 MiB
    tracemalloc.start()
    with StackWriter(tmp_path / "long.mrcs", 128, 1.0) as writer:
        for _ in range(31):
            writer.write(images)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20  # the file has 124 MiB
    assert read_header(tmp_path / "long.mrcs").shape == (31 * 64, 128, 128)


@pytest.mark.relion
def test_relion_reads_the_statistics_of_a_written_map(tmp_path):
    data = np.random.default_rng(4).normal(5, 2, size=(16, 16, 16)).astype(np.float32)
    write_volume(tmp_path / "map.mrc", data, 2.25)
    out = subprocess.run(
        ["relion_image_handler", "--i", "map.mrc", "--stats"], cwd=tmp_path, capture_output=True, text=True
    ).stdout
    values = {name: float(value) for name, value in re.findall(r"(\w+)\s*=\s*([-+.\deE]+)", out)}
    assert values["avg"] == pytest.approx(data.mean(), rel=1e-4)
    assert values["stddev"] == pytest.approx(data.std(), rel=1e-4)
    assert values["angpix"] == pytest.approx(2.25)


@pytest.mark.shared_data
def test_every_real_mrc_file_equals_mrcfile(shared_data):
    paths = [
        path
        for folder in ("maps", "maps/simulated", "tomograms", "particles/*")
        for path in sorted(shared_data.glob(f"{folder}/*"))
        if path.name.endswith((".mrc", ".mrcs", ".map", ".ccp4", ".mrc.gz", ".map.gz"))
    ]
    assert len(paths) >= 25
    for path in paths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with mrcfile.open(path, permissive=True) as mrc:
                data, voxel = np.array(mrc.data), mrc.voxel_size.x
                axes = (mrc.header.mapc, mrc.header.mapr, mrc.header.maps)
        header = read_header(path)
        np.testing.assert_array_equal(read_raw(header), data, err_msg=path.name)
        assert header.pixel_size_angstrom == pytest.approx(float(voxel), rel=1e-6), path.name
        if path.name == "emd_3001.map.gz":
            with pytest.raises(ZooError, match="cubic"):
                read_volume(path)
            continue
        array, _ = read_volume(path)
        order = np.argsort(axes)[::-1]  # file axis that holds z, y, x, counted from the fastest
        expected = data.transpose([2 - axis for axis in order])
        np.testing.assert_array_equal(array, expected.astype(np.float32), err_msg=path.name)


@pytest.mark.shared_data
def test_real_em_volumes_have_the_statistics_their_readme_states(shared_data):
    npc = read_em(shared_data / "maps" / "npc_average_A.em")
    assert npc.shape == (32, 32, 32) and npc.dtype == np.float32
    found = [npc.min(), npc.mean(), npc.max(), npc.std()]
    np.testing.assert_allclose(found, [-4.09, 0.0285, 1.71, 0.919], 5e-3)
    ribosome, voxel = read_volume(shared_data / "maps" / "ribosome_average_pytom.em.gz")
    assert ribosome.shape == (100, 100, 100) and voxel == 0.0
    assert ribosome.std() == pytest.approx(0.0124, rel=5e-3)


def test_em_axes_types_and_byte_orders(tmp_path):
    volume = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    for machine, order in ((6, "<"), (3, ">")):
        for code, kind in ((1, "i1"), (2, "i2"), (4, "i4"), (5, "f4"), (9, "f8")):
            header = bytearray(512)
            header[0], header[3] = machine, code
            header[4:16] = np.array([4, 3, 2], dtype=order + "i4").tobytes()
            path = tmp_path / "volume.em"
            path.write_bytes(bytes(header) + volume.astype(order + kind).tobytes())
            np.testing.assert_array_equal(read_em(path), volume)
    with open(tmp_path / "short.em", "wb") as file:
        file.write(path.read_bytes()[:-1])
    with pytest.raises(ZooError, match="cut short"):
        read_em(tmp_path / "short.em")
    with gzip.open(tmp_path / "packed.em.gz", "wb") as file:
        file.write(path.read_bytes())
    np.testing.assert_array_equal(read_volume(tmp_path / "packed.em.gz")[0], volume)
