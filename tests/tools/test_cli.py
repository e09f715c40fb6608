"""The commands: their help is quick, their errors are one line, their exit codes are right."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = ["zoo", "zoo-train", "zoo-pack", "zoo-pick", "zoo-simulate", "zoo-infer", "zoo-export"]
SUB_COMMANDS = ["train", "pack", "pick", "simulate", "infer", "export", "models"]
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


def test_models_lists_the_registry(call):
    from zoo_tools.models import app

    code, out, _ = call(app, "zoo models")
    assert code == 0 and "vaegan3d" in out and "default*" in out
    assert len({len(line) for line in out.splitlines()}) == 1  # no terminal: no line is broken


def test_a_model_tells_all_that_can_be_set(call):
    import json

    from zoo.registry import get_entry
    from zoo_tools.models import app

    for name in ("vaegan3d", "faml"):
        entry = get_entry(name)
        code, out, _ = call(app, "zoo models", name)
        rows = {line.split()[0]: line for line in out.splitlines() if line}
        for field in entry.config.settings().values():
            line = " ".join(rows[field.name].split())
            assert field.help in line and (field.unit or "") in line, field.name
            assert field.range.removeprefix("one of ") in line, field.name
        code, out, _ = call(app, "zoo models", name, "--json")
        told = json.loads(out)
        as_json = json.loads(json.dumps({preset: dict(values) for preset, values in entry.presets.items()}))
        assert code == 0 and told["presets"] == as_json and told["takes"] == entry.takes
        assert [field["name"] for field in told["hyperparameters"]] == list(entry.config.settings())


def test_a_preset_shows_what_differs_from_the_default(call):
    from zoo_tools.models import app

    _, out, _ = call(app, "zoo models", "faml")
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line}
    assert rows["hyperparameter"] == "hyperparameter type range unit default* paper what it is".split()
    assert rows["candidates"][:7] == ["candidates", "int", "1", "to", "50", "8", "50"]
    assert rows["classes"][:7] == ["classes", "int", "1", "to", "1000", "1", "averages"]
