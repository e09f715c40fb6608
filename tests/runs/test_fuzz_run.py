"""Any damaged file of a run is read or refused with ZooError, never another exception."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from zoo.config import read_yaml
from zoo.errors import ZooError
from zoo.runs import checkpoint
from zoo.runs.data_source import reopen_data
from zoo.runs.metrics_file import MetricsFile
from zoo.runs.run_config import RESUMED, check_config
from zoo.runs.run_folder import RunFolder

QUICK, SLOW = 60, 2000
WORDS = [
    *(b"null", b"true", b"-1", b"1e999", b"NaN", b"9" * 5000, b'""', b"[]", b"{}", b"[" * 2000, b"1.5"),
    *(b"\0", b"\xff\xfe", b"\n", b",", b":", b'"', b"!!int x", b"2020-13-45", b"&a [*a]", b"step", b"../"),
]
CONFIG = {
    "zoo_run": 1,
    "model": "toy",
    "preset": "tiny",
    "hyperparameters": {"width": 8, "rate": 0.1},
    "data": {"source": "folder", "path": "none", "count": 1, "box": 8, "fingerprint": "x"},
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


def read_config(path: Path) -> None:
    run = RunFolder.open(path.parent)
    check_config(run.config, path, RESUMED)
    run.last_step(), run.config_hash()
    reopen_data(run.config, None, run.path)


def write_checkpoint(path: Path) -> None:
    arrays = {"a": np.arange(60, dtype="f4").reshape(3, 20), "b": np.ones(5, "i8"), "step": np.array(3)}
    checkpoint.write(checkpoint.Checkpoint(3, 0, "hash", arrays), path)


# Name of the file → (how to make a whole one, how to read it).
FILES = {
    "config.json": (lambda path: path.write_text(json.dumps(CONFIG, indent=1)), read_config),
    "metrics.csv": (
        lambda path: path.write_text("step,a,b\n1,2,3\n5,2,3\n9,,4\n"),
        lambda p: MetricsFile(p, 5),
    ),
    "step-00000003.npz": (write_checkpoint, checkpoint.read),
    "some.yaml": (lambda path: path.write_text("latent_dim: 8\nrate: 0.1\nname: [a, b]\n"), read_yaml),
}


def damage(whole: bytes, rng: np.random.Generator) -> bytes:
    """One to three changes: a bit, bytes gone, a part twice, a word put in, or all from a place on cut."""
    data = bytearray(whole)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, len(data) + 1))
        until = min(len(data), at + int(rng.integers(1, 9)))
        way = rng.integers(0, 6)
        if way == 0 and at < len(data):
            data[at] ^= 1 << int(rng.integers(0, 8))
        elif way == 1:
            del data[at:until]
        elif way == 2:
            data[at:at] = data[at:until]
        elif way == 3:
            data[at:at] = WORDS[rng.integers(0, len(WORDS))]
        elif way == 4:
            data[at:until] = WORDS[rng.integers(0, len(WORDS))]
        elif rng.random() < 0.2:
            del data[at:]
    return bytes(data)


def fuzz(folder: Path, name: str, count: int) -> None:
    make, read = FILES[name]
    path = folder / name
    make(path)
    whole = path.read_bytes()
    rng = np.random.default_rng([count, *name.encode()])
    for number in range(count):
        damaged = damage(whole, rng)
        path.write_bytes(damaged)
        try:
            read(path)
        except ZooError as error:
            assert "\n" not in str(error), (number, damaged)
        except Exception as error:
            raise AssertionError(f"{type(error).__name__}: {error}: file {number}: {damaged!r}") from error


@pytest.mark.parametrize("name", FILES)
def test_damaged_files_are_read_or_refused(tmp_path, name):
    fuzz(tmp_path, name, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_many_damaged_files_are_read_or_refused(tmp_path, name):
    fuzz(tmp_path, name, SLOW)
