import shutil
import subprocess

import mrcfile
import numpy as np
import pandas as pd
import pytest
import starfile

from zoo.analysis.selection import latent_columns, read_source, write_selection
from zoo.data.particles import read_particles
from zoo.errors import ZooError


@pytest.fixture
def star(tmp_path):
    """A RELION 3.1 file of six particles in two optics groups, with a column that only its owner knows."""
    with mrcfile.new(tmp_path / "stack.mrcs") as file:
        file.set_data(np.random.default_rng(0).normal(size=(6, 8, 8)).astype(np.float32))
        file.set_image_stack()
        file.voxel_size = 2.0
    optics = pd.DataFrame(
        {
            "rlnOpticsGroup": [1, 2],
            "rlnOpticsGroupName": ["a", "b"],
            "rlnVoltage": [300.0, 200.0],
            "rlnSphericalAberration": [2.7, 1.4],
            "rlnAmplitudeContrast": [0.1, 0.07],
            "rlnImagePixelSize": [2.0, 2.0],
            "rlnImageSize": [8, 8],
            "rlnImageDimensionality": [2, 2],
        }
    )
    particles = pd.DataFrame(
        {
            "rlnImageName": [f"{row:06d}@stack.mrcs" for row in (3, 1, 2, 6, 5, 4)],
            "rlnOpticsGroup": [1, 2, 1, 2, 2, 1],
            "rlnDefocusU": np.linspace(1e4, 2e4, 6),
            "rlnDefocusV": np.linspace(1e4, 2e4, 6),
            "rlnDefocusAngle": 0.0,
            "rlnGroupName": [f"mic{index}" for index in range(6)],
        }
    )
    starfile.write({"optics": optics, "particles": particles}, tmp_path / "run_data.star")
    return tmp_path / "run_data.star"


def read_blocks(path):
    return starfile.read(path, always_dict=True)


def test_a_selection_keeps_order_columns_and_optics(star, tmp_path):
    table = read_particles(star)
    table = read_source(star, table.uid[[5, 0, 3]], [5, 0, 3])
    z = np.array([[5.0, 50], [0, 1], [3, 30]], np.float32)
    out = tmp_path / "out" / "selected.star"
    assert write_selection(table, [5, 0, 3], out, latent_columns(z, [1, 0, 1])) == 3
    found, original = read_blocks(out), read_blocks(star)
    pd.testing.assert_frame_equal(found["optics"], original["optics"])
    particles = found["particles"]
    expected = original["particles"].iloc[[0, 3, 5]].reset_index(drop=True)
    pd.testing.assert_frame_equal(particles[expected.columns], expected)
    assert list(particles.columns) == [*expected.columns, "zooLatent0", "zooLatent1", "zooCluster"]
    assert particles["zooLatent0"].tolist() == [0, 3, 5] and particles["zooCluster"].tolist() == [0, 1, 1]
    again = read_particles(out)
    np.testing.assert_array_equal(again.uid, table.uid[[0, 3, 5]])


@pytest.mark.relion
def test_relion_reads_a_selection(star, tmp_path):
    table = read_particles(star)
    write_selection(table, np.arange(4), tmp_path / "selected.star", latent_columns(np.ones((4, 2))))
    command = ["relion_star_handler", "--i", "selected.star", "--o", "copy.star", "--select", "rlnDefocusU"]
    done = subprocess.run(
        [*command, "--minval", "11000"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert len(read_blocks(tmp_path / "copy.star")["particles"]) == 3


@pytest.mark.shared_data
def test_cryosparc_particles_go_back_to_cs(shared_data, tmp_path):
    files = sorted((shared_data / "particles" / "cryosparc_cs").rglob("*.cs"))
    tables = [(path, table) for path in files if (table := _try_read(path)) is not None and len(table) > 3]
    assert tables
    path, table = tables[0]
    rows = np.arange(len(table))[::2]
    write_selection(
        read_source(path, table.uid[rows], rows), rows, tmp_path / "half.cs", {"zooCluster": rows % 3}
    )
    original, found = np.load(path), np.load(tmp_path / "half.cs")
    for name in original.dtype.names:
        np.testing.assert_array_equal(found[name], original[name][rows])
    np.testing.assert_array_equal(found["zooCluster"], rows % 3)


def _try_read(path):
    try:
        return read_particles(path)
    except ZooError:  # passthrough files hold no images
        return None


def test_a_source_that_changed_is_told(star, tmp_path):
    uid = read_particles(star).uid
    with pytest.raises(ZooError, match="row 0 is another particle than the one packed"):
        read_source(star, uid[::-1], np.arange(6))
    with pytest.raises(ZooError, match="has 6 rows, but the data set names row 6"):
        read_source(star, uid[:1], [6])
    moved = tmp_path / "moved.star"
    shutil.move(star, moved)
    with pytest.raises(ZooError, match="is gone; .* --source FILE"):
        read_source(star, uid, np.arange(6))
    assert len(read_source(moved, uid, np.arange(6))) == 6


def test_bad_selections_are_told_and_write_nothing(star, tmp_path):
    table = read_particles(star)
    with pytest.raises(ZooError, match="no particle is selected"):
        write_selection(table, [], tmp_path / "none.star")
    before = star.read_bytes()
    with pytest.raises(ZooError, match="is the file that the particles come from"):
        write_selection(table, [0], star)
    with pytest.raises(ZooError, match="does not say which file"):
        read_source("", table.uid, np.arange(6))
    assert star.read_bytes() == before and not (tmp_path / "none.star").exists()
