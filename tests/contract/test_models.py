"""What holds for every registered model and preset, in its smallest form."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest

import zoo
from zoo.engines.choose import get_engine
from zoo.errors import ZooError
from zoo.models.base import EpochModel, ZooModel
from zoo.models.capabilities import verbs_of
from zoo.models.endpoint import Endpoint
from zoo.models.gradient_model import GradientModel
from zoo.models.supervised import HELD_BACK, SupervisedModel, Supervision
from zoo.registry import get_entry

# Weights that no loss can move: the last bias of a Wasserstein critic cancels between real and fake.
INERT = {"vaegan3d": {"score/bias"}, "wgan3d": {"score/bias"}}
# Weights that start from a rule, not from a draw: filter banks, coordinates, the falling spectrum of a map,
# poses of particles that were not seen yet, how far half sets can be told; half sets are those of the file.
LAID_OUT = ("gabor/", "grid", "log_amplitude", "table_frame", "table_half", "told_shells")
WAYS = {"players": GradientModel, "loss": SupervisedModel, "epochs": EpochModel}
LONG = ("fa", "faml", "regressor3d", "vaegan3d")
ENTRIES = [get_entry(name) for name in zoo.list_models()]
# One step of a preset is traced for half a minute: all but the default are long tests, and of vaegan3d, which
# quick tests of its own train, that one too.
QUICK = [
    pytest.param(
        entry,
        preset,
        id=f"{entry.name}-{preset}",
        marks=[] if preset == entry.default_preset and entry.name != "vaegan3d" else [pytest.mark.slow],
    )
    for entry in ENTRIES
    for preset in entry.presets
]
# Two trainings of a minute each. Quick tests of resuming are in tests/training (the toy, players),
# tests/contract/test_own_model.py (one loss) and tests/models/abinitio3d (epochs).
RESUMED = [pytest.param(entry, id=entry.name, marks=pytest.mark.slow) for entry in ENTRIES]
# Of each way to learn others are quick: fa is faml with another rule of assignment, vaegan3d begins with a
# whole run of abinitio3d.
FINISHED = [
    pytest.param(entry, id=entry.name, marks=[pytest.mark.slow] if entry.name in LONG else [])
    for entry in ENTRIES
]
DEFAULTS = [pytest.param(entry, entry.default_preset, id=entry.name) for entry in ENTRIES]
FIELDS = [
    pytest.param(entry, field, id=f"{entry.name}-{field.name}")
    for entry in ENTRIES
    for field in entry.config.settings().values()
]


def weights_of(model) -> dict[str, np.ndarray]:
    # A model's own name is another one each time.
    names = [v.path.removeprefix(f"{model.name}/") for v in model.weights]
    values = [np.array(keras.ops.convert_to_numpy(v)) for v in model.weights]
    return {f"{i} {name}": value for i, (name, value) in enumerate(zip(names, values, strict=True))}


def opening(value: np.ndarray, count: int = 16) -> np.ndarray | None:
    """The first numbers of a weight as a unit vector: how a draw begins, whatever its shape and scale."""
    found = value.ravel()[:count].astype(float)
    return found / np.linalg.norm(found) if len(found) == count and np.ptp(found) > 0 else None


def info_for(entry, records):
    role = next(iter(entry.takes))
    return records.get(entry.embedded_set(role), records[entry.takes[role]])


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_an_entry_says_what_the_class_is(entry):
    assert issubclass(entry.cls, ZooModel) and issubclass(entry.cls, WAYS[entry.learns])
    assert (
        entry.summary and entry.paper and entry.place.startswith(f"zoo.models.{entry.place.split('.')[2]}.")
    )
    assert entry.default_preset in entry.presets


@pytest.mark.parametrize(("entry", "field"), FIELDS)
def test_every_value_out_of_range_is_one_line(entry, field):
    wrong = ["a word that is no value", float("nan"), float("inf"), {}]
    wrong += [field.least - 1] if field.least is not None else []
    wrong += [field.most + 1] if field.most is not None else []
    wrong += [field.above] if field.above is not None else []
    if field.type is str and not field.choices:
        wrong = [{}, 3.5]
    for value in wrong:
        with pytest.raises(ZooError) as caught:
            entry.config.read({field.name: value}, entry.name)
        assert field.name in str(caught.value) and "\n" not in str(caught.value)
    assert field.help and "\n" not in field.help


@pytest.mark.parametrize(("entry", "preset"), DEFAULTS)
def test_unfit_data_and_unknown_names_are_one_line(entry, preset, records):
    kind = next(iter(entry.takes.values()))
    other = next(info for info in records.values() if info.kind != kind)
    for arguments, words in (
        ({"info": other}, f"holds {other.kind}, expected {kind}"),
        ({"info": None, "no_such_name": 1}, "no hyperparameter called 'no_such_name'"),
    ):
        with pytest.raises(ZooError, match=words) as caught:
            zoo.create_model(entry.name, preset=preset, **arguments)
        assert "\n" not in str(caught.value)
    if "box" in entry.config.settings():
        with pytest.raises(ZooError, match="box=24 was asked for"):
            info = info_for(entry, records)
            zoo.create_model(entry.name, info, preset, **{**entry.config.smallest, "box": 24})
    with pytest.raises(TypeError):
        zoo.create_model(entry.name, None, preset, **entry.config.smallest).compile(optimiser="adam")


@pytest.mark.parametrize(("entry", "preset"), QUICK)
def test_two_steps_are_finite_and_move_every_weight(entry, preset, make, records, batch_of):
    model, info = make(entry, preset), info_for(entry, records)
    before = weights_of(model)
    learner, batch = model, batch_of(info)
    if entry.learns == "loss":
        learner = Supervision(model, model.target, model.learning)
        batch[HELD_BACK] = np.zeros(4, np.int32)
    engine = get_engine(learner, seed=1, global_batch=4, examples=info.count)
    for _ in range(2):
        logs = {name: float(np.asarray(value)) for name, value in engine.step(batch).items()}
        assert all(math.isfinite(value) for value in logs.values()), logs
    after = weights_of(model)
    trained = {id(v) for v in model.trainable_variables}
    names = [name for name, v in zip(before, model.weights, strict=True) if id(v) in trained]
    still = [name for name in names if np.array_equal(before[name], after[name])]
    assert {name.split(" ", 1)[1] for name in still} <= INERT.get(entry.name, set())
    assert all(np.isfinite(value).all() for value in after.values())
    assert engine.step_index == 2


@pytest.mark.parametrize(("entry", "preset"), DEFAULTS)
def test_the_seed_decides_every_drawn_weight(entry, preset, make):
    # As drawn: what a first phase found is another test's.
    one, same, other = (make(entry, preset, seed, begun=False) for seed in (1, 1, 2))
    first = weights_of(one)
    for name, value in weights_of(same).items():
        np.testing.assert_array_equal(value, first[name], err_msg=name)
    constant = [name for name, value in first.items() if np.ptp(value) == 0]
    alike = [name for name, value in weights_of(other).items() if np.array_equal(value, first[name])]
    laid_out = {name for name in first if any(word in name for word in LAID_OUT)}
    assert set(alike) <= set(constant) | laid_out
    # Nor do other layers of the next seed get the numbers of this one.
    ours, theirs = (
        {name: direction for name, value in weights.items() if (direction := opening(value)) is not None}
        for weights in (
            {name: value for name, value in each.items() if name not in laid_out}
            for each in (first, weights_of(other))
        )
    )
    shared = [(a, b) for a, x in ours.items() for b, y in theirs.items() if a != b and x @ y > 0.999]
    assert not shared


@pytest.mark.parametrize(("entry", "preset"), DEFAULTS)
def test_saved_and_loaded_is_the_same_model(entry, preset, make, tmp_path):
    model = make(entry, preset)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is entry.cls and loaded.get_config() == model.get_config()
    for (name, value), again in zip(weights_of(model).items(), weights_of(loaded).values(), strict=True):
        np.testing.assert_array_equal(value, again, err_msg=name)


@pytest.mark.parametrize(("entry", "preset"), DEFAULTS)
def test_what_it_can_do_has_an_endpoint_and_gives_a_row_for_every_record(entry, preset, make, records):
    from zoo.analysis.rows import rows_of
    from zoo.serving.open_model import RunModel

    model, info = make(entry, preset), info_for(entry, records)
    endpoints = model.endpoints()
    assert all(isinstance(endpoint, Endpoint) for endpoint in endpoints.values())
    assert set(verbs_of(model)) <= set(endpoints)
    assert list(entry.verbs) == verbs_of(entry.cls) == verbs_of(model)
    opened = RunModel(model, "run")
    for verb in verbs_of(model):
        inputs = endpoints[verb].inputs.values()
        if any(each.role not in ("data", "ctf") for each in inputs):
            continue  # of latents or noise, not of records
        found = rows_of(opened, verb, info, batch_size=4, kept=("uid",))
        assert {len(values) for values in found.values()} == {info.count}
        np.testing.assert_array_equal(found["uid"].astype(np.int64), info.load_table()["uid"].view(np.int64))


@pytest.mark.parametrize(("entry", "preset"), DEFAULTS)
def test_a_preview_can_be_drawn_and_read_back(entry, preset, make, records, batch_of, tmp_path):
    from matplotlib.image import imread

    from zoo.data.formats.mrc import read_volume
    from zoo.training.previews import write_preview

    model, info = make(entry, preset), info_for(entry, records)
    pictures = write_preview(tmp_path, 7, model.preview(batch_of(info)), info.voxel_size_angstrom)
    assert pictures and all(imread(path).size for path in pictures.values())
    for path in tmp_path.glob("*.mrc"):
        volume, voxel = read_volume(path)
        assert volume.shape == (info.box,) * 3 and voxel == pytest.approx(info.voxel_size_angstrom)


@pytest.fixture(scope="module")
def train(records, tmp_path_factory):
    """Function: entry, lengths → the run of a training in parts, each up to one of the lengths."""
    from zoo.runs import checkpoint
    from zoo.runs.run_folder import RunFolder
    from zoo.training.job import train
    from zoo.training.settings import TrainSettings

    done = {}

    def cut_off(run):
        """Take from a finished run what it wrote after its last but one checkpoint."""
        checkpoint.path_for(run.checkpoints, checkpoint.steps_in(run.checkpoints)[-1]).unlink()
        run.model_file.unlink()

    def parts(entry, lengths):
        if (entry.name, lengths) in done:
            return done[entry.name, lengths]
        small = {name: value for name, value in entry.config.smallest.items() if name != "box"}
        length = "epochs" if entry.learns == "epochs" else "steps"
        out = tmp_path_factory.mktemp("run") / entry.name
        options = {"model": entry.name, "data": info_for(entry, records).path, "overrides": small, "seed": 5}
        options |= {"batch_size": 4, "sample_every": 0, "out": out}
        if len(lengths) > 1:
            options["results"] = False  # those of the run in one go are looked at
        if entry.config.ends_itself:
            options["checkpoint_every"] = 1
        for i, each in enumerate(lengths):
            if i and entry.config.ends_itself:
                cut_off(RunFolder.open(out))
            wanted = {} if entry.config.ends_itself else {length: each}
            run, code = train(TrainSettings(**options, strategy="one", **wanted))
            assert code == 0
            options = {"resume": out}
        done[entry.name, lengths] = run
        return run

    return parts


@pytest.mark.parametrize("entry", RESUMED)
def test_a_run_resumed_half_way_ends_with_the_same_bits(entry, train):
    from zoo.runs import checkpoint

    runs = train(entry, (2,)), train(entry, (1, 2))
    first, second = (checkpoint.read(checkpoint.latest(run.checkpoints)).arrays for run in runs)
    # Keras numbers the names of layers and optimizers through a process.
    for (name, value), again in zip(first.items(), second.values(), strict=True):
        np.testing.assert_array_equal(value, again, err_msg=name)


@pytest.mark.parametrize("entry", FINISHED)
def test_a_finished_run_is_exported_and_asked(entry, train, records, tmp_path):
    from typer.testing import CliRunner

    from zoo.analysis.rows import rows_of
    from zoo.serving.open_model import open_model
    from zoo_tools import export, infer

    run, info = train(entry, (2,)), info_for(entry, records)
    assert run.model_file.is_file() and (run.export / "saved_model.pb").is_file()
    done = CliRunner().invoke(export.app, [str(run.path), "--out", str(tmp_path / "served")])
    assert done.exit_code == 0, done.output
    opened, served = open_model(run.path), open_model(tmp_path / "served")
    assert opened.verbs == served.verbs and opened.trained_on == served.trained_on != {}
    for verb in opened.verbs:
        inputs = opened.keras_model.endpoints()[verb].inputs.values()
        if any(each.role not in ("data", "ctf") for each in inputs):
            continue
        ours, theirs = (rows_of(model, verb, info, 4) for model in (opened, served))
        assert set(ours) == set(theirs)
        for name, values in ours.items():
            np.testing.assert_allclose(values, theirs[name], rtol=1e-3, atol=1e-3, err_msg=f"{verb} {name}")
    if "align" in opened.verbs:
        out = tmp_path / "aligned.star"
        words = ["align", str(tmp_path / "served"), "--data", info.path, "--out", str(out)]
        done = CliRunner().invoke(infer.app, words)
        assert done.exit_code == 0, done.output
        text = out.read_text()
        assert text.count(".mrc") >= info.count and "rlnAngleRot" in text
        for more in (["--source", str(tmp_path / "gone.star")], ["--stacks", str(tmp_path / "gone")]):
            done = CliRunner().invoke(infer.app, [*words[:-1], str(tmp_path / "late.star"), *more])
            assert done.exit_code and str(tmp_path / "gone") in str(done.exception)
        done = CliRunner().invoke(infer.app, [*words[:-1], str(info.source["path"])])
        assert "is the file that the particles come from" in str(done.exception)
        assert not (tmp_path / "late.star").exists()
    if entry.learns == "epochs":
        assert (run.path / "results" / "particles.star").is_file()
