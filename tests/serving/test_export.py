import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.errors import ZooError
from zoo.models.endpoint import Endpoint, Input
from zoo.serving.export import METADATA, export_model
from zoo.serving.seeded import seeded

# The import of `zoo` is blocked as well: it may be installed in the site folder that TensorFlow is in.
STRANGER = """
import sys
import numpy as np

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('zoo', 'zoo_tools'):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocker())
assert sys.argv[3] not in sys.path, sys.path
try:
    import zoo
except ModuleNotFoundError:
    pass
else:
    raise SystemExit('zoo is importable here')
import tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
inputs = dict(np.load(sys.argv[2]))
outputs = {}
for name, function in loaded.signatures.items():
    wanted = function.structured_input_signature[1]
    for key, value in function(**{key: tf.constant(inputs[key]) for key in wanted}).items():
        outputs[f'{name}/{key}'] = value.numpy()
np.savez(sys.argv[2].replace('inputs', 'outputs'), **outputs)
"""


def call_endpoint(model, name, inputs):
    endpoint = seeded(model.endpoints()[name])
    found = endpoint.function(**{key: keras.ops.convert_to_tensor(inputs[key]) for key in endpoint.inputs})
    return {key: np.asarray(value) for key, value in found.items()}


def run_elsewhere(code, *arguments, folder):
    """Run code in another process that sees neither the repository nor an editable install of it."""
    # -I: no environment, no working folder; -S: no .pth files. TensorFlow's folder is put back by hand.
    libraries = str(Path(np.__file__).resolve().parents[1])
    code = f"import sys; sys.path.append({libraries!r})\n" + code
    command = [sys.executable, "-I", "-S", "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def test_signatures_work_where_zoo_is_not_installed(exported, toy_model, toy_inputs, tmp_path, repository):
    np.savez(tmp_path / "inputs.npz", **toy_inputs)
    done = run_elsewhere(STRANGER, exported, tmp_path / "inputs.npz", repository, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "outputs.npz")
    for name in ("encode", "density", "project", "generate"):
        for key, expected in call_endpoint(toy_model, name, toy_inputs).items():
            assert found[f"{name}/{key}"].shape == expected.shape
            np.testing.assert_allclose(found[f"{name}/{key}"], expected, rtol=0, atol=1e-5)


def test_saved_model_cli_runs_it(exported, toy_model, toy_inputs, tmp_path):
    np.savez(tmp_path / "inputs.npz", **toy_inputs)
    program = Path(sys.executable).with_name("saved_model_cli")
    command = [program, "run", "--dir", exported, "--tag_set", "serve", "--signature_def", "density"]
    command += ["--inputs", "z=inputs.npz[z]", "--outdir", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "out" / "density.npy")
    np.testing.assert_allclose(found, toy_model.density(toy_inputs["z"]), rtol=0, atol=1e-5)


def test_only_what_is_served_is_written(exported, toy_model):
    size = sum(path.stat().st_size for path in exported.rglob("*") if path.is_file())
    assert toy_model.critic.count_params() * 4 > 2_000_000 > 500_000 > size
    metadata = json.loads((exported / METADATA).read_text())
    assert (metadata["latent_dim"], metadata["box"], metadata["voxel_size_angstrom"]) == (3, 8, 2.5)
    assert metadata["config"]["width"] == 4
    assert set(metadata["signatures"]) == {"encode", "density", "project", "generate"}
    assert metadata["signatures"]["encode"]["image"] == [[None, 8, 8, 1], "float32"]


def test_no_path_of_this_machine_is_written(exported, repository):
    for path in exported.rglob("*"):
        if path.is_file():
            assert os.fsencode(repository) not in path.read_bytes(), path


def test_an_existing_version_is_kept_unless_told(exported, toy_model, tmp_path):
    folder = export_model(toy_model, tmp_path, version=2)
    before = (folder / "saved_model.pb").stat().st_mtime_ns
    with pytest.raises(ZooError, match="2: exists; pass --overwrite, or --version 3"):
        export_model(toy_model, tmp_path, version=2)
    assert (folder / "saved_model.pb").stat().st_mtime_ns == before
    assert export_model(toy_model, tmp_path, version=2, overwrite=True) == folder
    assert (folder / "saved_model.pb").stat().st_mtime_ns > before
    assert [path.name for path in tmp_path.iterdir()] == ["2"]


def test_a_folder_of_something_else_is_never_replaced(toy_model, tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "thesis.tex").write_text("years of work")
    with pytest.raises(ZooError, match="has no saved_model.pb"):
        export_model(toy_model, tmp_path, overwrite=True)
    assert (tmp_path / "1" / "thesis.tex").read_text() == "years of work"


def test_a_failure_leaves_nothing_behind(toy_model, tmp_path, monkeypatch):
    def broken(z):
        raise RuntimeError("no such layer")

    endpoint = Endpoint(broken, {"z": Input((None, 3))})
    monkeypatch.setattr(toy_model, "endpoints", lambda: {"density": endpoint})
    with pytest.raises(RuntimeError, match="no such layer"):
        export_model(toy_model, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (tf.errors.ResourceExhaustedError, "the disk is full"),
        (tf.errors.OutOfRangeError, "the file grew beyond the allowed size"),
        (tf.errors.PermissionDeniedError, "get permission to write there"),
        (tf.errors.DataLossError, "a.data; File too large"),
    ],
)
def test_a_disk_that_tensorflow_cannot_write_is_one_line(toy_model, tmp_path, monkeypatch, error, words):
    def full(*_, **__):
        raise error(None, None, "variables/a.data; File too large\n[[node]] and a long trace")

    # The archive is of another class on each backend.
    monkeypatch.setattr(type(keras.export.ExportArchive()), "write_out", full)
    with pytest.raises(ZooError, match=words) as told:
        export_model(toy_model, tmp_path / "out", then="finish with: zoo-train --resume RUN")
    assert "\n" not in str(told.value) and str(tmp_path / "out" / "1") in str(told.value)
    if error is not tf.errors.DataLossError:
        assert "finish with: zoo-train --resume RUN" in str(told.value)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("version", [0, -1, 1.5])
def test_bad_versions_are_told(toy_model, tmp_path, version):
    with pytest.raises(ZooError, match="is not a whole number from 1"):
        export_model(toy_model, tmp_path, version=version)


def test_a_file_in_the_way_is_told(toy_model, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(ZooError, match="is a file, expected a folder"):
        export_model(toy_model, tmp_path / "out")


def test_another_backend_is_told(toy_model, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ZooError, match="KERAS_BACKEND=tensorflow"):
        export_model(toy_model, tmp_path)
    assert list(tmp_path.iterdir()) == []
