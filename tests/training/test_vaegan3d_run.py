"""The main model through zoo-train: killed and resumed it ends with the same bits."""

import os
import signal
import subprocess
import sys
import time

import pytest

from zoo.training import checkpoint

pytestmark = pytest.mark.slow
WORDS = [
    "--model",
    "vaegan3d",
    "--batch-size",
    "8",
    "--seed",
    "2",
    "--sample-every",
    "0",
    "--strategy",
    "one",
]


def zoo_train(*words):
    """zoo-train as a process."""
    command = [sys.executable, "-c", "from zoo_tools.train import main; main()", *map(str, words)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )


def finish(process):
    output = process.communicate(timeout=500)
    assert process.returncode == 0, output


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """A small set of the embedded particles, packed."""
    from zoo.simulate.embedded import embedded_dataset

    return embedded_dataset(box=32, count_per_class=60, cache_dir=tmp_path_factory.mktemp("cache"))


def test_twelve_steps_are_six_and_kill_and_six(tmp_path, records):
    words = [*WORDS, "--data", records, "--steps", 12, "--checkpoint-every", 6]
    finish(zoo_train(*words, "--out", tmp_path / "whole"))
    process = zoo_train(*words, "--out", tmp_path / "killed")
    deadline = time.monotonic() + 400
    while checkpoint.steps_in(tmp_path / "killed" / "checkpoints") != [6]:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert checkpoint.steps_in(tmp_path / "killed" / "checkpoints") == [6]
    finish(zoo_train("--resume", tmp_path / "killed", "--steps", 12))
    whole, resumed = (
        checkpoint.read(tmp_path / name / "checkpoints" / "step-00000012.npz") for name in ("whole", "killed")
    )
    assert whole.step == resumed.step == 12 and len(whole.arrays) > 100
    names = " ".join(whole.arrays)
    assert "generator_average" in names and "velocity" in names
    assert checkpoint.digest(whole) == checkpoint.digest(resumed)
