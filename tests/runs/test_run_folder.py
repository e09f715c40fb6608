"""What zoo-train refuses, and what it leaves alone."""

import json

import numpy as np
import pytest

from zoo.errors import ZooError
from zoo.runs import checkpoint
from zoo.runs.run_folder import RunFolder, free_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory, train_in_process):
    """A run of three steps."""
    return train_in_process(
        out=tmp_path_factory.mktemp("runs") / "run", steps=3, log_every=1, sample_every=3
    )[0]


def test_it_holds_everything(finished):
    config = json.loads((finished.path / "config.json").read_text())
    assert config["hyperparameters"] == {"box": 16, "width": 8, "rate": 0.01, "blow_up_at": -1}
    assert config["model"] == "toy" and config["preset"] == "tiny" and config["steps"] == 3
    assert config["data"]["count"] == 96 and config["data"]["voxel_size_angstrom"] == 4.0
    assert {"keras", "numpy", "python"} <= set(config["versions"])
    assert checkpoint.steps_in(finished.checkpoints) == [3]
    assert finished.model_file.is_file() and any(finished.logs.iterdir())
    assert len(finished.metrics.read_text().splitlines()) == 4
    names = {path.name for path in finished.samples.iterdir()}
    assert {"step-00000003-images-rebuilt.png", "step-00000003-map.mrc", "step-00000003-codes.csv"} <= names
    leftovers = [path for path in finished.path.rglob("*") if ".tmp" in path.name]
    assert not leftovers


def test_map_has_the_voxel_size(finished):
    import mrcfile

    with mrcfile.open(finished.samples / "step-00000003-map.mrc") as file:
        assert file.data.shape == (16, 16, 16)
        assert file.voxel_size.x == pytest.approx(4.0)


def test_tensorboard_reads_the_log(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(finished.logs)).Reload()
    assert [event.step for event in events.Scalars("encoder")] == [1, 2, 3]
    written = [float(line.split(",")[2]) for line in finished.metrics.read_text().splitlines()[1:]]
    assert [event.value for event in events.Scalars("encoder")] == pytest.approx(written, rel=1e-5)
    assert events.Images("images-rebuilt")[0].step == 3


def test_model_file_is_the_trained_model(finished, toy, newest_state):
    import keras
    import numpy as np

    model = keras.saving.load_model(finished.model_file, compile=False)
    state = newest_state(finished.path).arrays
    kernel = next(array for name, array in state.items() if "sequential" in name and array.shape == (256, 8))
    assert any(np.array_equal(weight.numpy(), kernel) for weight in model.encoder.weights)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"model": "vaegan"}, "did you mean 'vaegan3d'"),
        ({"preset": "tinny"}, "did you mean 'tiny'"),
        ({"overrides": {"widht": "3"}}, "did you mean 'width'"),
        ({"overrides": {"width": "three"}}, "expected a whole number"),
        ({"overrides": {"box": "20"}}, "holds particles of 16 pixels"),
        ({"steps": 0}, "--steps 0"),
        ({"batch_size": 0}, "--batch-size 0"),
        ({"seed": -1}, "--seed -1"),
        ({"strategy": "two"}, "--strategy two"),
        ({"data": "/nowhere"}, "/nowhere: no such folder"),
    ],
)
def test_bad_options_leave_no_folder(tmp_path, train_in_process, options, words):
    with pytest.raises(ZooError) as error:
        train_in_process(out=tmp_path / "run", **options)
    assert words in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_particle_file_instead_of_records(tmp_path, train_in_process, toy_records):
    star = toy_records.parent / "toy.star"
    with pytest.raises(ZooError, match="pack it first: zoo-pack"):
        train_in_process(out=tmp_path / "run", data=star)


def test_taken_folders(tmp_path, train_in_process, finished):
    with pytest.raises(ZooError, match="holds a run already; continue it with --resume"):
        train_in_process(out=finished.path)
    other = tmp_path / "photos"
    other.mkdir()
    (other / "cat.txt").write_text("meow")
    for overwrite in (False, True):
        with pytest.raises(ZooError, match="is a folder with other files"):
            train_in_process(out=other, overwrite=overwrite)
    assert (other / "cat.txt").read_text() == "meow"
    with pytest.raises(ZooError, match="is a file"):
        train_in_process(out=other / "cat.txt")


def test_overwrite_replaces_a_run_and_keeps_notes(tmp_path, train_in_process):
    run, _ = train_in_process(out=tmp_path / "run", steps=2, sample_every=0)
    (run.path / "notes.txt").write_text("mine")
    again, _ = train_in_process(out=tmp_path / "run", steps=1, sample_every=0, overwrite=True)
    assert checkpoint.steps_in(again.checkpoints) == [1]
    assert (run.path / "notes.txt").read_text() == "mine"


