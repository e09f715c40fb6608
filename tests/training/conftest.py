"""The toy model, toy records, and ``zoo-train`` in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
STAR = """
data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
_rlnVoltage #3
_rlnSphericalAberration #4
_rlnAmplitudeContrast #5
_rlnImagePixelSize #6
_rlnImageSize #7
_rlnImageDimensionality #8
1 toy 300 2.7 0.1 4.0 16 2

data_particles

loop_
_rlnImageName #1
_rlnDefocusU #2
_rlnDefocusV #3
_rlnDefocusAngle #4
_rlnOpticsGroup #5
"""


@pytest.fixture(scope="session")
def toy():
    """The module toy_model, with its model registered."""
    spec = importlib.util.spec_from_file_location("toy_model", HERE / "toy_model.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["toy_model"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def toy_records(tmp_path_factory) -> Path:
    """Folder of 96 packed particles of 16 px."""
    from zoo.data.formats.mrc import write_stack
    from zoo.data.packing.pack_particles import pack_particles
    from zoo.data.packing.shards import PackSettings

    folder = tmp_path_factory.mktemp("toy")
    rng = np.random.default_rng(5)
    y, x = np.mgrid[-8:8, -8:8]
    blobs = [np.exp(-((x / rng.uniform(2, 5)) ** 2) - (y / rng.uniform(2, 5)) ** 2) for _ in range(96)]
    write_stack(folder / "toy.mrcs", np.array(blobs) + rng.normal(0, 0.2, (96, 16, 16)), 4.0)
    rows = [f"{i + 1:06d}@toy.mrcs {10000 + 50 * i} {10000 + 40 * i} 20.0 1" for i in range(96)]
    (folder / "toy.star").write_text(STAR + "\n".join(rows) + "\n")
    pack_particles(folder / "toy.star", folder / "packed", PackSettings(box=16, contrast=1))
    return folder / "packed"


@pytest.fixture(scope="session")
def train_command(toy_records):
    """Start zoo-train as a process, with the toy unless told: ``train_command("--steps", 3, …)``."""

    def start(*words, environment=None, **options) -> subprocess.Popen:
        arguments = [str(word) for word in words]
        if not {"--resume", "--model"} & set(arguments):
            arguments = ["--model", "toy", "--data", str(toy_records), *arguments]
        return subprocess.Popen(
            [sys.executable, str(HERE / "toy_model.py"), *arguments],
            env={**os.environ, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    return start


def free_ports(count):
    """Ports of loopback that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@pytest.fixture(scope="session")
def run_workers(train_command):
    """Run zoo-train as two workers on loopback; ``outs`` are the words of each alone. What each printed."""

    def run(words, outs):
        workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
        processes = []
        for rank, out in enumerate(outs):
            cluster = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": rank}}
            environment = {"TF_CONFIG": json.dumps(cluster), "OMP_NUM_THREADS": "1"}
            processes.append(train_command(*words, *out, environment=environment))
        printed = []
        try:
            for process in processes:
                printed.append(process.communicate(timeout=300))
                assert process.returncode == 0, printed[-1]
        finally:
            for process in processes:
                process.kill()
        return printed

    return run


@pytest.fixture(scope="session")
def train_in_process(toy, toy_records):
    """Train the toy in this process: returns (run folder, exit code)."""
    from zoo.training.job import train
    from zoo.training.settings import TrainSettings

    def run(**options):
        if "resume" not in options:
            options = {"model": "toy", "data": toy_records, **options}
        return train(TrainSettings(**{"strategy": "one", **options}))

    return run


@pytest.fixture(scope="session")
def newest_state():
    """The newest checkpoint of a run folder."""
    from zoo.runs import checkpoint

    return lambda run: checkpoint.read(checkpoint.latest(Path(run) / "checkpoints"))
