import json
import shutil
import socket

import numpy as np
import pytest

from zoo.errors import ZooError
from zoo.serving.checksums import check_files
from zoo.serving.export import METADATA
from zoo.serving.open_model import open_model
from zoo.serving.served import ServedModel


@pytest.fixture(scope="module")
def served(exported):
    return ServedModel(exported)


def test_methods_give_what_the_model_gives(served, toy_model, toy_inputs):
    z, euler, ctf = (toy_inputs[name] for name in ("z", "euler_deg", "ctf"))
    found = served.encode(toy_inputs["image"], ctf)
    expected = toy_model.encode(toy_inputs)
    for name in ("z_mean", "z_logvar"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-6)
    np.testing.assert_allclose(served.density(z), toy_model.density(z), atol=1e-6)
    np.testing.assert_allclose(served.project(z, euler, ctf), toy_model.project(z, euler, ctf), atol=1e-5)
    assert (served.latent_dim, served.box, served.voxel_size_angstrom) == (3, 8, 2.5)
    assert "density" in repr(served) and "serving_default" not in repr(served)


def test_the_seed_decides_the_noise(served, toy_inputs):
    z, euler, ctf = (toy_inputs[name] for name in ("z", "euler_deg", "ctf"))
    first, again, other = (served.generate(z, euler, ctf, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 0.5
    noise = first - served.project(z, euler, ctf)
    assert noise.std() == pytest.approx(1, abs=0.25)
    assert np.abs(np.corrcoef(noise.reshape(2, -1))[0, 1]) < 0.4  # each image has its own


def test_a_missing_ctf_is_an_unknown_one(served, toy_inputs):
    images = toy_inputs["image"]
    found, unknown = served.encode(images), served.encode(images, np.full((2, 9), np.nan))
    np.testing.assert_array_equal(found["z_mean"], unknown["z_mean"])
    assert np.isfinite(found["z_mean"]).all()


def test_lists_and_doubles_are_taken(served, toy_inputs):
    z = toy_inputs["z"]
    np.testing.assert_array_equal(served.density(z.astype(np.float64).tolist()), served.density(z))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: model.density(np.zeros((2, 5))), r"z has shape \(2, 5\), expected \(None, 3\)"),
        (lambda model: model.encode(np.zeros((1, 9, 9, 1)), np.zeros((1, 9))), "image has shape"),
        (lambda model: model.call("classify", z=np.zeros((1, 3))), "has no signature 'classify'"),
        (lambda model: model.call("density", w=np.zeros((1, 3))), r"takes \['z'\], got \['w'\]"),
    ],
)
def test_wrong_arrays_are_told(served, call, message):
    with pytest.raises(ZooError, match=message):
        call(served)


def test_folders_that_are_no_saved_model_are_told(tmp_path, exported):
    with pytest.raises(ZooError, match="has no saved_model.pb"):
        ServedModel(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"\xff not a graph")
    with pytest.raises(ZooError, match="zoo.json: not readable"):
        ServedModel(tmp_path)
    (tmp_path / METADATA).parent.mkdir()
    metadata = json.loads((exported / METADATA).read_text())
    checksums = {"saved_model.pb": metadata["crc32"]["saved_model.pb"]}
    (tmp_path / METADATA).write_text(json.dumps({**metadata, "crc32": checksums}))
    with pytest.raises(ZooError, match="saved_model.pb: is not the file that was exported"):
        ServedModel(tmp_path)
    del metadata["crc32"]  # exported before checksums were written
    (tmp_path / METADATA).write_text(json.dumps(metadata))
    with pytest.raises(ZooError, match="TensorFlow cannot load it") as told:
        ServedModel(tmp_path)
    assert "\n" not in str(told.value)


def test_a_flipped_bit_anywhere_is_one_line(tmp_path, exported):
    folder = tmp_path / "1"
    shutil.copytree(exported, folder)
    for name in json.loads((exported / METADATA).read_text())["crc32"]:
        whole = (exported / name).read_bytes()
        for place in {0, len(whole) // 2, len(whole) - 1} if whole else ():
            damaged = bytearray(whole)
            damaged[place] ^= 4
            (folder / name).write_bytes(damaged)
            with pytest.raises(ZooError, match=f"{name}: is not the file that was exported") as told:
                ServedModel(folder)
            assert "\n" not in str(told.value)
        (folder / name).unlink()
        with pytest.raises(ZooError, match="no such"):
            ServedModel(folder) if name != "saved_model.pb" else check_files(folder, {name: 0})
        (folder / name).write_bytes(whole)
    assert ServedModel(folder).latent_dim == ServedModel(exported).latent_dim


def test_a_run_folder_is_opened_by_its_own_model(tmp_path, exported):
    """Not by a SavedModel that somebody put there: its graph would run."""
    shutil.copytree(exported, tmp_path / "run" / "7")
    assert isinstance(open_model(tmp_path / "run"), ServedModel)
    (tmp_path / "run" / "config.json").write_text('{"zoo_run": 1, "model": "vaegan3d"}')
    with pytest.raises(ZooError, match="has no model.keras yet"):
        open_model(tmp_path / "run")


@pytest.mark.parametrize("state", ["old", "ready"])
@pytest.mark.parametrize("named", ["served", "served/1"])
def test_an_export_whose_process_was_killed_between_two_names_is_opened(tmp_path, exported, state, named):
    left = tmp_path / "served" / f".1.{socket.gethostname()}-99999999.{state}"
    shutil.copytree(exported, left)
    assert isinstance(open_model(tmp_path / named), ServedModel)
    assert [path.name for path in (tmp_path / "served").iterdir()] == ["1"]
