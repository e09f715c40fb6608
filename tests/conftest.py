"""Fixtures for all tests: the real data, RELION, and a toy data set where a test needs no more."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

# Set before anything imports Keras: TensorFlow's start-up notices are not the tests' output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Test processes side by side: each with BLAS threads for all cores would stand in the others' way.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def _shared_data_folder() -> Path | None:
    named = os.environ.get("ZOO_SHARED_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    return folder if folder.is_dir() else None


def pytest_collection_modifyitems(config, items):
    no_data = _shared_data_folder() is None
    no_relion = shutil.which("relion_project") is None
    for item in items:
        if no_data and "shared_data" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="no real data: set ZOO_SHARED_DATA to its folder"))
        if no_relion and "relion" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="RELION is not installed (Debian package relion)"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real maps, structures, particles and tomograms."""
    folder = _shared_data_folder()
    if folder is None:
        pytest.skip("no real data: set ZOO_SHARED_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root folder of the checkout that the tests lie in."""
    return REPOSITORY


def _seed():
    random.seed(0)  # of which Keras makes the seeds that nobody names
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(0)


@pytest.fixture(autouse=True, scope="module")
def same_random_numbers_in_a_module():
    """For the fixtures that a module shares."""
    _seed()


@pytest.fixture(autouse=True)
def same_random_numbers():
    """Initial weights are the same whichever tests ran before."""
    _seed()


@pytest.fixture(scope="session")
def measured_python():
    """``measured_python(code, *words)`` → what the code prints in a Python whose ``ru_maxrss`` is its own.

    Linux hands the peak of the process that forked on to the program that is executed then, here that of the
    whole test session. A shell between the two has none worth speaking of.
    """

    def run(code, *words, timeout=300):
        command = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", textwrap.dedent(code)]
        done = subprocess.run([*command, *map(str, words)], capture_output=True, text=True, timeout=timeout)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
