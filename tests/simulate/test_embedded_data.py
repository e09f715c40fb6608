"""The embedded data set of each kind: made once, by one of several processes, and what it suggests."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from zoo.data.formats.mrc import read_volume
from zoo.data.info import DatasetInfo
from zoo.data.kinds import kind_of
from zoo.data.records.check import check_dataset
from zoo.data.records.numpy_subtomograms import sequential_arrays
from zoo.errors import ZooError
from zoo.simulate.embedded_data import EMBEDDED, embedded, embedded_subtomograms, suggested_settings

CODE = """
import sys
from pathlib import Path
from zoo.simulate.embedded_data import embedded_subtomograms
print(embedded_subtomograms(16, sys.argv[1], count_per_class=3))
"""


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return embedded("subtomograms", 16, tmp_path_factory.mktemp("cache"))


def test_subtomograms_of_two_complexes_with_a_wedge(records):
    info = check_dataset(records, 1)
    assert (info.kind, info.count, info.box, info.voxel_size_angstrom) == ("subtomograms", 60, 16, 20.0)
    assert info.labels == {0: 30, 1: 30}
    (batch,) = sequential_arrays(info, 60)
    for angle, measured in ((0, True), (55, True), (70, False), (90, False)):  # from x towards the beam, z
        x, z = 5 * np.cos(np.deg2rad(angle)), 5 * np.sin(np.deg2rad(angle))
        weights = batch["wedge"][:, 8 + round(z), 8, 8 + round(x)]
        assert (weights > 0.01).all() == measured, angle
    summary = json.loads((records.parent / "subtomograms" / "simulation.json").read_text())
    np.testing.assert_allclose(summary["snr"], 0.1, rtol=0.2)
    truths = [read_volume(records.parent / "subtomograms" / "maps" / f"class_{k}.mrc")[0] for k in (0, 1)]
    assert np.corrcoef(truths[0].ravel(), truths[1].ravel())[0, 1] < 0.9


def test_made_once_then_kept(records):
    before = {path: path.stat().st_mtime_ns for path in records.rglob("*")}
    assert embedded("subtomograms", 16, records.parent.parent) == records
    assert {path: path.stat().st_mtime_ns for path in records.rglob("*")} == before


def test_what_a_killed_process_left_is_finished(records, tmp_path):
    """The volumes are there, the records are not: they are packed from these volumes."""
    import shutil

    folder = tmp_path / records.parent.name
    shutil.copytree(records.parent / "subtomograms", folder / "subtomograms")
    star = (folder / "subtomograms" / "subtomograms.star").stat().st_mtime_ns
    again = embedded("subtomograms", 16, tmp_path)
    assert (folder / "subtomograms" / "subtomograms.star").stat().st_mtime_ns == star
    crcs = [[shard.crc32 for shard in DatasetInfo.load(each).shards] for each in (records, again)]
    assert crcs[0] == crcs[1]


def test_two_processes_that_race_make_one_sound_set(tmp_path):
    racers = [
        subprocess.Popen([sys.executable, "-c", CODE, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = [racer.communicate(timeout=240)[0].strip() for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0]
    assert answers[0] == answers[1]
    assert check_dataset(answers[0], 1).count == 6
    assert len(list(tmp_path.iterdir())) == 1


def test_particles_are_those_there_always_were(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(
        "zoo.simulate.embedded.embedded_dataset",
        lambda *values, **options: made.append((values, options)) or tmp_path,
    )
    assert embedded("particles", cache_dir=tmp_path) == tmp_path
    embedded("particles", 48)
    assert made == [((), {"cache_dir": tmp_path}), ((48,), {"cache_dir": None})]


def test_what_the_data_suggest():
    assert suggested_settings("subtomograms") == {"classes": 2}
    assert suggested_settings("particles") == {}
    assert suggested_settings("micrographs") == {}
    suggested_settings("subtomograms")["classes"] = 5
    assert EMBEDDED["subtomograms"].suggested == {"classes": 2}


def test_bad_input_is_one_line(tmp_path):
    with pytest.raises(ZooError, match="no embedded micrographs: name a folder made by zoo-pack with --data"):
        embedded("micrographs", cache_dir=tmp_path)
    with pytest.raises(ZooError, match="--box 15"):
        embedded_subtomograms(15, tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(ZooError, match="the cache cannot be written"):
        embedded_subtomograms(16, tmp_path / "file")


def test_embedded_maps_are_fifteen_unlike_complexes(tmp_path):
    info = DatasetInfo.load(embedded("maps", 32, tmp_path))
    assert (info.kind, info.count, info.box) == ("maps", 15, 32)
    assert info.voxel_size_angstrom == pytest.approx(12.0)
    assert embedded("maps", 32, tmp_path) == Path(info.path)
    maps = np.concatenate([batch["map"][..., 0] for batch in kind_of(info).sequential_batches(info, 4)])
    assert maps.shape == (15, 32, 32, 32) and np.isfinite(maps).all()
    np.testing.assert_allclose(maps.std(axis=(1, 2, 3)), 1, rtol=0.01)
    border = max(np.abs(np.moveaxis(maps, axis, 1)[:, [0, -1]]).max() for axis in (1, 2, 3))
    assert border < 0.02 * maps.max()
    flat = maps.reshape(15, -1) - maps.mean(axis=(1, 2, 3))[:, None]
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    assert (flat @ flat.T - np.eye(15)).max() < 0.85


def test_labelled_cubes_cover_a_tomogram_with_what_every_voxel_is(tmp_path):
    from zoo.data.formats.mrc import read_volume
    from zoo.data.records.numpy_records import load_records

    info = DatasetInfo.load(embedded("labelled cubes", 16, tmp_path))
    assert info.label_names() == ["background", "globule", "membrane", "fiducial"]
    assert info.count == 8 * 8 * 2 and info.normalisation["method"] == "tomogram"
    folder = Path(info.path).parent / "tomogram"
    truth = read_volume(folder / "labels.mrc")[0]
    names = (folder / "labels.names.txt").read_text().split()[1::2]
    assert names == ["background", "large_lumps", "barrel", "tripod", "membrane", "fiducial"]
    counts = np.bincount(truth.astype(int).ravel(), minlength=6)
    wanted = [counts[0], counts[1:4].sum(), counts[4], counts[5]]
    assert [info.voxel_labels[k] for k in range(4)] == wanted and min(wanted) > 0
    # what is labelled is where the density is
    records = load_records(info)
    grey, labels = records["volume"][..., 0].astype(float), records["voxel_labels"]
    assert all(grey[labels == k].mean() > grey[labels == 0].mean() + 0.3 for k in (1, 2, 3))
    assert embedded("labelled cubes", 16, tmp_path) == Path(info.path)
    assert suggested_settings("labelled cubes") == {}
