"""More than one device learns what one device learns, and saves once."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from zoo.errors import ZooError
from zoo.runs import checkpoint
from zoo.training.devices import pick_devices

TWO_CPUS = """
import runpy, sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
OPTIONS = (
    "--steps",
    "5",
    "--log-every",
    "1",
    "--sample-every",
    "5",
    "--checkpoint-every",
    "2",
    "--seed",
    "4",
)


@pytest.fixture(scope="module")
def one_device(tmp_path_factory, train_command, newest_state):
    """State and metrics after 5 steps on one device."""
    run = tmp_path_factory.mktemp("one") / "run"
    process = train_command(*OPTIONS, "--strategy", "one", "--out", run)
    output = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return newest_state(run), read_metrics(run)


def read_metrics(run):
    """metrics.csv as a structured array."""
    return np.genfromtxt(run / "metrics.csv", delimiter=",", names=True)


def assert_same_learning(run, newest_state, one_device, steps=5):
    """The weights and losses of ``run`` are those of one device to 1e-5."""
    state, metrics = one_device
    found = newest_state(run)
    assert found.step == state.step == steps and len(found.arrays) == len(state.arrays)
    for (name, array), wanted in zip(found.arrays.items(), state.arrays.values(), strict=True):
        np.testing.assert_allclose(array, wanted, rtol=0, atol=1e-5, err_msg=name)
    for column in ("critic", "encoder"):
        np.testing.assert_allclose(read_metrics(run)[column], metrics[column], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_mirrored_over_two_devices_equals_one(tmp_path, toy, toy_records, newest_state, one_device):
    run = tmp_path / "run"
    toy = Path(__file__).with_name("toy_model.py")
    words = [toy, "--model", "toy", "--data", toy_records, *OPTIONS, "--strategy", "mirrored", "--out", run]
    done = subprocess.run(
        [sys.executable, "-c", TWO_CPUS, *map(str, words)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "2 CPU devices (mirrored)" in done.stdout
    assert_same_learning(run, newest_state, one_device)
    import keras

    assert keras.saving.load_model(run / "model.keras", compile=False).width == 8


@pytest.mark.slow
def test_two_workers_train_save_once_and_resume(
    tmp_path, toy, toy_records, run_workers, newest_state, one_device
):
    run, elsewhere = tmp_path / "chief", tmp_path / "second"
    words = [*OPTIONS, "--strategy", "multiworker"]
    words[1] = "3"
    printed = run_workers(words, [("--out", run), ("--out", elsewhere)])
    assert "worker 1 of 2" in printed[0][0] and printed[1][0] == ""
    assert checkpoint.steps_in(run / "checkpoints") == [2, 3]
    assert (run / "model.keras").exists() and not elsewhere.exists()
    words = ["--resume", run, "--steps", "5", "--strategy", "multiworker"]
    printed = run_workers(words, [(), ()])
    assert "continued after step 3" in printed[0][0]
    assert_same_learning(run, newest_state, one_device)


def test_a_batch_that_cannot_be_split_is_refused(monkeypatch, toy_records):
    from zoo.data.info import DatasetInfo
    from zoo.training.devices import Devices, batches_for

    class Three:
        num_replicas_in_sync = 3

    with pytest.raises(ZooError, match="--batch-size 16 cannot be split over 3 devices"):
        batches_for(Devices("three", Three()), DatasetInfo.load(toy_records), 16, 0, 0)


def test_cluster_descriptions_are_checked(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    with pytest.raises(ZooError, match="no cluster is described"):
        pick_devices("multiworker")
    monkeypatch.setenv("TF_CONFIG", '{"cluster": ')
    with pytest.raises(ZooError, match="TF_CONFIG is not a cluster description"):
        pick_devices("auto")
    with pytest.raises(ZooError, match="expected one of auto, one"):
        pick_devices("all")
