import json
import subprocess
import sys

import numpy as np

from zoo.data.info import DatasetInfo
from zoo.simulate.embedded import embedded_dataset

CODE = """
import sys
from zoo.simulate.embedded import embedded_dataset
print(embedded_dataset(box=16, count_per_class=40, cache_dir=sys.argv[1]))
"""


def test_made_once_then_kept(tmp_path):
    records = embedded_dataset(box=16, count_per_class=20, sigma=0.5, seed=3, cache_dir=tmp_path)
    info = DatasetInfo.load(records)
    assert (info.count, info.box, info.voxel_size_angstrom, info.contrast_sign) == (60, 16, 20.0, 1)
    assert info.labels == {0: 20, 1: 20, 2: 20}
    before = {path: path.stat().st_mtime_ns for path in records.rglob("*")}
    assert embedded_dataset(box=16, count_per_class=20, sigma=0.5, seed=3, cache_dir=tmp_path) == records
    assert {path: path.stat().st_mtime_ns for path in records.rglob("*")} == before


def test_other_settings_are_other_data(tmp_path):
    folders = {
        embedded_dataset(box=16, count_per_class=4, cache_dir=tmp_path, **changes)
        for changes in ({}, {"sigma": 0.5}, {"seed": 1}, {"shift_max_px": 1.0}, {"apply_ctf": False})
    }
    assert len(folders) == 5


def test_records_hold_the_simulated_images_with_their_noise(tmp_path):
    from zoo.data.records.particle_pipeline import particle_batches

    records = embedded_dataset(box=16, count_per_class=100, sigma=2.0, cache_dir=tmp_path)
    summary = json.loads((records.parent / "particles" / "simulation.json").read_text())
    assert summary["sigma"] == 2.0
    batch = next(iter(particle_batches(DatasetInfo.load(records), batch_size=300, seed=0)))
    images = np.asarray(batch["image"])
    # corners hold almost no particle: what is left there is the noise, not normalised away
    corner = np.concatenate([images[:, :2, :2].ravel(), images[:, -2:, -2:].ravel()])
    assert abs(corner.std() - 2.0) < 0.1


def test_two_processes_that_race_make_one_sound_set(tmp_path):
    racers = [
        subprocess.Popen([sys.executable, "-c", CODE, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = [racer.communicate(timeout=120)[0].strip() for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0]
    assert answers[0] == answers[1]
    from zoo.data.records.check import check_dataset

    assert check_dataset(answers[0], 1, lambda done, total: None).count == 120
    leftovers = [path.name for path in tmp_path.rglob("*.tmp")]
    assert leftovers == []


def test_killed_half_way_is_finished_the_next_time(tmp_path):
    records = embedded_dataset(box=16, count_per_class=40, cache_dir=tmp_path)
    info = (records / "info.json").read_bytes()
    # as a process killed while packing leaves it: particles there, no info.json
    for path in records.iterdir():
        path.unlink() if path.is_file() else None
    assert embedded_dataset(box=16, count_per_class=40, cache_dir=tmp_path) == records
    again, first = json.loads((records / "info.json").read_bytes()), json.loads(info)
    assert [shard["crc32"] for shard in again["shards"]] == [shard["crc32"] for shard in first["shards"]]
