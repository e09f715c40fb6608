"""A run that begins from another: made first in a folder of its own, resumed, named by a person, refused."""

import shutil

import numpy as np
import pytest

from zoo.errors import ZooError
from zoo.models.vaegan3d.config import VAEGAN3DConfig
from zoo.runs import checkpoint
from zoo.runs.run_folder import FIRST_PHASE, RunFolder
from zoo.training.job import train
from zoo.training.settings import TrainSettings, check_words

pytestmark = pytest.mark.slow
SMALL = {name: value for name, value in VAEGAN3DConfig.smallest.items() if name != "box"}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """24 packed particles of 16 pixels."""
    from zoo.simulate.embedded import embedded_dataset

    return embedded_dataset(box=16, count_per_class=8, cache_dir=tmp_path_factory.mktemp("cache"))


def settings(records, out, **changes):
    options = {"model": "vaegan3d", "data": str(records), "overrides": dict(SMALL), "steps": 2, "seed": 3}
    return TrainSettings(**{**options, "sample_every": 0, "strategy": "one", "out": out, **changes})


@pytest.fixture(scope="module")
def whole(records, tmp_path_factory):
    """A finished run with its first phase."""
    run, code = train(settings(records, tmp_path_factory.mktemp("runs") / "whole"))
    assert code == 0
    return run


def arrays(run):
    return checkpoint.read(checkpoint.latest(run.checkpoints)).arrays


def test_the_first_phase_is_a_run_of_its_own_and_results_are_told(whole, capsys):
    first = RunFolder.open(whole.path / FIRST_PHASE, "abinitio3d")
    assert first.model_file.is_file() and not (first.path / "results").exists()
    assert first.config["seed"] == whole.config["seed"] == 3
    results = whole.path / "results"
    text = (results / "particles.star").read_text()
    assert "zooLatent1" in text and "rlnAngleRot" in text and text.count(".mrc") >= 24
    assert (results / "state_1.mrc").is_file() and (results / "state_1_half2.mrc").is_file()
    assert (results / "truth.csv").is_file() and (results / "fsc.csv").is_file()


def test_resumed_before_its_first_step_it_ends_with_the_same_bits(whole, records, tmp_path):
    """Cut off in the first phase, and then before the first checkpoint of its own."""
    shutil.copytree(whole.path, tmp_path / "cut")
    cut = RunFolder.open(tmp_path / "cut")
    first = RunFolder.open(cut.path / FIRST_PHASE)
    shutil.rmtree(cut.checkpoints)
    for run in (cut, first):
        run.model_file.unlink()
    cut.metrics.unlink()
    checkpoint.path_for(first.checkpoints, checkpoint.steps_in(first.checkpoints)[-1]).unlink()
    again, code = train(TrainSettings(resume=cut.path, results=False))
    assert code == 0
    for (name, value), other in zip(arrays(whole).items(), arrays(again).values(), strict=True):
        np.testing.assert_array_equal(value, other, err_msg=name)


def test_a_finished_run_may_be_named_and_nothing_is_made_first(whole, records, tmp_path):
    first = whole.path / FIRST_PHASE
    named, code = train(settings(records, tmp_path / "named", start_from=first, results=False))
    assert code == 0 and not (named.path / FIRST_PHASE).exists() and not (named.path / "results").exists()
    for (name, value), other in zip(arrays(whole).items(), arrays(named).values(), strict=True):
        np.testing.assert_array_equal(value, other, err_msg=name)


def test_known_poses_are_those_of_the_file_to_the_end(records, tmp_path):
    """Poses and half sets of the source come out as they went in, by the run and by its likelihood."""
    from zoo.analysis.latent import likelihood_rows
    from zoo.data.info import DatasetInfo
    from zoo.data.particles import read_particles
    from zoo.ops.fourier_volume import frames_of_euler
    from zoo.serving.open_model import open_model

    overrides = {**SMALL, "poses": "known"}
    run, code = train(settings(records, tmp_path / "known", overrides=overrides))
    assert code == 0
    first = RunFolder.open(run.path / FIRST_PHASE)
    assert first.config["hyperparameters"]["poses"] == "known"
    source = read_particles(records.parent / "particles" / "particles.star")
    found = read_particles(run.path / "results" / "particles.star")
    np.testing.assert_array_equal(found.uid, source.uid)
    frames = frames_of_euler(source.euler_deg())
    np.testing.assert_allclose(frames_of_euler(found.euler_deg()), frames, atol=1e-4)
    np.testing.assert_allclose(found.shift_angstrom(), source.shift_angstrom(), atol=1e-2)
    np.testing.assert_array_equal(found.random_subset, source.random_subset)
    assert (np.arange(len(source)) % 2 + 1 != source.random_subset).any(), "or nothing is shown"
    info = DatasetInfo.load(records)
    rows = likelihood_rows(open_model(run.path), info)
    packed = info.load_table()
    angles = np.stack([packed[name] for name in ("rot_deg", "tilt_deg", "psi_deg")], axis=1)
    np.testing.assert_allclose(frames_of_euler(rows["euler_deg"]), frames_of_euler(angles), atol=1e-4)


@pytest.mark.parametrize("place", ["whole", "other data"])
def test_starts_that_do_not_fit_are_one_line(whole, records, tmp_path, place):
    from zoo.simulate.embedded import embedded_dataset

    start = whole.path / ("" if place == "whole" else FIRST_PHASE)
    words = "is a run of vaegan3d, but this one begins from one of abinitio3d"
    data = records
    if place == "other data":
        data = embedded_dataset(box=16, count_per_class=8, seed=1, cache_dir=tmp_path)
        words = "saw other records than this run's"
    with pytest.raises(ZooError, match=words) as caught:
        check_words(settings(data, tmp_path / "out", start_from=start))
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_fewer_particles_than_classes_leave_nothing_behind(records, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ZooError, match="24 particles for classes=2: expected at least 20 for each class"):
        train(settings(records, out, overrides={**SMALL, "start_effort": "full", "classes": 2}))
    assert not out.exists()


def test_noise_ends_in_one_sentence(whole, records, tmp_path, capsys):
    """A first phase that says it found nothing: no step, no map, exit code 0."""
    from zoo.serving.open_model import load_finished

    start = tmp_path / "start"
    shutil.copytree(whole.path / FIRST_PHASE, start)
    model = load_finished(start)
    model.state["found"] = np.int32(0)
    model.save(start / "model.keras")
    run, code = train(settings(records, tmp_path / "noise", start_from=start))
    printed = capsys.readouterr().out
    assert code == 0 and "no particle was found in the images" in printed and "step 1/" not in printed
    assert not list((run.path / "results").glob("*.mrc"))
