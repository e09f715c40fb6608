"""Lazy image reading: right rows in any order, from any stack, with flat memory."""

from __future__ import annotations

import pickle
import resource
import tracemalloc

import mrcfile
import numpy as np
import pytest

from zoo.data.formats.images import ImageReader, check_finite, stack_boxes
from zoo.data.formats.mrc import write_stack
from zoo.data.particles import read_particles, write_particles
from zoo.data.tables.particle_table import ParticleTable
from zoo.errors import ZooError


@pytest.fixture
def stacks(tmp_path):
    """Three stacks of 20 images whose pixels say which image they are, in three sample types."""
    paths, content = [], []
    for number, dtype in enumerate(("<f4", ">i2", "<f2")):
        images = number * 100 + np.arange(20.0)[:, None, None] + np.linspace(0, 0, 64).reshape(8, 8)
        images[:, 3, 5] += 50
        path = tmp_path / f"{number}.mrcs"
        with mrcfile.new(path) as mrc:
            mrc.set_data(images.astype(dtype))
            mrc.set_image_stack()
            if number == 1:
                mrc.set_extended_header(np.frombuffer(b"x" * 160, dtype="V80"))
        paths.append(str(path))
        content.append(images.astype(np.float32))
    return paths, np.stack(content)


def random_table(paths, count=200, rows=20, seed=11) -> ParticleTable:
    rng = np.random.default_rng(seed)
    columns = {
        "stack_index": rng.integers(0, len(paths), count),
        "row_in_stack": rng.integers(0, rows, count),
    }
    return ParticleTable(paths, columns)


@pytest.mark.parametrize("seed", range(3))
def test_any_rows_in_any_order(stacks, seed):
    paths, content = stacks
    table = random_table(paths, seed=seed)
    with ImageReader(table) as reader:
        assert reader.box == 8 and len(reader) == 200
        indices = np.random.default_rng(seed).integers(0, 200, 333)  # unsorted, with repeats
        images = reader.read(indices)
        assert images.dtype == np.float32 and images.flags.c_contiguous
        np.testing.assert_array_equal(
            images, content[table.stack_index[indices], table.row_in_stack[indices]]
        )


@pytest.mark.parametrize("indices", [slice(3, 60, 2), 7, [-1, 0], np.array([], dtype=int)])
def test_index_kinds(stacks, indices):
    paths, content = stacks
    columns = {"stack_index": np.repeat([2, 0, 1], 20), "row_in_stack": np.tile(np.arange(20), 3)}
    images = ImageReader(ParticleTable(paths, columns)).read(indices)
    expected = content[[2, 0, 1]].reshape(60, 8, 8)[indices]
    np.testing.assert_array_equal(images, expected.reshape(-1, 8, 8))


def test_a_mask_selects(stacks):
    reader = ImageReader(random_table(stacks[0]))
    mask = np.arange(200) % 7 == 0
    np.testing.assert_array_equal(reader.read(mask), reader.read(np.flatnonzero(mask)))


def test_travels_to_another_process(stacks):
    reader = ImageReader(random_table(stacks[0]))
    expected = reader.read([5, 6])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(reader)).read([5, 6]), expected)
    reader.close()
    np.testing.assert_array_equal(reader.read([5, 6]), expected)


def test_the_metadata_text_stays_at_home(stacks, tmp_path):
    write_particles(random_table(stacks[0], count=3000), tmp_path / "many.star")
    reader = ImageReader(read_particles(tmp_path / "many.star"))
    assert len(pickle.dumps(reader)) < 3000 * 220  # the columns are 164 bytes a particle
    assert reader.table.source.blocks  # and nothing is lost here


def test_more_stacks_than_open_files_are_allowed(tmp_path):
    paths = []
    for number in range(150):
        paths.append(str(tmp_path / f"{number}.mrcs"))
        write_stack(paths[-1], np.full((1, 4, 4), number), 1.0)
    table = ParticleTable(paths, {"stack_index": np.arange(150), "row_in_stack": np.zeros(150)})
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reader = ImageReader(table)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(140, soft), hard))
    try:
        images = reader.read(np.random.default_rng(12).permutation(150))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        reader.close()
    assert sorted(images[:, 0, 0].tolist()) == list(range(150))


def test_a_stack_of_6_gb_is_read_by_row_with_flat_memory(tmp_path):
    """The file is sparse: it takes no space, but its last rows lie beyond 4 GiB."""
    count, box = 100_000, 128
    path = tmp_path / "huge.mrcs"
    write_stack(path, np.zeros((1, box, box)), 1.0)
    with open(path, "r+b") as file:
        file.seek(8)
        file.write(np.array([count], dtype="<i4").tobytes())
        file.truncate(1024 + count * box * box * 4)
        file.seek(1024 + (count - 1) * box * box * 4)
        file.write(np.full(box * box, 7, dtype="<f4").tobytes())
    reader = ImageReader(read_particles(path))
    assert reader.read([count - 1]).mean() == 7
    tracemalloc.start()
    for start in range(0, count, count // 100):
        reader.read(np.arange(start, start + 64))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20  # a batch has 4 MiB; 420 MiB were read


def test_values_that_are_not_finite_are_named(stacks, tmp_path):
    images = np.ones((3, 8, 8), np.float32)
    check_finite(images)
    check_finite(np.full((2, 8, 8), 3e38, np.float32))  # the sum overflows, the values are fine
    for value in (np.nan, np.inf, -np.inf):
        bad = images.copy()
        bad[1, 2, 6] = value
        with pytest.raises(ZooError, match="image 2: 1 values are NaN or infinite, the first at y=2, x=6"):
            check_finite(bad)
    both = images.copy()
    both[2, 0, :2] = np.inf, -np.inf
    with pytest.raises(ZooError, match="image 3: 2 values"):
        check_finite(both)


def test_boxes_of_stacks(stacks):
    columns = {"stack_index": [0, 2, 3], "row_in_stack": [0, 0, 0]}
    table = ParticleTable([*stacks[0], "/nowhere/s.mrcs"], columns)
    assert stack_boxes(table).tolist() == [8, 0, 8, 0]
