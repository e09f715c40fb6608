"""A run that was stopped, in whatever way, goes on as if it had not been."""

import csv
import signal
import subprocess
import time

import numpy as np
import pytest

from zoo.runs import checkpoint

EVERY = ("--checkpoint-every", 1, "--log-every", 1, "--sample-every", 0)


def wait_for_step(run, step, process, seconds=120):
    """Wait until the run has a checkpoint of ``step``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (checkpoint.steps_in(run / "checkpoints") or [0])[-1] >= step:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError(f"no step {step} after {seconds} s")


@pytest.fixture(scope="module")
def twelve(tmp_path_factory, train_command, newest_state):
    """(hash of the state, metrics.csv) of 12 steps in one go, in a process of its own."""
    run = tmp_path_factory.mktemp("whole") / "run"
    process = train_command("--steps", 12, "--out", run, *EVERY)
    output = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return checkpoint.digest(newest_state(run)), (run / "metrics.csv").read_text()


def losses(text):
    """metrics.csv without the column that depends on the clock."""
    return [
        {k: v for k, v in row.items() if k != "images_per_second"}
        for row in csv.DictReader(text.splitlines())
    ]


def test_six_and_kill_and_six_are_twelve(tmp_path, train_command, newest_state, twelve):
    run = tmp_path / "run"
    process = train_command("--steps", 12, "--out", run, *EVERY, environment={"TOY_STEP_SECONDS": "0.3"})
    wait_for_step(run, 6, process)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    stopped_at = checkpoint.steps_in(run / "checkpoints")[-1]
    assert 6 <= stopped_at < 12
    process = train_command("--resume", run, "--steps", 12)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert f"continued after step {stopped_at}" in output
    state, metrics = twelve
    assert checkpoint.digest(newest_state(run)) == state
    assert losses((run / "metrics.csv").read_text()) == losses(metrics)


@pytest.mark.parametrize(
    "number, code", [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)]
)
def test_signal_saves_and_leaves(
    tmp_path, train_command, train_in_process, newest_state, twelve, number, code
):
    run = tmp_path / "run"
    process = train_command("--steps", 12, "--out", run, "--checkpoint-every", 1000, "--log-every", 1,
                            "--sample-every", 0, environment={"TOY_STEP_SECONDS": "0.5"})  # fmt: skip
    deadline = time.monotonic() + 120
    while not (run / "metrics.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == code, (output, errors)
    assert "Traceback" not in errors
    assert f"zoo-train --resume {run}" in output
    assert not (run / "model.keras").exists()
    assert train_in_process(resume=run, steps=12)[1] == 0
    assert checkpoint.digest(newest_state(run)) == twelve[0]


def test_a_run_can_be_lengthened(tmp_path, train_in_process, newest_state, twelve):
    run, code = train_in_process(out=tmp_path / "run", steps=6, sample_every=0)
    assert code == 0 and run.model_file.exists()
    longer, code = train_in_process(resume=run.path, steps=12)
    assert code == 0 and longer.config["steps"] == 12
    assert checkpoint.digest(newest_state(run.path)) == twelve[0]


def test_samples_do_not_change_what_is_learned(tmp_path, train_in_process, newest_state, twelve):
    run, _ = train_in_process(out=tmp_path / "run", steps=12, sample_every=2)
    assert checkpoint.digest(newest_state(run.path)) == twelve[0]
    assert len(list(run.samples.glob("*.png"))) == 6 * 3


@pytest.mark.slow
def test_jax_resumes_exactly_and_keeps_to_jax(tmp_path, train_command, newest_state):
    pytest.importorskip("jax")
    jax = {"KERAS_BACKEND": "jax"}
    for name, steps in (("whole", 6), ("halves", 3)):
        process = train_command(
            "--steps", steps, "--out", tmp_path / name, "--sample-every", 3, environment=jax
        )
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0 and "JAX" in output, errors
    process = train_command(
        "--resume", tmp_path / "halves", "--steps", 6, environment={"KERAS_BACKEND": "tensorflow"}
    )
    assert "started with KERAS_BACKEND=jax" in process.communicate(timeout=300)[1]
    process = train_command("--resume", tmp_path / "halves", "--steps", 6, environment=jax)
    assert process.wait(timeout=300) == 0
    whole, halves = (checkpoint.digest(newest_state(tmp_path / name)) for name in ("whole", "halves"))
    assert whole == halves


@pytest.mark.slow
def test_killed_again_and_again_it_ends_the_same(tmp_path, train_command, newest_state, twelve):
    """A seeded campaign: kill -9 at random moments of training and finishing, resume, until it is done."""
    run = tmp_path / "run"
    rng = np.random.default_rng(3)
    words, kills = ("--steps", 12, "--out", run, *EVERY), 0
    for _ in range(8):
        process = train_command(*words, environment={"TOY_STEP_SECONDS": "0.2"})
        # Until it writes, there is nothing to break.
        while process.poll() is None and not (run / "checkpoints").is_dir():
            time.sleep(0.02)
        try:
            output, errors = process.communicate(timeout=float(rng.uniform(2, 20)) if kills < 4 else 300)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
            words = ("--resume", run)
            continue
        assert process.returncode == 0, errors
        break
    state, metrics = twelve
    assert kills and checkpoint.digest(newest_state(run)) == state
    assert losses((run / "metrics.csv").read_text()) == losses(metrics)
    assert not list(run.rglob(".*")), list(run.rglob(".*"))
