import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from zoo.data.formats.mrc import write_stack

COMMAND = [sys.executable, "-c", "from zoo_tools.pack import main; main()"]


def start(*arguments, env=None, **options):
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
        **options,
    )


def zoo_pack(*arguments, **options):
    """(exit code, stdout, stderr) of zoo-pack."""
    process = start(*arguments, **options)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    rng = np.random.default_rng(0)
    axis = np.arange(32) - 16
    blob = 2 * np.exp(-(axis[:, None] ** 2 + axis**2) / 30)
    path = tmp_path_factory.mktemp("stack") / "blobs.mrcs"
    write_stack(path, blob - rng.normal(size=(200, 32, 32)), 2.0)
    return path


@pytest.fixture(scope="module")
def sparse_stack(tmp_path_factory):
    """2,000 images of 256 pixels, nearly all of them holes: enough work to be interrupted in."""
    path = tmp_path_factory.mktemp("sparse") / "large.mrcs"
    write_stack(path, np.random.default_rng(0).normal(size=(1, 256, 256)), 2.0)
    with open(path, "r+b") as file:
        file.truncate(1024 + 2000 * 256 * 256 * 4)
        file.seek(8)
        file.write(np.int32(2000).tobytes())
    return path


def test_pack_again_and_check(stack, tmp_path):
    out = tmp_path / "set"
    code, text, errors = zoo_pack(stack, out, "--box", 16, "--name", "blobs", "--processes", 2)
    assert code == 0, errors
    assert "contrast: particles are bright (+1)" in text
    assert "packed: 200 particles of 16 pixels at 4.000 Å in 3 shards" in text
    assert (out / "blobs-00002-of-00003.tfrecord").exists()
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    code, text, errors = zoo_pack(stack, out, "--box", 16, "--name", "blobs")
    assert code == 0 and "already packed, nothing to do" in text
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    code, text, errors = zoo_pack("--check", out)
    assert (code, errors) == (0, "") and "all 200 records in 3 shards are whole and consistent" in text


def test_contrast_can_be_given(stack, tmp_path):
    code, text, errors = zoo_pack(stack, tmp_path / "set", "--contrast", "-1", "--no-normalise")
    assert code == 2 and "--box 64 is larger; give --box 32 or smaller" in errors
    code, text, errors = zoo_pack(stack, tmp_path / "set", "--contrast", "-1", "--no-normalise", "--box", 32)
    assert code == 0 and "dark (-1), as given" in text


def test_slurm_array_shares_the_work(stack, tmp_path):
    out, texts = tmp_path / "set", []
    for index in (1, 2, 3):
        env = {"SLURM_ARRAY_TASK_ID": str(index), "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "1"}
        code, text, errors = zoo_pack(stack, out, "--box", 16, env=env)
        assert code == 0, errors
        texts.append(text)
    assert "worker 0 of 3 (from SLURM_ARRAY_TASK_ID)" in texts[0]
    assert "2 shards are left to the other workers" in texts[0] and "1 shards are left" in texts[1]
    assert "packed: 200 particles" in texts[2]


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_check_names_shard_and_record_of_a_damage(stack, tmp_path, damage):
    out = tmp_path / "set"
    assert zoo_pack(stack, out, "--box", 16)[0] == 0
    shard = out / "blobs-00001-of-00003.tfrecord"
    data = bytearray(shard.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
    shard.write_bytes(data if damage == "flip" else data[:-20])
    code, text, errors = zoo_pack("--check", out)
    assert code == 2 and text == ""
    assert len(errors.splitlines()) == 1 and errors.startswith(f"error: {shard}: record ")
    assert ("damaged" if damage == "flip" else "cut short") in errors


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["no.star", "out"], "no.star: no such file"),
        (["STACK"], "no folder to write to"),
        (["STACK", "out", "--contrast", "2"], "--contrast 2: expected auto, +1 or -1"),
        (["STACK", "out", "--num-workers", "2", "--worker-index", "2"], "worker index 2 of 2"),
        (["--check", "out"], "no such folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(stack, tmp_path, arguments, message):
    arguments = [stack if argument == "STACK" else argument for argument in arguments]
    code, text, errors = zoo_pack(*arguments, cwd=tmp_path)
    assert code == 2 and message in errors and len(errors.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_full_disk_is_one_line_and_exit_code_2(stack, tmp_path):
    import resource

    out = tmp_path / "set"
    code, text, errors = zoo_pack(
        stack,
        out,
        "--box",
        32,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000)),
    )
    assert code == 2 and errors.count("\n") == 1 and "cannot be written" in errors
    assert not list(out.glob("*.tfrecord")) and not list(out.glob("**/*.part"))


@pytest.mark.parametrize(
    "number, code, processes",
    [(signal.SIGINT, 130, 2), pytest.param(signal.SIGTERM, 143, 1, marks=pytest.mark.slow)],
)
def test_a_stopped_run_leaves_no_temporary_files_and_goes_on(sparse_stack, tmp_path, number, code, processes):
    for attempt in range(5):
        out = tmp_path / f"set{attempt}"
        process = start(sparse_stack, out, "--box", 64, "--processes", processes, start_new_session=True)
        while not list(out.glob("*.tfrecord")) and process.poll() is None:
            time.sleep(0.005)
        os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        # On a busy machine this process may sleep until the packing has ended: then nothing was stopped.
        if process.returncode != 0:
            break
    assert process.returncode == code and "Traceback" not in errors
    assert not list(out.glob("**/*.part")) and not (out / "info.json").exists()
    written = len(list(out.glob("*.tfrecord")))
    assert 0 < written < 16
    code, text, errors = zoo_pack(sparse_stack, out, "--box", 64, "--processes", processes)
    assert code == 0
    again = int(re.search(r"wrote (\d+) of 16 shards", text)[1])
    assert 16 - written <= again <= 16 - written + processes  # a worker may be stopped before its marker
    assert zoo_pack("--check", out)[0] == 0


def test_help_does_not_import_tensorflow():
    code = """
import sys
from zoo_tools.pack import main
sys.argv = ["zoo-pack", "--help"]
try:
    main()
except SystemExit:
    print("tensorflow" in sys.modules, "numpy" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False False"
