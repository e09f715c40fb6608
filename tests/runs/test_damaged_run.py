"""What a run folder may look like after a fault: each is one line, and nothing in the folder changes."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from zoo.errors import ZooError
from zoo.runs import checkpoint
from zoo.runs.data_source import reopen_data
from zoo.runs.metrics_file import MetricsFile
from zoo.runs.run_config import RESUMED, check_config
from zoo.runs.run_folder import RunFolder, check_free
from zoo.runs.run_lock import LOCK, locked

CONFIG = {
    "zoo_run": 1,
    "model": "toy",
    "preset": "tiny",
    "hyperparameters": {},
    "data": {"source": "folder", "path": "/none", "count": 1, "box": 8, "fingerprint": "x"},
    "seed": 0,
    "batch_size": 8,
    "steps": 20,
    "backend": "tensorflow",
    "mixed_precision": False,
    "start_from": None,
    "log_every": 1,
    "sample_every": 0,
    "checkpoint_every": 5,
}


@pytest.fixture
def folder(tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.json").write_text(json.dumps(CONFIG))
    return run


def refused(call, *words):
    with pytest.raises(ZooError) as error:
        call()
    text = str(error.value)
    assert "\n" not in text and all(word in text for word in words), text


@pytest.mark.parametrize("name", RESUMED)
@pytest.mark.parametrize("value", ["absent", None, "x", [], 1.5, True, float("nan")])
def test_a_config_without_or_with_another_value_is_named(folder, name, value):
    config = dict(CONFIG)
    del config[name]
    if value != "absent":
        config[name] = value
    right = isinstance(value, str) and name in ("preset", "backend") and value != "absent"
    right = right or (value is True and name == "mixed_precision")
    if right:
        check_config(config, folder / "config.json", RESUMED)
        return
    refused(lambda: check_config(config, folder / "config.json", RESUMED), "config.json", name)


def test_a_damaged_description_of_the_data_is_named(folder):
    for data in (None, [], {}, {**CONFIG["data"], "box": "8"}, {**CONFIG["data"], "fingerprint": 3}):
        refused(lambda data=data: reopen_data({"data": data}, None, folder), "config.json", "data")
    refused(lambda: reopen_data({}, None, folder), "config.json", "data is None")


def test_a_config_that_is_a_pipe_does_not_hang(folder):
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")
    refused(lambda: RunFolder.open(folder), "config.json", "named pipe")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"step,a\n1,2\n\xff\xfe\n", "is not a table of text"),
        (b"step,a\n1,2\n\0\n3,4\n", "metrics.csv"),
        (b"name,value\n1,2\n", "does not begin with the column step"),
        (b"step,a,a\n1,2,3\n", "does not begin with the column step"),
        (b"step,a\n1,2\nx,3\n3,4\n", "line 3 is no row of 2 columns"),
        (b"step,a\n1,2\n2\n3,4\n", "line 3 is no row of 2 columns"),
    ],
)
def test_an_odd_metrics_file_is_one_line_and_stays(folder, content, words):
    path = folder / "metrics.csv"
    path.write_bytes(content)
    refused(lambda: MetricsFile(path, 1), "metrics.csv", words)
    refused(lambda: RunFolder.open(folder).last_step(), "metrics.csv", words)
    assert path.read_bytes() == content


def test_a_pipe_or_folder_in_the_place_of_metrics(folder):
    os.mkfifo(folder / "metrics.csv")
    refused(lambda: MetricsFile(folder / "metrics.csv"), "named pipe")
    (folder / "metrics.csv").unlink()
    (folder / "metrics.csv").mkdir()
    refused(lambda: MetricsFile(folder / "metrics.csv"), "is a folder")


def test_the_last_step_of_a_run(folder):
    run = RunFolder.open(folder)
    assert run.last_step() == 0  # stopped before its first checkpoint
    (folder / "metrics.csv").write_text("step,a\n1,2\n4,2\n")
    assert run.last_step() == 0
    (folder / "metrics.csv").write_text("step,a\n1,2\n5,2\n")  # its first checkpoint was due at 5
    refused(run.last_step, "checkpoints: holds no checkpoint, though the run is at step 5")
    (folder / "checkpoints").rmdir()
    (folder / "metrics.csv").unlink()
    (folder / "model.keras").write_text("")
    refused(run.last_step, "checkpoints: holds no checkpoint")
    check_free(folder, overwrite=True)  # it is a run still, and may be replaced
    refused(lambda: check_free(folder), "holds a run already")


@pytest.mark.parametrize("name", ["checkpoints", "logs", "samples"])
def test_a_file_in_the_place_of_a_folder(folder, name):
    if (folder / name).exists():
        (folder / name).rmdir()
    (folder / name).write_text("mine")
    refused(RunFolder.open(folder).last_step, f"{name}: is a file, the run keeps a folder there")


META = {"format": 1, "step": 1, "seed": 0, "config_hash": "", "names": ["a"], "dtypes": ["float32"]}


@pytest.mark.parametrize(
    "change",
    [
        {"step": None},
        {"step": "1"},
        {"step": True},
        {"seed": 1.5},
        {"names": [[1]]},
        {"names": "a"},
        {"names": ["a", "a"], "dtypes": ["float32", "float32"]},
        {"dtypes": []},
        {"dtypes": ["os"]},
        {"dtypes": ["float64"]},
        {"dtypes": ["bfloat16"]},
        {"format": 2},
        {"config_hash": 3},
    ],
)
def test_a_checkpoint_described_wrongly_is_one_line(tmp_path, change):
    path = tmp_path / "a.npz"
    for absent in (False, True):
        meta = {**META, **change}
        if absent:
            for name in change:
                del meta[name]
        stored = {"meta": np.frombuffer(json.dumps(meta).encode(), np.uint8), "v00000": np.ones(3, "f4")}
        np.savez(path, **stored)
        refused(lambda: checkpoint.read(path), "a.npz")


def test_a_renamed_checkpoint_is_noticed(tmp_path):
    checkpoint.write(checkpoint.Checkpoint(8, 0, "", {"a": np.ones(3, "f4")}), tmp_path / "step-00000011.npz")
    refused(lambda: checkpoint.read(tmp_path / "step-00000011.npz"), "after step 8", "step-00000008.npz")


HOLD = """
import sys, time
from zoo.runs.run_lock import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_trainer_is_refused_until_the_first_has_died(tmp_path):
    run = tmp_path / "run"
    first = subprocess.Popen([sys.executable, "-c", HOLD, str(run)], stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout.readline() == "held\n"

        def second():
            with locked(run):
                pass

        refused(second, f"process {first.pid} on {os.uname().nodename} is training in it")
    finally:
        first.kill()
        first.wait()
    assert (run / LOCK).exists()  # the lock ended with its process, not with the file
    began = time.monotonic()
    with locked(run):
        assert (run / LOCK).read_text().split()[0] == str(os.getpid())
    assert time.monotonic() - began < 5 and not (run / LOCK).exists()


def test_a_lock_alone_does_not_make_a_folder_a_run(tmp_path):
    with locked(tmp_path / "run"):
        check_free(tmp_path / "run")
