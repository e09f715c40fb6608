"""Every wrong word is answered at once: one line, code 2, before anything imports Keras or TensorFlow."""

import json
import subprocess
import sys

import pytest

# Runs each command in a fork of an interpreter where Keras and its backends cannot be imported: what a person
# waits for, without an interpreter that starts for each. A driver that learns imports what a command has
# imported, and counts that in the cost of every later one, which is never below that of the command alone.
DRIVER = """
import contextlib, importlib, io, json, os, resource, sys
HEAVY = ("keras", "tensorflow", "jax", "torch")

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in HEAVY:
            raise RuntimeError(f"{name} was imported")

def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime

def attempt(name, words):
    from zoo_tools._run import run
    out, err = io.StringIO(), io.StringIO()
    before, known, code = cpu(), set(sys.modules), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            run(importlib.import_module(f"zoo_tools.{name}").app, name, words)
        except SystemExit as left:
            code = left.code or 0
        except RuntimeError as blocked:
            err.write(str(blocked))
            code = -1
    new = [name for name in sys.modules if name not in known]
    said = {"code": code, "out": out.getvalue(), "err": err.getvalue()}
    return {**said, "cpu": cpu() - before + spent, "new": new}

sys.meta_path.insert(0, Blocker())
import typer, zoo_tools._run
spent = cpu()
for line in sys.stdin:
    name, words = json.loads(line)
    reading, writing = os.pipe()
    if not os.fork():
        os.close(reading)
        with os.fdopen(writing, "w") as pipe:
            pipe.write(json.dumps(attempt(name, words)))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = pipe.read()
    os.wait()
    print(answer, flush=True)
    if "learn" in sys.argv:
        before = cpu()
        for module in json.loads(answer)["new"]:
            with contextlib.suppress(ImportError):
                importlib.import_module(module)
        spent += cpu() - before
"""


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """ask(command, *words) → code, out, err and cpu (seconds, the interpreter's start included).

    The cpu may count imports of earlier words of the same command too; with ``alone`` it does not.
    """
    folder = tmp_path_factory.mktemp("cwd")
    drivers = {}

    def driver(command, alone):
        options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": folder}
        how = [] if alone else ["learn"]
        return subprocess.Popen([sys.executable, "-c", DRIVER, *how], **options)

    def answer(command, *words, alone=False):
        key = (command, alone)
        if key not in drivers:
            drivers[key] = driver(*key)
        drivers[key].stdin.write(json.dumps([command, [str(word) for word in words]]) + "\n")
        drivers[key].stdin.flush()
        return json.loads(drivers[key].stdout.readline())

    yield answer
    for process in drivers.values():
        process.stdin.close()
        assert process.wait(timeout=60) == 0
    assert not list(folder.iterdir())  # a refused command leaves nothing behind


def is_quick(ask, command, *words, cpu):
    """Whether the words cost less than a second; what else the machine does also costs processor time."""
    return cpu < 1.0 or min(ask(command, *words, alone=True)["cpu"] for _ in range(3)) < 1.0


@pytest.fixture(scope="module")
def places(tmp_path_factory, packed):
    """Folders and files that words may name."""
    from zoo.data.info import DatasetInfo
    from zoo.registry import resolve_config
    from zoo.runs.data_source import describe
    from zoo.runs.run_folder import RunFolder

    folder = tmp_path_factory.mktemp("places")
    (folder / "full").mkdir()
    (folder / "full" / "thesis.txt").write_text("mine")
    (folder / "places.csv").write_text("x,y,z\n8,8,8\n")
    (folder / "values.yaml").write_text("latent_dim: 0\n")
    (folder / "broken.yaml").write_text("latent_dim: [1\n")

    config = {
        "model": "vaegan3d",
        "preset": "tiny",
        "hyperparameters": resolve_config("vaegan3d"),
        "data": describe(DatasetInfo.load(packed), packed),
        "seed": 0,
        "batch_size": 64,
        "steps": 10,
        "backend": "tensorflow",
        "mixed_precision": False,
        "log_every": 1,
        "sample_every": 0,
        "checkpoint_every": 1,
        "start_from": None,
    }
    RunFolder.create(folder / "run", config)
    averages = {**config, "model": "faml", "preset": "default", "hyperparameters": resolve_config("faml")}
    RunFolder.create(folder / "averages", averages).model_file.write_bytes(b"")
    return {"@PACKED": packed, "@DIR": folder}