def test_resume_refuses(tmp_path, train_in_process, finished, toy_records):
    empty = tmp_path / "empty"
    empty.mkdir()
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "config.json").write_text('{"a": 1}')
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / "config.json").write_text('{"zoo_run": 1, "mod')
    cases = [
        ({"resume": tmp_path / "none"}, "there is no such folder"),
        ({"resume": empty}, "is not a run folder"),
        ({"resume": foreign}, "was written by something else"),
        ({"resume": torn}, "is damaged at byte"),
        ({"resume": finished.path, "model": "vaegan3d"}, "is a run of toy, not of vaegan3d"),
        ({"resume": finished.path, "steps": 2}, "has 3 steps already"),
        ({"resume": finished.path, "steps": 5, "seed": 9}, "started with --seed 0"),
        ({"resume": finished.path, "steps": 5, "preset": "wide"}, "started with --preset tiny"),
        ({"resume": finished.path, "steps": 5, "batch_size": 8}, "started with --batch-size 16"),
        ({"resume": finished.path, "steps": 5, "overrides": {"width": "4"}}, "started with width=8"),
    ]
    for options, words in cases:
        with pytest.raises(ZooError) as error:
            train_in_process(**options)
        assert words in str(error.value), str(error.value)


def test_resume_notices_other_records(tmp_path, train_in_process, toy_records):
    from zoo.data.packing.pack_particles import pack_particles
    from zoo.data.packing.shards import PackSettings

    run, _ = train_in_process(out=tmp_path / "run", steps=1, sample_every=0)
    pack_particles(toy_records.parent / "toy.star", tmp_path / "other", PackSettings(box=16, contrast=-1))
    with pytest.raises(ZooError, match="holds other records than the run was trained on"):
        train_in_process(resume=run.path, steps=2, data=tmp_path / "other")


def test_damaged_checkpoint_is_named(tmp_path, train_in_process):
    run, _ = train_in_process(out=tmp_path / "run", steps=2, checkpoint_every=1, sample_every=0)
    path = checkpoint.latest(run.checkpoints)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(
        ZooError, match="step-00000002.npz: is not a whole checkpoint.*continue from the one before"
    ):
        train_in_process(resume=run.path, steps=3)
    path.unlink()
    _, code = train_in_process(resume=run.path, steps=3)
    assert code == 0


def test_divergence_stops_before_it_is_saved(tmp_path, train_in_process):
    with pytest.raises(ZooError, match="is nan, the training has diverged; the last good state is of step 2"):
        train_in_process(
            out=tmp_path / "run", steps=9, checkpoint_every=2, sample_every=0, overrides={"blow_up_at": "2"}
        )
    assert checkpoint.steps_in(tmp_path / "run" / "checkpoints") == [2]


def test_free_path_counts_up(tmp_path):
    assert free_path(str(tmp_path / "run")) == tmp_path / "run"
    (tmp_path / "run").mkdir()
    (tmp_path / "run-2").mkdir()
    assert free_path(str(tmp_path / "run")) == tmp_path / "run-3"


def test_open_gives_paths(finished):
    run = RunFolder.open(finished.path, "toy")
    assert run.export == finished.path / "export" / "1"
    assert run.config_hash() == finished.config_hash()


def _matrices(run):
    """Kernels of a finished run's model, in its order."""
    import keras

    model = keras.saving.load_model(run.model_file)
    return [keras.ops.convert_to_numpy(v) for v in model.trainable_variables if len(v.shape) == 2]


def test_a_run_starts_from_the_weights_of_another(tmp_path, train_in_process, finished):
    """One step at rate 0 leaves them where they were; --resume does not take them again."""
    run, _ = train_in_process(
        out=tmp_path / "next", steps=1, seed=5, start_from=finished.path, overrides={"rate": "0.0"}
    )
    assert checkpoint.steps_in(run.checkpoints) == [1]  # steps are counted anew
    before, after = _matrices(finished), _matrices(run)
    assert len(before) == len(after) == 4
    for ours, theirs in zip(after, before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    fresh, _ = train_in_process(out=tmp_path / "fresh", steps=1, seed=5, overrides={"rate": "0.0"})
    assert all((a != b).any() for a, b in zip(_matrices(fresh), before, strict=True))
    with pytest.raises(ZooError, match="is a run already; --start-from is for a new one"):
        train_in_process(resume=run.path, start_from=finished.path)


def test_a_start_that_does_not_fit_leaves_no_folder(tmp_path, train_in_process, finished):
    for source, changes, words in (
        (finished.path, {"width": "4"}, "its weights have other shapes"),
        (tmp_path, {}, "is not a run folder"),
    ):
        with pytest.raises(ZooError, match=words):
            train_in_process(out=tmp_path / "next", steps=1, start_from=source, overrides=changes)
        assert not (tmp_path / "next").exists()
