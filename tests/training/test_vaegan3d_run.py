"""The main model through zoo-train: killed and resumed it ends with the same bits."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from zoo.runs import checkpoint

pytestmark = pytest.mark.slow
WORDS = [
    "--model",
    "vaegan3d",
    "--preset",
    "tiny",
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


SMALL = {
    "tiny": [],
    "default": [
        *("--set", "start_effort=least", "--set", "filters=[8,8,16]", "--set", "encoder_filters=[8,8,16]"),
        *("--set", "noise_filters=8", "--no-results"),
    ],
    "uniform_camera": [
        *("--set", "filters=[8,8,16]", "--set", "encoder_filters=[8,8,16]"),
        *("--set", "siren_width=16", "--set", "noise_filters=8"),
    ],
}
TWO_CPUS = """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from zoo_tools.train import main
main()
"""


# The default, whose weights are less still under Adam, is compared by its mean gradients in
# tests/contract/test_engines.py.
@pytest.mark.parametrize("preset", [preset for preset in SMALL if preset != "default"])
def test_two_mirrored_devices_equal_one(tmp_path, records, preset):
    words = [*WORDS[:-1], "one", "--data", records, "--preset", preset, *SMALL[preset], "--steps", 3]
    # Adam divides a gradient by its own size: where it is zero but for rounding, the weight moves by a share
    # of the learning rate, whatever the rounding was.
    for rate in ("learning_rate", "critic_learning_rate", "encoder_learning_rate"):
        words += ["--set", f"{rate}=1e-4"]
    words += ["--set", "batch_size=8", "--set", "adversarial_batch=4", "--set", "training_steps=3"]
    finish(zoo_train(*words, "--out", tmp_path / "one"))
    words[words.index("one")] = "mirrored"
    command = [sys.executable, "-c", TWO_CPUS, *map(str, words), "--out", str(tmp_path / "two")]
    two = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert two.returncode == 0 and "2 CPU devices (mirrored)" in two.stdout, two
    one, two = (
        checkpoint.read(tmp_path / name / "checkpoints" / "step-00000003.npz") for name in ("one", "two")
    )
    assert len(one.arrays) == len(two.arrays)
    for (name, wanted), found in zip(one.arrays.items(), two.arrays.values(), strict=True):
        if "adam" not in name:
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5, err_msg=name)
