"""zoo-infer match: subtomograms, templates and nulls → STAR and pictures; going on; refusals."""

import csv
import json
import shutil
import subprocess

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zoo.data.formats.mrc import read_volume, write_volume
from zoo.data.formats.star_blocks import read_star_blocks
from zoo.data.subtomograms import read_subtomograms
from zoo.metrics.alignment import mirror
from zoo.metrics.p_values import smaller_than_uniform
from zoo.simulate.classes import ClassMaps
from zoo.simulate.embedded_complexes import embedded_complexes
from zoo.simulate.subtomogram_settings import SubtomogramSettings
from zoo.simulate.subtomograms import simulate_subtomograms

BOX, VOXEL = 16, 24.0
KNOWN = ("ring", "capped_barrel", "rod", "large_lumps")
QUICK = ("--count", 24, "--step", 30, "--threads", 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """known/ (4 maps), others/ (6 maps), sim/subtomograms.star: 2 of each known one, with little noise."""
    folder = tmp_path_factory.mktemp("match")
    complexes = embedded_complexes(BOX, VOXEL)
    for name, density in zip(complexes.names, complexes.maps, strict=True):
        place = folder / ("known" if name in KNOWN else "others")
        place.mkdir(exist_ok=True)
        if name in KNOWN or len(list(place.iterdir())) < 6:
            write_volume(place / f"{name}.mrc", density, VOXEL)
    maps = np.stack([complexes.maps[complexes.names.index(name)] for name in sorted(KNOWN)])
    settings = SubtomogramSettings(count=2, snr=1.0, quick=True, seed=3, shift_max_voxels=1.0)
    simulate_subtomograms(ClassMaps(maps, VOXEL, tuple(sorted(KNOWN))), folder / "sim", settings)
    return folder


@pytest.fixture(scope="module")
def star(folder):
    return folder / "sim" / "subtomograms.star"


@pytest.fixture
def match(call):
    from zoo_tools.infer import app

    return lambda *arguments: call(app, "zoo-infer", "match", *arguments)


@pytest.fixture
def refused(match):
    def ask(*arguments):
        code, _, err = match(*arguments)
        lines = err.strip().splitlines()
        assert code == 2 and len(lines) == 1 and lines[0].startswith("error: "), (code, err)
        return lines[0]

    return ask


def particles(path):
    return read_star_blocks(str(path))[0]["particles"]


@pytest.fixture(scope="module")
def matched(folder, star, tmp_path_factory):
    """A finished folder."""
    from typer.testing import CliRunner

    from zoo_tools.infer import app

    out = tmp_path_factory.mktemp("matched") / "out"
    said = CliRunner().invoke(
        app,
        [
            str(each)
            for each in (
                "match",
                star,
                "--templates",
                folder / "known",
                "--null",
                folder / "others",
                "--out",
                out,
                "--fdr",
                0.5,
                "--pictures",
                3,
                *QUICK,
            )  # fmt: skip
        ],
        catch_exceptions=False,
    )
    assert said.exit_code == 0
    return out, said.output


def test_every_row_gets_template_score_p_q_and_pose(matched, star):
    out, said = matched
    before, after = particles(star), particles(out / "matches.star")
    assert set(before.columns) <= set(after.columns)
    assert len(after) == len(before)
    for column in set(before.columns) - {"rlnImageName", "rlnCtfImage", "rlnClassNumber"}:
        if not column.startswith(("rlnAngle", "rlnOrigin")):
            assert list(after[column]) == list(before[column]), column
    names = sorted(KNOWN)
    assert list(after.zooTemplate) == [names[int(row) % 4] for row in range(8)]
    p, q = after.zooPValue.astype(float), after.zooQValue.astype(float)
    assert (p > 0).all() and (q >= p - 1e-6).all() and set(after.zooPValueFrom) == {"ranks"}
    rank = after.zooPValueRank.astype(float)
    # none of 24 draws reaches any; of the 6 decoys those count that are not the template itself
    assert set((1 / rank).round(2)) <= {float(1 + 24 + decoys) for decoys in range(7)}
    np.testing.assert_allclose(p, 1 - (1 - rank) ** 4, rtol=1e-4)
    assert "8 subtomograms, 4 templates, 30 nulls" in said and "no less than" in said
    told = f"p-values smaller than uniform ones: p = {smaller_than_uniform(p):.2g} by a one-sided"
    assert told in said, said
    assert "composites" in said


def test_poses_are_those_of_the_simulation(matched, star):
    """In RELION's convention, angles and origins: of the one template without symmetry."""
    truth, found = read_subtomograms(star), read_subtomograms(matched[0] / "matches.star")
    lumps = np.flatnonzero(np.arange(8) % 4 == sorted(KNOWN).index("large_lumps"))

    def turns(table):
        return Rotation.from_euler("ZYZ", table.euler_deg()[lumps], degrees=True)

    assert np.degrees((turns(truth) * turns(found).inv()).magnitude()).max() < 12
    apart = np.linalg.norm(truth.shift_angstrom() - found.shift_angstrom(), axis=1)
    assert np.median(apart) < 0.35 * VOXEL


@pytest.mark.relion
def test_relion_reads_the_star(matched, tmp_path):
    for name in ("matches.star", "passing.star"):
        made = subprocess.run(
            ["relion_star_handler", "--i", matched[0] / name, "--o", tmp_path / name, "--select",
             "rlnAngleTilt", "--minval", "-1", "--maxval", "181"],
            capture_output=True, text=True,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        assert len(particles(tmp_path / name)) == len(particles(matched[0] / name))


def test_passing_rows_are_those_at_the_rate(matched):
    everything, passing = (particles(matched[0] / name) for name in ("matches.star", "passing.star"))
    called = everything[everything.zooQValue.astype(float) <= 0.5]
    assert 0 < len(called) and list(called.zooMatchScore) == list(passing.zooMatchScore)


def test_tables_pictures_and_page(matched):
    out, _ = matched
    with open(out / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    for row in rows:
        scores = {name: float(row[f"score:{name}"]) for name in KNOWN}
        best = max(scores, key=scores.get)
        assert row["template"] == best and float(row["score"]) == pytest.approx(scores[best], rel=1e-5)
        second = sorted(scores, key=scores.get)[-2]
        assert row["second_template"] == second
        assert float(row["p_rank"]) >= float(row["p_share"])
        beaten = {name for name in row if name.startswith("decoy:") and float(row[name]) >= scores[best]}
        assert {f"decoy:{name}" for name in row["beaten_by"].split()} == beaten
    assert sorted(path.name for path in (out / "histograms").iterdir()) == [
        "000001.png", "000002.png", "000003.png"
    ]  # fmt: skip
    page = (out / "index.html").read_text()
    assert page.count("<svg") == 8 and page.count("<a href=") == 3 and 'src="quantiles.png"' in page
    assert (out / "quantiles.png").read_bytes().startswith(b"\x89PNG")
    facts = json.loads((out / "matches.json").read_text())
    assert facts["subtomograms"] == 8 and facts["nulls"] == 30
    assert not (out / "work").exists()


def test_a_run_that_was_killed_goes_on_and_ends_alike(folder, star, matched, tmp_path, match, monkeypatch):
    from zoo.analysis.matching.match_run import MatchRun

    out = tmp_path / "out"
    words = (star, "--templates", folder / "known", "--null", folder / "others", "--out", out, "--fdr", 0.5,
             "--pictures", 3, *QUICK)  # fmt: skip
    whole = MatchRun._match_one

    def dies(self, row):
        if row == 5:
            raise SystemExit(137)
        return whole(self, row)

    with monkeypatch.context() as patch:
        patch.setattr(MatchRun, "_match_one", dies)
        assert match(*words)[0] == 137
    done = {path.name: path.stat().st_mtime_ns for path in (out / "work").iterdir()}
    assert "rows-00000000.npz" in done and "rows-00000004.npz" not in done
    assert not (out / "matches.json").exists()
    code, _, err = match(*words[:-6], "--count", 23, *words[-4:])
    assert code == 2 and "was begun with other settings" in err
    computed = []
    monkeypatch.setattr(MatchRun, "_match_one", lambda self, row: computed.append(row) or whole(self, row))
    code, _, err = match(*words)
    assert code == 0, err
    assert computed == [4, 5, 6, 7]
    assert (out / "scores.csv").read_text() == (matched[0] / "scores.csv").read_text()


def test_subtomograms_of_the_other_hand_are_matched_with_mirror(folder, star, tmp_path, match):
    """As the mirror images of templates and nulls are without it, whitened and to the same resolution."""
    for place in ("known", "others"):
        (tmp_path / place).mkdir()
        for path in (folder / place).iterdir():
            write_volume(tmp_path / place / path.name, mirror(read_volume(path)[0]), VOXEL)
    rows = {}
    for name, root, words in (("with", folder, ["--mirror"]), ("without", tmp_path, [])):
        code, _, err = match(
            star, "--templates", root / "known", "--null", root / "others", "--out", tmp_path / name,
            "--limit", 2, "--count", 8, "--step", 40, "--threads", 1, "--whiten", "--finest", 60, *words,
        )  # fmt: skip
        assert code == 0, err
        with open(tmp_path / name / "scores.csv", newline="") as file:
            rows[name] = list(csv.DictReader(file))
    for one, other in zip(rows["with"], rows["without"], strict=True):
        for key in (f"score:{name}" for name in KNOWN):
            assert float(one[key]) == pytest.approx(float(other[key]), abs=0.01), key


def test_places_in_a_tomogram(folder, tmp_path, match):
    volume = np.random.default_rng(0).normal(0, 0.5, (24, 40, 60)).astype(np.float32)
    maps = {name: read_volume(folder / "known" / f"{name}.mrc")[0] for name in KNOWN}
    for name, x in (("rod", 12), ("capped_barrel", 44)):
        volume[4:20, 12:28, x - 8 : x + 8] += maps[name]
    write_volume(tmp_path / "t.mrc", volume, VOXEL)
    (tmp_path / "picks.csv").write_text("x,y,z\n12,20,12\n44,20,12\n")
    code, said, err = match(
        tmp_path / "picks.csv", "--tomogram", tmp_path / "t.mrc", "--box", BOX, "--tilt-range", -90, 90,
        "--templates", folder / "known", "--null", folder / "others", "--out", tmp_path / "out",
        "--contrast", "+1", *QUICK,
    )  # fmt: skip
    assert code == 0, err
    found = particles(tmp_path / "out" / "matches.star")
    assert list(found.zooTemplate) == ["rod", "capped_barrel"]
    assert found.rlnCoordinateX.astype(float).tolist() == [12.0, 44.0]


def test_a_crop_of_larger_subtomograms_and_templates_of_another_voxel_size(folder, tmp_path, match):
    """Boxes of 32 voxels of 12 Å, brought to 16 of 24 Å, as the templates are."""
    complexes = embedded_complexes(32, VOXEL / 2)
    place = tmp_path / "volumes"
    place.mkdir()
    for name in ("rod", "ring"):
        write_volume(place / f"{name}.mrc", complexes.maps[complexes.names.index(name)], VOXEL / 2)
    code, said, err = match(
        place, "--templates", folder / "known", "--null", folder / "others", "--out", tmp_path / "out",
        "--tilt-range", -90, 90, "--box", BOX, "--contrast", "+1", *QUICK,
    )  # fmt: skip
    assert code == 0, err
    assert "resampled" not in said
    found = particles(tmp_path / "out" / "matches.star")
    assert list(found.zooTemplate) == ["ring", "rod"]
    code, said, err = match(
        place, "--templates", folder / "known", "--null", folder / "others", "--out", tmp_path / "own",
        "--tilt-range", -90, 90, "--contrast", "+1", *QUICK, "--limit", 1,
    )  # fmt: skip
    assert code == 0 and "resampled to voxels of 12 Å: capped_barrel.mrc (24 Å)" in said, (said, err)


BAD = {
    "no null": ((), "one only: --pseudo RUN or --null"),
    "two nulls": (("--null", "{others}", "--pseudo", "run"), "one only"),
    "no draws": (("--null", "{others}", "--count", 0), "--count 0: expected 1 or more"),
    "more draws than maps": (("--null", "{others}", "--no-composites"), "are 6 maps"),
    "rate": (("--null", "{others}", "--fdr", 1.5), "--fdr 1.5"),
    "rate of 0": (("--null", "{others}", "--fdr", 0), "--fdr 0"),
    "no folder": (("--null", "nowhere"), "nowhere: no such file or folder"),
    "empty folder": (("--null", "{empty}"), "holds no maps or atomic models"),
    "regressor alone": (("--null", "{others}", "--regressor", "run"), "--regressor"),
    "step": (("--null", "{others}", "--step", 1), "the step is 4 to 40"),
    "box": (("--null", "{others}", "--box", 64), "--box 64"),
    "finest": (("--null", "{others}", "--finest", 0), "--finest 0: a resolution"),
    "too fine": (("--null", "{others}", "--finest", 30), "the radius is 2 to 7"),
    "shift": (("--null", "{others}", "--max-shift", 99), "0 to box/2"),
    "contrast": (("--null", "{others}", "--contrast", "dark"), "--contrast dark"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_one_line_and_leaves_nothing(folder, star, tmp_path, refused, case):
    words, expected = BAD[case]
    (tmp_path / "empty").mkdir()
    places = {"others": folder / "others", "empty": tmp_path / "empty"}
    words = [str(word).format(**places) for word in words]
    said = refused(star, "--templates", folder / "known", "--out", tmp_path / "out", *words)
    assert expected in said
    assert not (tmp_path / "out").exists()


def test_templates_that_cannot_be_used_are_refused(folder, star, tmp_path, refused):
    rest = ("--null", folder / "others", "--out", tmp_path / "out", *QUICK)
    one = tmp_path / "one"
    one.mkdir()
    shutil.copy(folder / "known" / "rod.mrc", one)
    assert "1 template" in refused(star, "--templates", one, *rest)
    write_volume(one / "nothing.mrc", np.zeros((BOX,) * 3, np.float32), VOXEL)
    assert "nothing.mrc: all voxels are equal" in refused(star, "--templates", one, *rest)
    assert not (tmp_path / "out").exists()


def test_subtomograms_without_a_wedge_are_refused(folder, tmp_path, refused):
    place = tmp_path / "volumes"
    place.mkdir()
    for name in ("rod", "ring"):
        shutil.copy(folder / "known" / f"{name}.mrc", place)
    said = refused(place, "--templates", folder / "known", "--null", folder / "others", "--out",
                   tmp_path / "out", *QUICK)  # fmt: skip
    assert "row 1: no missing wedge is stated" in said and "--tilt-range" in said


def test_draws_that_are_the_template_itself_leave_too_few(folder, star, tmp_path, refused):
    """The templates themselves as null: each is a copy of the best of somebody."""
    said = refused(star, "--templates", folder / "known", "--null", folder / "known", "--no-composites",
                   "--count", 4, "--out", tmp_path / "out", "--step", 30)  # fmt: skip
    assert "--count 4: of 4 draws 3 are not too like" in said


def test_a_finished_folder_is_not_replaced_unasked(folder, star, matched, refused):
    said = refused(star, "--templates", folder / "known", "--null", folder / "others", "--out", matched[0])
    assert "--overwrite" in said
    assert (matched[0] / "matches.json").exists()
