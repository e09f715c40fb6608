"""zoo-pick: a tomogram with known content → STAR that zoo-pack reads, picture, scores; what is refused."""

import numpy as np
import pytest

from zoo.data.formats.mrc import read_volume, write_volume
from zoo.data.info import DatasetInfo
from zoo.data.subtomograms import read_subtomograms
from zoo.simulate.embedded import embedded_maps

SHAPE, BOX, VOXEL = (40, 96, 88), 16, 20.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """tomogram.mrc with 14 dark complexes in noise, and truth.csv with x, y, z of each."""
    folder = tmp_path_factory.mktemp("tomogram")
    rng = np.random.default_rng(4)
    volume = rng.standard_normal(SHAPE, dtype=np.float32)
    particle = embedded_maps(BOX)[2]
    particle = particle / particle.std()
    centres = []
    while len(centres) < 14:
        corner = np.array([rng.integers(2, side - BOX - 1) for side in SHAPE])
        if all(np.linalg.norm(corner - other) >= BOX for other in centres):
            centres.append(corner)
            volume[tuple(slice(start, start + BOX) for start in corner)] -= 2 * particle
    rows = [",".join(str(value) for value in (corner + BOX // 2)[::-1]) for corner in centres]
    write_volume(folder / "tomogram.mrc", volume, VOXEL)
    (folder / "truth.csv").write_text("x,y,z\n" + "\n".join(rows) + "\n")
    return folder


@pytest.fixture
def pick(call):
    from zoo_tools.pick import app

    return lambda *arguments: call(app, "zoo-pick", *arguments)


@pytest.fixture
def refused(pick):
    def ask(*arguments):
        code, _, err = pick(*arguments)
        lines = err.strip().splitlines()
        assert code == 2 and len(lines) == 1 and lines[0].startswith("error: "), (code, err)
        return lines[0]

    return ask


def test_from_a_tomogram_to_records(folder, tmp_path, pick, call):
    out = tmp_path / "picks.star"
    code, said, err = pick(
        folder / "tomogram.mrc", "--out", out, "--diameter", 220, "--truth", folder / "truth.csv",
        "--exclude-edge", BOX // 2, "--relion5",
    )  # fmt: skip
    assert code == 0 and err == "", err
    assert "contrast: particles are dark (-1)" in said
    assert "14 of 14 particles found" in said and "precision 1.000, recall 1.000, F1 1.000" in said
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    table = read_subtomograms(out, folder / "tomogram.mrc")
    truth = read_subtomograms(folder / "truth.csv", folder / "tomogram.mrc")
    gaps = np.linalg.norm(table.coordinates_voxel()[:, None] - truth.coordinates_voxel()[None], axis=2)
    assert len(table) == 14 and gaps.min(axis=0).max() <= 3
    assert table.pixel_size_angstrom[0] == VOXEL
    text = out.read_text()
    for column in ("TomoName", "CoordinateZ", "AutopickFigureOfMerit", "CenteredCoordinateZAngst"):
        assert f"_rln{column} " in text

    from zoo_tools.pack import app

    words = (out, tmp_path / "rec", "--tomogram", folder / "tomogram.mrc", "--box", BOX, "--processes", 1)
    code, said, err = call(app, "zoo-pack", *words)
    assert code == 0, err
    info = DatasetInfo.load(tmp_path / "rec")
    assert (info.count, info.box, info.kind) == (14, BOX, "subtomograms")
    cut = read_volume(folder / "tomogram.mrc")[0]
    assert cut.shape == SHAPE and info.contrast_sign == -1


def test_scores_are_best_first_and_names_are_kept(folder, tmp_path, pick):
    from zoo.data.formats.star_blocks import read_star_blocks

    out = tmp_path / "new" / "picks.star"
    code, said, _ = pick(
        folder / "tomogram.mrc", "--out", out, "--diameter", 220, "--count", 5, "--tomogram-name", "TS_01",
        "--contrast", "-1",
    )  # fmt: skip
    assert code == 0 and "contrast: as given" in said and "5 picks" in said
    rows = read_star_blocks(str(out))[0]["particles"]
    scores = [float(value) for value in rows["rlnAutopickFigureOfMerit"]]
    assert scores == sorted(scores, reverse=True) and len(scores) == 5
    assert set(rows["rlnTomoName"]) == {"TS_01"}
    table = read_subtomograms(out, folder / "tomogram.mrc", tomogram_name="TS_01")
    assert len(table) == 5


def test_what_is_refused_leaves_nothing_behind(folder, tmp_path, refused):
    out, tomogram = tmp_path / "p.star", folder / "tomogram.mrc"
    assert "no peak scores 900 or more" in refused(tomogram, "--out", out, "--threshold", 900)
    write_volume(tmp_path / "slice.mrc", np.ones((1, 32, 32), np.float32), VOXEL)
    assert "one section is an image" in refused(tmp_path / "slice.mrc", "--out", out)
    write_volume(tmp_path / "bare.mrc", np.ones((16, 16, 16), np.float32), 0.0)
    assert "states no voxel size; give --pixel-size" in refused(tmp_path / "bare.mrc", "--out", out)
    assert "--diameter 3: is 0.15 voxels" in refused(tomogram, "--out", out, "--diameter", 3)
    (tmp_path / "other.star").write_text(
        "data_\nloop_\n_rlnTomoName\n_rlnCoordinateX\n_rlnCoordinateY\n_rlnCoordinateZ\nTS_9 1 2 3\n"
    )
    other = refused(tomogram, "--out", out, "--truth", tmp_path / "other.star")
    assert "no row belongs to tomogram tomogram" in other and "--tomogram-name" in other
    assert not out.exists() and not out.with_suffix(".png").exists()


def test_pose_normalised_records_from_the_command_line(folder, tmp_path, call):
    from zoo_tools.pack import app

    words = ["--tomogram", folder / "tomogram.mrc", "--coordinates", folder / "truth.csv", "--box", 12]
    more = ["--pose-normalise", "--outside", "drop", "--processes", 1, "--tilt-range", -60, 60]
    code, said, err = call(app, "zoo-pack", tmp_path / "rec", *words, *more)
    assert code == 0, err
    assert "each box lies in the frame of what it shows" in said
    assert DatasetInfo.load(tmp_path / "rec").wedge == "mask"
    code, said, err = call(app, "zoo-pack", tmp_path / "rec", *words, *more)
    assert code == 0 and "already packed, nothing to do" in said, err
    code, said, err = call(app, "zoo-pack", "--check", tmp_path / "rec", "--processes", 1)
    assert code == 0 and "whole and consistent" in said, err