TRAIN = [
    ("--model vaegan4d", "there is no model called 'vaegan4d'; did you mean 'vaegan3d'?"),
    ("", "name a model with --model"),
    ("--model no.such.module:Net", "no.such.module:Net: there is no module no"),
    ("--model zoo.errors:Net", "zoo.errors:Net: zoo.errors has no Net"),
    ("--model :Net", ":Net: is no place of a class; write package.module:Class"),
    ("--model vaegan3d --preset tny", "vaegan3d has no preset called 'tny'; did you mean 'tiny'?"),
    (
        "--model vaegan3d --set latnt_dim=3",
        "no hyperparameter called 'latnt_dim'; did you mean 'latent_dim'?",
    ),
    ("--model vaegan3d --set latent_dim=0", "latent_dim=0: expected 1 to 1024"),
    ("--model vaegan3d --set latent_dim=1e30", "expected 1 to 1024"),
    ("--model vaegan3d --set box=none", "box=none: expected a whole number, 8 to 1024 pixels"),
    ("--model vaegan3d --preset tiny --set box=16", "search_rings=8: expected 1 to 7 for a box of 16"),
    ("--model vaegan3d --set box=36", "box=36 cannot be halved 4 times"),
    ("--model vaegan3d --set learning_rate=-1", "learning_rate=-1: expected more than 0 and at most 1"),
    ("--model vaegan3d --set learning_rate=nan", "learning_rate=nan: expected more than 0 and at most 1"),
    ("--model vaegan3d --set batch_size=0", "batch_size=0: expected 1 to 100000"),
    ("--model vaegan3d --set average_decay=2", "average_decay=2: expected at least 0 and less than 1"),
    ("--model faml --set step_deg=0", "step_deg=0: expected 2 to 40 degrees"),
    ("--model faml --set step_deg=nan", "step_deg=nan: expected 2 to 40 degrees"),
    ("--model faml --set coverage=nan", "coverage=nan: expected 0 to 1000"),
    ("--model vaegan3d --set box", "--set box: expected name=value"),
    ("--model vaegan3d --config @DIR/values.yaml", "@DIR/values.yaml: latent_dim=0: expected 1 to 1024"),
    ("--model vaegan3d --config @DIR/broken.yaml", "@DIR/broken.yaml: line 2: is not YAML"),
    ("--model vaegan3d --config @DIR/none.yaml", "@DIR/none.yaml: no such file"),
    ("--model vaegan3d --steps 0", "--steps 0: expected 1 or more"),
    ("--model vaegan3d --steps 99999999999", "--steps 99999999999: expected 1 to 1000000000"),
    ("--model vaegan3d --epochs 3", "--epochs: vaegan3d is trained by steps"),
    ("--model vaegan3d --batch-size -1", "--batch-size -1: expected 1 or more"),
    ("--model vaegan3d --seed -1", "--seed -1: expected 0 to 2147483647"),
    ("--model vaegan3d --log-every 0", "--log-every 0: expected 1 or more"),
    ("--model vaegan3d --sample-every -1", "--sample-every -1: expected 0 or more"),
    ("--model vaegan3d --strategy best", "--strategy best: expected one of auto, one"),
    ("--model vaegan3d --data @DIR/none", "@DIR/none: "),
    ("--model vaegan3d --data @DIR/full", "@DIR/full: "),
    ("--model faml --data @PACKED", "trained on subtomograms"),
    ("--model abinitio3d --poses knwon", "poses=knwon: expected one of find, known"),
    ("--model abinitio3d --poses known --set poses=find", "--poses known and --set poses=find: give one"),
    ("--model wgan3d --poses known", "no hyperparameter called 'poses'"),
    ("--model vaegan3d --preset tiny --poses known", "poses=known: a start takes them"),
    ("--model vaegan3d --data @PACKED --set box=64", "holds particles of 32 pixels, the model was set to 64"),
    ("--model vaegan3d --data maps=@PACKED", "vaegan3d takes --data data=DIR"),
    ("--model vaegan3d --out @DIR/full", "@DIR/full: is a folder with other files in it"),
    ("--model vaegan3d --out @DIR/run", "@DIR/run: holds a run already"),
    ("--model vaegan3d --out @DIR/values.yaml", "@DIR/values.yaml: is a file"),
    ("--model vaegan3d --start-from @DIR/none", "@DIR/none: there is no such folder"),
    ("--model vaegan3d --preset tiny --start-from @DIR/run", "@DIR/run: has no model.keras yet"),
    ("--model vaegan3d --start-from @DIR/run", "@DIR/run: is a run of vaegan3d, but this"),
    ("--model vaegan3d --set generator=network", "give start=abinitio3d and generator=states, or neither"),
    ("--resume @DIR/none", "@DIR/none: there is no such folder"),
    ("--resume @DIR/full", "@DIR/full: is not a run folder"),
    ("--resume @DIR/run --model faml", "@DIR/run: is a run of vaegan3d, not of faml"),
    ("--resume @DIR/run --seed 3", "@DIR/run: was started with --seed 0"),
    ("--resume @DIR/run --set latent_dim=7", "@DIR/run: was started with latent_dim=2"),
    ("--resume @DIR/run --data @DIR/none", "@DIR/none: "),
    ("--modle vaegan3d", "--modle"),
]
OTHERS = [
    ("main", "trian", "trian"),
    ("main", "infer encod x", "encod"),
    ("models", "vaegan4d", "did you mean 'vaegan3d'?"),
    ("models", "vaegan3d --pretrained", "not both"),
    ("infer", "encode @DIR/none --out o.npz", "@DIR/none: no such folder; expected a run folder"),
    ("infer", "encode vaegan3d-tny --out o.npz", "vaegan3d-tny: no such folder"),
    ("infer", "encode vaegan3d-tiny --out o.txt", "o.txt"),
    (
        "infer",
        "encode vaegan3d-tiny --out o.npz",
        "is not a run folder, so it names no data; pass --data DIR",
    ),
    ("infer", "encode @DIR/run --out o.npz", "@DIR/run: has no model.keras yet"),
    ("infer", "encode vaegan3d-tiny --data @DIR/none --out o.npz", "@DIR/none: "),
    ("infer", "cluster @DIR/none --out o", "@DIR/none: no such folder"),
    ("infer", "cluster vaegan3d-tiny --data @PACKED --out @DIR/full", "@DIR/full: exists and is not empty"),
    ("infer", "cluster vaegan3d-tiny --data @PACKED --out o --method best", "best"),
    ("infer", "maps @DIR/none --out o", "@DIR/none: no such folder"),
    ("infer", "maps vaegan3d-tiny --out @DIR/full", "@DIR/full: exists and is not empty"),
    ("infer", "align @DIR/none --out o.star", "@DIR/none: no such folder"),
    ("infer", "align vaegan3d-tiny --data @PACKED --out o.star", "cannot align; it can encode, "),
    ("infer", "encode @DIR/averages --out o.npz", "@DIR/averages: faml cannot encode; it can align"),
    ("pack", "@DIR/none.star o", "@DIR/none.star: no such file"),
    ("pack", "@DIR/places.csv", "no folder to write to: zoo-pack PARTICLES OUT"),
    ("pack", "@DIR/places.csv o --contrast 3", "--contrast 3: expected auto, +1 or -1"),
    ("pack", "@DIR/places.csv o --tomogram @DIR/none.mrc", "@DIR/none.mrc: no such file"),
    ("pack", "@DIR/places.csv o --pose-normalise", "--pose-normalise: boxes are cut again from a tomogram"),
    ("pack", "@DIR/full --check", "@DIR/full: no info.json in it"),
    ("pick", "@DIR/none.mrc --out p.star", "@DIR/none.mrc: no such file"),
    ("pick", "@DIR/full --out p.star", "@DIR/full: is a folder, expected a file"),
    ("pick", "@DIR/places.csv", "--out"),
    ("pick", "@DIR/places.csv --out p.mrc", "p.mrc: picks are written as .star, not .mrc"),
    ("pick", "@DIR/places.csv --out @DIR/places.csv/p.star", "is a file, so nothing can be written in it"),
    ("pick", "@DIR/places.csv --out p.star --mask @DIR/none.mrc", "@DIR/none.mrc: no such file"),
    ("pick", "@DIR/places.csv --out p.star --truth @DIR/none.star", "@DIR/none.star: no such file"),
    ("pick", "@DIR/places.csv --out p.star --sigma 0", "--sigma 0: expected 0.5 to 100 voxels"),
    ("pick", "@DIR/places.csv --out p.star --sigma nan", "--sigma nan: expected 0.5 to 100 voxels"),
    ("pick", "@DIR/places.csv --out p.star --ratio 1", "--ratio 1: expected 1.01 to 4"),
    ("pick", "@DIR/places.csv --out p.star --smooth -1", "--smooth -1: expected 0 to 100 voxels"),
    ("pick", "@DIR/places.csv --out p.star --distance 0", "--distance 0: expected 1 to 10000 voxels"),
    ("pick", "@DIR/places.csv --out p.star --threshold nan", "--threshold nan: expected 0 to 1e+06"),
    ("pick", "@DIR/places.csv --out p.star --count 0", "--count 0: expected 1 or more"),
    ("pick", "@DIR/places.csv --out p.star --exclude-edge -1", "--exclude-edge -1: expected 0 to 100000"),
    ("pick", "@DIR/places.csv --out p.star --contrast 2", "--contrast 2: expected auto, +1 or -1"),
    ("pick", "@DIR/places.csv --out p.star --diameter 0", "--diameter 0: expected more than 0 Å"),
    ("pick", "@DIR/places.csv --out p.star --diameter 200 --sigma 5", "--diameter and --sigma both given"),
    ("pick", "@DIR/places.csv --out p.star --pixel-size 0", "--pixel-size 0: expected more than 0 Å"),
    ("pick", "@DIR/places.csv --out p.star --within 5", "is how near a pick must be to --truth; give that"),
    ("simulate", "particels --out o", "particels"),
    ("simulate", "particles --out o --map @DIR/none.mrc", "@DIR/none.mrc: no such file"),
    ("simulate", "particles --out o --count 0", "--count 0: expected at least 1"),
    ("simulate", "subtomograms --out o --snr-of x", "--snr-of x: expected one of"),
    ("export", "@DIR/none", "@DIR/none: there is no such folder"),
    ("export", "@DIR/run", "@DIR/run: has no model.keras yet"),
    ("export", "@DIR/full", "@DIR/full: is not a run folder"),
]


@pytest.mark.parametrize(("command", "words", "told"), [("train", *each) for each in TRAIN] + OTHERS)
def test_wrong_words_are_answered_before_keras_is_imported(ask, places, command, words, told):
    for name, path in places.items():
        words, told = words.replace(name, str(path)), told.replace(name, str(path))
    answer = ask(command, *words.split())
    assert answer["code"] == 2 and "Traceback" not in answer["err"], answer
    assert told in " ".join(answer["err"].split())
    assert is_quick(ask, command, *words.split(), cpu=answer["cpu"])


def test_lists_are_quick_too(ask):
    for words in ([], ["vaegan3d"], ["faml", "--json"], ["--pretrained"]):
        answer = ask("models", *words)
        assert answer["code"] == 0 and answer["out"], answer
        assert is_quick(ask, "models", *words, cpu=answer["cpu"])


def test_a_driver_that_learns_counts_every_import(ask):
    """The first words of a command cost the same in both; later ones keep what was imported before."""
    first = ask("export", "no such run")
    again, alone = ask("export", "no such run"), ask("export", "no such run", alone=True)
    assert again["new"] == [] and alone["new"] and first["err"] == again["err"] == alone["err"]
    assert again["cpu"] > 0.7 * alone["cpu"]
