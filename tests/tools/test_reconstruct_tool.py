"""``zoo-infer reconstruct`` as a command: what it prints, exit codes, nothing left behind."""

import pytest

from zoo.data.info import DatasetInfo
from zoo.data.particles import read_particles
from zoo_tools.infer import app


@pytest.fixture
def reconstruct(call):
    return lambda *arguments: call(app, "zoo-infer", "reconstruct", *arguments)


@pytest.fixture(scope="module")
def star(packed):
    return DatasetInfo.load(packed).source["path"]


def test_records_become_maps(reconstruct, packed, star, tmp_path):
    out = tmp_path / "out"
    code, printed, error = reconstruct(packed, "--out", out, "--by", "none")
    assert code == 0, error
    assert "map: reconstructing" in printed and "map: 60 particles (30 + 30)" in printed
    assert f"half sets: rlnRandomSubset of {star}" in printed
    assert {path.name for path in out.iterdir()} == {
        "map",
        "maps.cxc",
        "particles.star",
        "reconstruction.json",
    }
    assert len(read_particles(out / "particles.star")) == 60
    again = reconstruct(packed, "--out", out)
    assert again[0] == 2 and "--overwrite" in again[2]
    code, printed, _ = reconstruct(
        packed, "--out", out, "--overwrite", "--new-halves", "--refine", "--rounds", 1
    )
    assert code == 0 and "drawn by uid, seed 0" in printed and "refining, round 1" in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--box", "64"], "the images have 32 pixels"),
        (["--b-factor", "1e9"], "--b-factor"),
        (["--poses", "nowhere.star"], "nowhere.star: no such file"),
        (["--mask", "nowhere.mrc"], "nowhere.mrc: no such file"),
        (["--by", "zooNothing"], "no column zooNothing"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(reconstruct, packed, tmp_path, arguments, words):
    code, _, error = reconstruct(packed, "--out", tmp_path / "out", *arguments)
    assert code == 2 and words in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_poses_is_refused(reconstruct, small_run, tmp_path):
    code, _, error = reconstruct(small_run, "--out", tmp_path / "out")
    assert code == 2 and "its model gives no pose of a particle" in error and "abinitio3d" in error
    assert list(tmp_path.iterdir()) == []


def test_a_run_takes_the_poses_of_its_source(reconstruct, small_run, tmp_path):
    code, printed, error = reconstruct(
        small_run, "--out", tmp_path / "out", "--poses", "known", "--by", "none"
    )
    assert code == 0, error
    assert "refining" not in printed and (tmp_path / "out" / "map" / "map.mrc").is_file()


def test_variability_needs_particles_and_leaves_nothing(call, packed, tmp_path):
    code, _, error = call(app, "zoo-infer", "variability", packed, "--out", tmp_path / "out")
    assert code == 2 and "60 particles, expected at least 100" in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
