"""Compiled kernels are kept for the next process, and what is kept is never out of date."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
OTHER = """
from zoo.kernels import kernel

STEP = 2.0

@kernel(inline="always")
def grown(x):
    return x + STEP
"""
KERNELS = """
import sys
import numpy as np
from zoo.kernels import kernel
from other import STEP, grown

@kernel()
def called(x):
    return grown(x) * 10

@kernel(fastmath={"nsz", "arcp"})
def total(values):
    found = 0.0
    for value in values:
        found += called(value)
    return found

for kind in sys.argv[1].split(","):
    print(total(np.arange(3, dtype=kind)))
print(sum(total.stats.cache_hits.values()), sum(total.stats.cache_misses.values()))
"""


@pytest.fixture
def run(tmp_path):
    """run(types) → what a new process prints: a sum for each type; how many codes it found, and compiled."""
    (tmp_path / "other.py").write_text(OTHER)
    (tmp_path / "kernels.py").write_text(KERNELS)

    def start(types="f4", cache=tmp_path / "cache"):
        environment = {**os.environ, "ZOO_CACHE": str(cache), "PYTHONPATH": str(REPOSITORY)}
        command = [sys.executable, str(tmp_path / "kernels.py"), types]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    def answer(*words, **options):
        process = start(*words, **options)
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        return out.split("\n")[:-1]

    answer.start, answer.folder = start, tmp_path
    return answer


def test_code_is_kept_until_anything_that_decides_it_changes(run):
    assert run() == ["90.0", "0 1"]
    assert run() == ["90.0", "1 0"]
    # a constant of an inlined function, in a file that is not the kernel's
    (run.folder / "other.py").write_text(OTHER.replace("STEP = 2.0", "STEP = 3.0"))
    assert run() == ["120.0", "0 1"]
    # the inlined function itself
    (run.folder / "other.py").write_text(OTHER.replace("x + STEP", "x - STEP"))
    assert run() == ["-30.0", "0 1"]


def test_processes_at_once_do_not_mix_up_their_code_and_what_is_damaged_is_compiled_again(run):
    """The processes begin with different types: all files are written at once, in different orders."""
    processes = [run.start(types) for types in ("f4,f8", "f8,f4")]
    for process in processes:
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0 and out.split("\n")[:2] == ["90.0", "90.0"]
    assert run("f4,f8") == ["90.0", "90.0", "2 0"]
    kept = sorted((run.folder / "cache" / "kernels").iterdir())
    assert [path.name.split("-")[0] for path in kept] == ["called", "called", "total", "total"]
    for path, at in zip(kept[2:], (100, -1), strict=True):
        content = bytearray(path.read_bytes())
        content[at] ^= 1
        path.write_bytes(content)
    assert run("f4,f8") == ["90.0", "90.0", "0 2"]


def test_without_a_folder_to_write_to_it_is_compiled(run):
    (run.folder / "file").write_text("mine")
    assert run(cache=run.folder / "file") == ["90.0", "0 1"]
    assert (run.folder / "file").read_text() == "mine"


def test_code_that_another_user_may_have_written_is_not_read(tmp_path, monkeypatch):
    from zoo.kernels import kernel

    @kernel()
    def doubled(x):
        return 2 * x

    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    assert doubled(2) == 4
    (signature,) = doubled.signatures
    assert doubled._cache.load_overload(signature, doubled.targetctx) is not None
    (path,) = (tmp_path / "kernels").iterdir()
    monkeypatch.setattr(os, "getuid", lambda: path.stat().st_uid + 1)
    if path.stat().st_uid == 0:  # what root wrote, everybody reads
        try:
            os.chown(path, 12345, -1)
        except PermissionError:
            pytest.skip("needs the right to give files away")
    assert doubled._cache.load_overload(signature, doubled.targetctx) is None


WORDS = ["a word"]


def test_what_no_hash_can_tell_is_refused():
    from zoo.kernels import kernel

    @kernel()
    def uses_a_list():
        return len(WORDS)

    with pytest.raises(TypeError, match="uses_a_list: WORDS: a kernel uses numbers, NumPy and kernels"):
        uses_a_list()
    own = 3

    @kernel()
    def uses_what_surrounds_it():
        return own

    with pytest.raises(TypeError, match="cannot hold functions, nor lie in one"):
        uses_what_surrounds_it()


def test_every_kernel_of_the_zoo_is_kept():
    for path in (REPOSITORY / "zoo").rglob("*.py"):
        if path.name != "kernels.py":
            assert not re.search(r"\bnumba\.|import numba|from numba", path.read_text("utf-8")), path
