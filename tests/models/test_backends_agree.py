"""The losses are written once: TensorFlow and JAX give the same values and the same gradients."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PROGRAM = Path(__file__).with_name("backend_losses.py")
TRAIN = """
import numpy as np, sys
from zoo.models.vaegan3d.model import VAEGAN3D
sys.path.insert(0, sys.argv[1])
from backend_losses import OVERRIDES
batch = {k[6:]: v for k, v in np.load(sys.argv[2]).items() if k.startswith("batch_")}
def batches():
    while True:
        yield batch
hashes = []
for _ in range(2):
    model = VAEGAN3D.from_data(None, sys.argv[3], **OVERRIDES)
    model.compile(seed=4)
    history = model.fit(batches(), steps_per_epoch=2, epochs=2, verbose=0)
    assert len(history.history["sigma"]) == 2 and np.isfinite(history.history["sigma"]).all()
    assert int(model.step_counter.value) == 4
    kept = [v for v in model.variables if "seed" not in v.path]
    hashes.append(np.concatenate([np.array(v.value).ravel() for v in kept]))
    moving = [np.array(v.value) for v in model.critic.non_trainable_variables if "moving_mean" in v.path]
    assert all(np.abs(mean).max() > 0 for mean in moving), "batch statistics did not move"
assert np.array_equal(*hashes), "the same seed gave another model"
print("trained")
"""


def _run(arguments, backend):
    env = {**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], env=env, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def batch_file(tmp_path_factory):
    rng = np.random.default_rng(0)
    ctf = np.tile(np.array([[15000.0, 14000.0, 20.0, 300.0, 2.7, 0.1, 0.0, 0.0, 1.0]], "float32"), (4, 1))
    path = tmp_path_factory.mktemp("backends") / "batch.npz"
    np.savez(
        path,
        batch_image=rng.normal(size=(4, 16, 16, 1)).astype("float32"),
        batch_ctf=ctf,
        batch_ctf_random=ctf * np.array([1.2, 1.2] + [1.0] * 7, "float32"),
        batch_pixel_size_angstrom=np.full(4, 20.0, "float32"),
    )
    return path


needs_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")


@needs_jax
@pytest.mark.slow
@pytest.mark.parametrize("preset", ["tiny", "trainable_camera"])
def test_losses_and_gradients_agree(preset, batch_file, tmp_path):
    _run([PROGRAM, batch_file, tmp_path / "tf.npz", preset], "tensorflow")
    merged = {
        **np.load(batch_file),
        **{k: v for k, v in np.load(tmp_path / "tf.npz").items() if "weight_" in k},
    }
    np.savez(tmp_path / "given.npz", **merged)
    _run([PROGRAM, tmp_path / "given.npz", tmp_path / "jax.npz", preset], "jax")
    one, other = np.load(tmp_path / "tf.npz"), np.load(tmp_path / "jax.npz")
    for player in ("critic", "encoder", "generator"):
        assert one[f"loss_{player}"] == pytest.approx(other[f"loss_{player}"], rel=1e-3, abs=1e-4), player
        a, b = one[f"gradient_{player}"], other[f"gradient_{player}"]
        assert np.linalg.norm(a) > 0
        assert np.linalg.norm(a - b) < 5e-3 * np.linalg.norm(a), player


@needs_jax
@pytest.mark.slow
@pytest.mark.parametrize("preset", ["tiny", "uniform_camera"])
def test_fit_on_jax_trains_and_repeats(batch_file, preset):
    assert "trained" in _run(["-c", TRAIN, PROGRAM.parent, batch_file, preset], "jax")
