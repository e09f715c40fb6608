"""Numbers and words that make no sense are refused in one line, before any work, and leave nothing."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from zoo_tools._run import run

HUGE = 10**12
PARTICLES = ["zoo-simulate", "particles", "--count", 2, "--box", 16]
SUBTOMOGRAMS = ["zoo-simulate", "subtomograms", "--count", 1, "--box", 16, "--quick"]
TOMOGRAM = ["zoo-simulate", "tomogram", "--count", 1, "--box", 16]
PACK = ["zoo-pack", "SOURCE", "out", "--box", 16]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A stack of 4 particles of 16 pixels, and a CSV with one place in a map."""
    from zoo.data.formats.mrc import write_stack, write_volume

    folder = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(0)
    write_stack(folder / "a.mrcs", rng.normal(size=(4, 16, 16)), 2.0)
    write_volume(folder / "t.mrc", rng.normal(size=(16, 16, 16)), 2.0)
    (folder / "c.csv").write_text("x,y,z\n8,8,8\n")
    return folder


def refused(capsys, *words):
    from zoo_tools import pack, simulate

    app = {"zoo-pack": pack.app, "zoo-simulate": simulate.app}[words[0]]
    with pytest.raises(SystemExit) as ended:
        run(app, words[0], [str(word) for word in words[1:]])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and error.count("\n") == 1, error
    return error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*PARTICLES, "--box", HUGE], f"--box {HUGE}"),
        ([*PARTICLES, "--box", 0], "--box 0"),
        ([*PARTICLES, "--box", -8], "--box -8"),
        ([*PARTICLES, "--count", HUGE], f"--count {HUGE}"),
        ([*PARTICLES, "--count", 10**9], "the disk has"),
        ([*PARTICLES, "--count", 0], "--count 0"),
        ([*PARTICLES, "--pixel-size", "nan"], "--pixel-size nan"),
        ([*PARTICLES, "--pixel-size", "1e308"], "--pixel-size 1e+308"),
        ([*PARTICLES, "--sigma", "nan"], "--sigma nan"),
        ([*PARTICLES, "--sigma", "1e300"], "--sigma 1e+300"),
        ([*PARTICLES, "--snr", "1e-320"], "--snr 1e-320"),
        ([*PARTICLES, "--snr", "inf"], "--snr inf"),
        ([*PARTICLES, "--defocus", "nan", 1], "defocus"),
        ([*PARTICLES, "--defocus", 1, "1e300"], "--defocus"),
        ([*PARTICLES, "--astigmatism", "1e300"], "--astigmatism"),
        ([*PARTICLES, "--voltage", "nan"], "--voltage nan"),
        ([*PARTICLES, "--voltage", "1e300"], "--voltage 1e+300"),
        ([*PARTICLES, "--cs", "1e300"], "--cs 1e+300"),
        ([*PARTICLES, "--amplitude-contrast", "nan"], "--amplitude-contrast nan"),
        ([*PARTICLES, "--shift", "1e9"], "--shift 1e+09"),
        ([*PARTICLES, "--shift", "-1"], "--shift -1"),
        ([*PARTICLES, "--seed", -1], "--seed -1"),
        ([*PARTICLES, "--out", ""], "an empty word after --out"),
        ([*PARTICLES, "--out="], "an empty word after --out"),
        ([*SUBTOMOGRAMS, "--tilt-step", "1e-9"], "--tilt-step 1e-09"),
        ([*SUBTOMOGRAMS, "--tilt-step", "nan"], "--tilt-step nan"),
        ([*SUBTOMOGRAMS, "--tilt", "nan"], "--tilt nan"),
        ([*SUBTOMOGRAMS, "--snr", "nan"], "--snr nan"),
        ([*SUBTOMOGRAMS, "--defocus", "inf"], "--defocus inf"),
        ([*SUBTOMOGRAMS, "--shift", "1e9"], "--shift 1e+09"),
        ([*SUBTOMOGRAMS, "--count", HUGE], f"--count {HUGE}"),
        ([*SUBTOMOGRAMS, "--records", "file"], "is a file"),
        ([*SUBTOMOGRAMS, "--records", "out"], "is --out too"),
        ([*TOMOGRAM, "--size", HUGE, HUGE, HUGE], "--size"),
        ([*TOMOGRAM, "--membranes", HUGE], f"--membranes {HUGE}"),
        ([*TOMOGRAM, "--fiducials", -1], "--fiducials -1"),
        ([*PACK, "--box", HUGE], f"--box {HUGE}"),
        ([*PACK, "--circle-radius", "1e300"], "radius 1e+300"),
        ([*PACK, "--circle-radius", 8], "radius 8"),
        ([*PACK, "--circle-radius", "nan"], "radius nan"),
        ([*PACK, "--pixel-size", "1e308"], "--pixel-size 1e+308"),
        ([*PACK, "--pixel-size", "nan"], "--pixel-size nan"),
        ([*PACK, "--processes", -3], "--processes -3"),
        ([*PACK, "--processes", 0], "--processes 0"),
        ([*PACK, "--num-workers", 0, "--worker-index", 0], "--num-workers 0"),
        ([*PACK, "--limit", 0], "--limit 0"),
        ([*PACK, "--seed", -1], "--seed -1"),
        (
            ["zoo-pack", "CSV", "out", "--tomogram", "MAP", "--box", 8, "--tilt-range", "nan", 60],
            "--tilt-range",
        ),
    ],
    ids=lambda value: " ".join(str(each) for each in value[-3:]) if isinstance(value, list) else None,
)
def test_it_is_refused(source, tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    places = {"SOURCE": source / "a.mrcs", "CSV": source / "c.csv", "MAP": source / "t.mrc"}
    words = [places.get(word, word) for word in words]
    if words[0] == "zoo-simulate" and not any(str(word).startswith("--out") for word in words):
        words += ["--out", "out"]
    assert said in refused(capsys, *words)
    assert os.listdir(tmp_path) == ["file"]


KILLED = [
    ("zoo-simulate", ["particles", "--count", "40", "--box", "32", "--out", "out", "--overwrite"]),
    (
        "zoo-simulate",
        ["subtomograms", "--count", "6", "--box", "24", "--quick", "--out", "out", "--overwrite"],
    ),
    ("zoo-pack", ["SOURCE", "out", "--box", "16", "--processes", "2"]),
]


def files(folder):
    """Every file under a folder with its bytes, but what names the moment, as the header of a map does."""
    return {
        str(path.relative_to(folder)): path.read_bytes()[1024 if ".mrc" in path.suffix else 0 :]
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("info.json", "simulation.json")
    }


@pytest.mark.slow
@pytest.mark.parametrize(("program", "words"), KILLED, ids=lambda value: str(value[0]))
def test_killed_anywhere_the_next_command_makes_the_same(source, tmp_path, program, words):
    """A seeded campaign: kill -9 after a random time, run again, compare byte for byte, nothing left over."""
    from zoo.data.formats.mrc import write_stack

    write_stack(tmp_path / "many.mrcs", np.random.default_rng(1).normal(size=(3000, 24, 24)), 2.0)
    command = [sys.executable, "-c", f"from zoo_tools.{program[4:]} import main; main()"]
    command += [str(tmp_path / "many.mrcs") if word == "SOURCE" else word for word in words]

    def run_in(folder):
        folder.mkdir(exist_ok=True)
        return subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
        )

    began = time.monotonic()
    assert run_in(tmp_path / "whole").wait() == 0
    lasts = time.monotonic() - began
    wanted = files(tmp_path / "whole")
    killed = 0
    for number, moment in enumerate(np.random.default_rng(7).uniform(0.3, 1.0, 6)):
        folder = tmp_path / str(number)
        process = run_in(folder)
        try:
            process.wait(timeout=moment * lasts)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
        process = run_in(folder)
        error = process.communicate()[1].decode()
        assert process.returncode == 0, error
        assert files(folder) == wanted, number
    assert killed > 0
