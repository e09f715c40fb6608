"""The commands: their help is quick, their errors are one line, their exit codes are right."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = ["zoo", "zoo-train", "zoo-pack", "zoo-simulate", "zoo-infer", "zoo-export"]
SUB_COMMANDS = ["train", "pack", "simulate", "infer", "export", "models"]
MODULE = {"zoo": "main"}


def program(command):
    """Words that run an entry point of setup.cfg with this Python, installed or not."""
    module = MODULE.get(command, command.removeprefix("zoo-"))
    return [sys.executable, "-c", f"from zoo_tools.{module} import main; main()"]


def run(command, *words, **environment):
    """Run a command; wide, so that no line is wrapped."""
    return subprocess.run(
        [*program(command), *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200", **environment},
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_help_takes_less_than_half_a_second(command):
    def cpu():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    seconds = []
    for _ in range(3):
        # Processor time: what else the machine does is not the command's fault.
        before = cpu()
        done = run(command, "--help")
        seconds.append(cpu() - before)
        assert done.returncode == 0 and "Usage" in done.stdout, done.stderr
    assert min(seconds) < 0.5


@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_nothing_heavy(command):
    script = (
        "import sys; sys.argv[1:] = ['--help']\n"
        f"from zoo_tools.{MODULE.get(command, command.removeprefix('zoo-'))} import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([n for n in ('tensorflow', 'keras', 'jax', 'numpy', 'scipy', 'pandas') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


def test_zoo_lists_and_runs_all_commands():
    listing = run("zoo", "--help").stdout
    for name in SUB_COMMANDS:
        assert f" {name} " in listing
    assert run("zoo", "train", "--help").stdout.count("--resume") >= 1
    assert run("zoo", "infer", "encode", "--help").returncode == 0
    unknown = run("zoo", "trian")
    assert unknown.returncode == 2 and "trian" in unknown.stderr


def test_entry_points_are_installed():
    from importlib.metadata import entry_points

    found = {
        point.name: point.value for point in entry_points(group="console_scripts") if "zoo" in point.value
    }
    assert set(COMMANDS) <= set(found)
    for value in found.values():
        module, _, function = value.partition(":")
        assert function == "main" and module.startswith("zoo_tools.")
        assert (Path(__file__).parents[2] / "tools" / f"{module.partition('.')[2]}.py").exists()


def test_bad_input_is_one_line_and_code_2(tmp_path):
    done = run("zoo-train", "--model", "vaegan4d", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert (
        done.stderr.splitlines()[-1] == "error: there is no model called 'vaegan4d'; did you mean 'vaegan3d'?"
    )
    assert "Traceback" not in done.stderr and not (tmp_path / "run").exists()


def test_debug_shows_the_traceback(tmp_path):
    for words in (["--debug", "--resume", tmp_path / "none"], ["--resume", tmp_path / "none", "--debug"]):
        done = run("zoo-train", *words)
        assert done.returncode == 1 and "Traceback" in done.stderr and "ZooError" in done.stderr


def test_a_full_disk_is_told(monkeypatch, capsys):
    from zoo_tools import _run

    app = _run.make_app("for tests")

    @app.command()
    def write():
        raise OSError(28, "No space left on device", "/data/a.mrcs")

    with pytest.raises(SystemExit) as stop:
        _run.run(app, "write", [])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: /data/a.mrcs: the disk is full;")


def test_interrupt_is_130(capsys):
    from zoo_tools import _run

    app = _run.make_app("for tests")

    @app.command()
    def wait():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stop:
        _run.run(app, "wait", [])
    assert stop.value.code == 130


@pytest.mark.parametrize("words", [["train", "--help"], ["models"]])
def test_a_reader_that_leaves_early_is_no_error(words):
    reader = subprocess.Popen([sys.executable, "-c", "pass"], stdin=subprocess.PIPE)
    reader.wait()
    done = subprocess.run([*program("zoo"), *words], stdout=reader.stdin, stderr=subprocess.PIPE, text=True)
    assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr


def test_models_lists_the_registry():
    done = run("zoo", "models")
    assert done.returncode == 0 and "vaegan3d" in done.stdout and "tiny*" in done.stdout


def test_assignments_are_checked(tmp_path):
    done = run("zoo-train", "--model", "vaegan3d", "--set", "box", "--out", tmp_path / "run")
    assert done.returncode == 2 and "--set box: expected name=value" in done.stderr
