"""The Keras model: state in weights, the same bits as the run without Keras."""

import dataclasses
import types

import keras
import numpy as np
import pytest

from zoo.errors import ZooError
from zoo.models.abinitio3d.abinitio import AbInitio
from zoo.models.abinitio3d.model import AbInitio3D
from zoo.models.abinitio3d.solve import epochs
from zoo.models.abinitio3d.state import initial_state, state_shapes


def steps(small, run, start, stop):
    prepared = None
    ends_update = run.run.ends_update if isinstance(run, AbInitio3D) else run.ends_update
    for step, rows in enumerate(epochs(small.config)):
        if step < start:
            continue
        if step == stop:
            return
        prepared = run.prepare() if prepared is None else prepared
        batch = {
            "image": small.images[rows, :, :, None],
            "ctf": small.ctf[rows],
            "pixel_size_angstrom": np.full(len(rows), 10.0, "f4"),
            "index": rows,
        }
        run.add(run.e_step(batch, prepared))
        if ends_update(step):
            run.m_step()
            prepared = None


def test_weights_hold_all_that_a_run_remembers(small):
    plain = AbInitio(small.config, initial_state(small.config))
    steps(small, plain, 0, 8)
    first = AbInitio3D(**small.config.values())
    steps(small, first, 0, 5)
    second = AbInitio3D.from_config(first.get_config())
    for target, source in zip(second.weights, first.weights, strict=True):
        assert target.name == source.name
        target.assign(source)
    steps(small, second, 5, 8)
    assert int(second.step_counter) == 8
    for name, value in plain.state.items():
        np.testing.assert_array_equal(second.state[name], value, err_msg=name)


def test_labels_and_poses_of_the_records_are_not_read(small):
    """The same bits with any labels and poses beside the images: what is found is found without them."""
    rows, rng = np.arange(40), np.random.default_rng(0)
    model = AbInitio3D(**small.config.values())
    model.state["phase"], model.state["update"] = np.int32(1), np.int32(1)
    model.state["small_maps"] = rng.normal(size=model.state["small_maps"].shape).astype("f4")
    batch = {"image": small.images[rows], "ctf": small.ctf[rows], "pixel_size_angstrom": 10.0, "index": rows}
    told = {
        "label": rng.integers(0, 2, 40),
        "euler_deg": rng.uniform(-180, 180, (40, 3)),
        "shift_angstrom": rng.normal(size=(40, 2)),
    }
    prepared = model.prepare()
    plain, other = model.e_step(batch, prepared), model.e_step({**batch, **told}, prepared)
    assert plain["sum_small"].any()
    for name, value in plain.items():
        np.testing.assert_array_equal(other[name], value, err_msg=name)


def test_weights_are_the_states_and_none_is_trained(small):
    model = AbInitio3D(**small.config.values())
    shapes = state_shapes(small.config)
    assert {
        w.name: (tuple(w.shape), keras.backend.standardize_dtype(w.dtype)) for w in model.weights
    } == shapes
    assert model.trainable_weights == []
    assert set(model.sums) | set(model.tables) < set(shapes)
    np.testing.assert_array_equal(model.state["active"], [1, 1])


def test_is_made_from_the_records_description():
    info = types.SimpleNamespace(
        kind="particles",
        box=48,
        voxel_size_angstrom=4.0,
        count=700,
        path="p",
        load_table=lambda: {"source_row": np.arange(700)},
    )
    model = AbInitio3D.from_data(info, "tiny", classes=2)
    settings = model.settings
    assert (settings.box, settings.count, settings.classes) == (48, 700, 2)
    assert settings.views == (60, 100, 160)
    info.kind = "subtomograms"
    with pytest.raises(ZooError, match="p: holds subtomograms, expected particles"):
        AbInitio3D.from_data(info, "tiny")


def test_fewer_particles_than_classes_need_are_refused_in_one_line():
    info = types.SimpleNamespace(kind="particles", box=48, voxel_size_angstrom=4.0, count=59, path="p")
    with pytest.raises(
        ZooError, match="p: 59 particles for classes=3: expected at least 20 for each"
    ) as caught:
        AbInitio3D.from_data(info, "tiny", classes=3)
    assert "\n" not in str(caught.value)


def test_a_saved_model_opens_with_its_state(small, tmp_path):
    model = AbInitio3D(**dataclasses.replace(small.config, count=100).values())
    model.state["maps"] = np.random.default_rng(0).normal(size=model.state["maps"].shape).astype("f4")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.state["maps"], model.state["maps"])
    assert loaded.settings == model.settings
