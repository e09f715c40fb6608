"""Faults of a training: a refusal changes nothing, what cannot be written is one line, signals count."""

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys

import keras
import pytest

from zoo.errors import ZooError
from zoo.files import whole_path
from zoo.runs import checkpoint
from zoo.training import job


@pytest.fixture
def trained(tmp_path, train_in_process):
    """A finished run of two steps."""
    run, code = train_in_process(out=tmp_path / "run", steps=2, sample_every=0, checkpoint_every=1)
    assert code == 0
    return run


def content(folder):
    """Every file of a folder by name, with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(call, *words):
    with pytest.raises(ZooError) as error:
        call()
    text = str(error.value)
    assert "\n" not in text and all(word in text for word in words), text


def test_a_refused_resume_leaves_the_run_as_it_was(trained, train_in_process):
    before = content(trained.path)
    refused(lambda: train_in_process(resume=trained.path, steps=1), "has 2 steps already")
    refused(lambda: train_in_process(resume=trained.path, steps=9, log_every=0), "--log-every 0")
    assert content(trained.path) == before
    newest = checkpoint.path_for(trained.checkpoints, 2)
    state = checkpoint.read(newest)
    checkpoint.write(checkpoint.Checkpoint(2, state.seed, "other", state.arrays), newest)
    before = content(trained.path)
    refused(lambda: train_in_process(resume=trained.path, steps=9), "another configuration")
    assert content(trained.path) == before


def test_a_finished_run_without_its_checkpoints_is_not_trained_anew(trained, train_in_process):
    for path in trained.checkpoints.iterdir():
        path.unlink()
    for folder_too in (False, True):
        if folder_too:
            trained.checkpoints.rmdir()
        before = content(trained.path)
        refused(lambda: train_in_process(resume=trained.path, steps=9), "holds no checkpoint", "--overwrite")
        assert content(trained.path) == before


HOLD = """
import sys, time
from zoo.runs.run_lock import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(300)
"""


def test_a_second_trainer_is_refused(trained, train_in_process):
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(trained.path)], stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"held\n"
        before = content(trained.path)
        who = f"process {other.pid} on {socket.gethostname()}"
        refused(lambda: train_in_process(resume=trained.path, steps=9), who)
        refused(lambda: train_in_process(out=trained.path, steps=1, overwrite=True), who)
        assert content(trained.path) == before
    finally:
        other.kill()
        other.wait()
    _, code = train_in_process(resume=trained.path, steps=3)
    assert code == 0 and checkpoint.steps_in(trained.checkpoints)[-1] == 3


def test_a_signal_while_finishing_ends_it_and_resume_finishes(tmp_path, train_in_process, monkeypatch):
    @contextlib.contextmanager
    def stopped_half_way(path, **named):
        with whole_path(path, **named) as temporary:
            temporary.write_bytes(b"half a model")
            os.kill(os.getpid(), signal.SIGTERM)
            yield temporary

    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patched:
        patched.setattr(job, "whole_path", stopped_half_way)
        run, code = train_in_process(out=tmp_path / "run", steps=1, sample_every=0)
    assert code == 143 and signal.getsignal(signal.SIGTERM) == before
    assert not run.model_file.exists() and not list(run.path.rglob(".*"))
    _, code = train_in_process(resume=run.path)
    assert code == 0 and run.model_file.exists()


def test_a_signal_while_the_last_state_is_saved_counts(tmp_path, train_in_process, monkeypatch):
    prune = checkpoint.prune

    def stopped_here(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        prune(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "prune", stopped_here)
        run, code = train_in_process(out=tmp_path / "run", steps=1, sample_every=0)
    assert code == 143 and checkpoint.steps_in(run.checkpoints) == [1] and not run.model_file.exists()


@pytest.mark.parametrize("name", ["step-00000001.npz", "model.keras", "metrics.csv", "images-real.png"])
def test_a_full_disk_names_the_file_and_how_to_go_on(tmp_path, train_in_process, monkeypatch, name):
    @contextlib.contextmanager
    def full(path, *arguments, **named):
        with whole_path(path, *arguments, **named) as temporary:
            yield temporary
            if str(path).endswith(name):
                raise OSError(errno.ENOSPC, "No space left on device", str(temporary))

    with monkeypatch.context() as patched:
        patched.setattr("zoo.files.whole_path", full)
        patched.setattr(job, "whole_path", full)
        patched.setattr("zoo.training.previews.whole_path", full)
        run = tmp_path / "run"
        refused(
            lambda: train_in_process(out=run, steps=1, sample_every=1),
            f"{name}: cannot be written: the disk is full",
            f"zoo-train --resume {run}",
        )
    assert not [path for path in run.rglob(".*")]
    _, code = train_in_process(resume=run)
    assert code == 0


def test_what_a_killed_trainer_left_is_cleared(trained, train_in_process):
    host = socket.gethostname()  # and a number that no process has
    left = [
        trained.path / f".model.keras.{host}-99999999.part.keras",
        trained.path / f".config.json.{host}-99999999.part",
        trained.checkpoints / f".step-00000003.npz.{host}-99999999.part",
    ]
    for path in left:
        path.write_bytes(b"half")
    _, code = train_in_process(resume=trained.path)
    assert code == 0 and not any(path.exists() for path in left)


def test_the_state_of_the_process_is_as_it_was(tmp_path, train_in_process, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    policy = keras.config.dtype_policy()
    seen = []

    def stopped(*_):
        os.environ["TF_CONFIG"] = "as of a cluster"
        seen.append(keras.config.dtype_policy().name)
        raise ZooError("stopped")

    monkeypatch.setattr(job, "make_learner", stopped)
    with pytest.raises(ZooError, match="stopped"):
        train_in_process(out=tmp_path / "run", steps=1, mixed_precision=True)
    assert seen == ["mixed_bfloat16"]
    assert keras.config.dtype_policy() == policy and "TF_CONFIG" not in os.environ


def test_a_log_that_is_a_file_is_one_line(trained, train_in_process):
    for path in trained.logs.iterdir():
        path.unlink()
    trained.logs.rmdir()
    trained.logs.write_text("mine")
    before = json.loads((trained.path / "config.json").read_text())
    refused(lambda: train_in_process(resume=trained.path, steps=9), "logs: is a file")
    assert json.loads((trained.path / "config.json").read_text()) == before
