"""The numerical core on the JAX backend: the same tests, in a process of their own."""

import ast
import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

# Quick ones from every corner; KERAS_BACKEND=jax pytest tests/ops tests/layers runs them all.
REPRESENTATIVES = [
    "tests/ops/test_rotations.py::test_euler_to_matrix_is_scipys_inverse_zyz",
    "tests/ops/test_rotations.py::test_6d_is_numpys_gram_schmidt",
    "tests/ops/test_fourier.py::test_transform_is_numpys_and_inverse_returns[shape2]",
    "tests/ops/test_ctf.py::test_is_the_written_formula_with_b_factor_and_scale[32]",
    "tests/ops/test_slices.py::test_projection_of_gaussians_is_analytic[32]",
    "tests/ops/test_interpolation.py::test_trilinear_is_scipys[wrap]",
    "tests/ops/test_polyphase.py::test_keeps_the_component_of_largest_norm[shape0]",
    "tests/ops/matching/test_order_free_sum.py::test_gradient_is_that_of_the_mean",
    "tests/layers/test_layer_contract.py::test_saved_model_loads_and_gives_equal_values[SineDense film]",
    "tests/layers/test_physics_layers.py::test_layers_in_a_row_make_relions_projection",
    "tests/models/vaegan3d/test_fourier_generator.py::"
    "test_density_in_parts_is_the_whole_transform_seen_at_once[options1-12]",
]

needs_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")


def on_jax(arguments, repository):
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)


@needs_jax
@pytest.mark.slow
def test_ops_and_layers_pass_on_jax(repository):
    result = on_jax(["-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *REPRESENTATIVES], repository)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-1000:]
    assert " passed" in result.stdout and " skipped" not in result.stdout


CORE = ("ops", "layers", "models", "metrics")


def test_no_module_of_the_core_imports_tensorflow(repository):
    paths = [path for folder in CORE for path in (repository / "zoo" / folder).rglob("*.py")]
    assert len(paths) > 20
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] in ("tensorflow", "tf_keras") for name in names), path


@needs_jax
@pytest.mark.slow
def test_weights_saved_on_one_backend_load_on_the_other(repository, tmp_path):
    script = """
import sys, numpy as np, keras
from zoo import layers
keras.utils.set_random_seed(0)
inputs = keras.Input((16, 16, 1))
x = layers.GaborBank(2, 5)(inputs)
x = layers.AdaptivePolyphase2D()(layers.CyclicConv2D(4, 3)(x))
model = keras.Model(inputs, layers.InvariantGlobalPooling2D()(x))
images = np.random.default_rng(0).normal(size=(3, 16, 16, 1)).astype("float32")
path = sys.argv[1]
if sys.argv[2] == "save":
    model.save(path + "/m.keras")
else:
    model = keras.saving.load_model(path + "/m.keras")
np.save(path + "/" + sys.argv[2] + ".npy", keras.ops.convert_to_numpy(model(images)))
"""
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    saving = [sys.executable, "-c", script, str(tmp_path), "save"]
    result = subprocess.run(saving, cwd=repository, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    result = on_jax(["-c", script, str(tmp_path), "load"], repository)
    assert result.returncode == 0, result.stderr[-2000:]
    np.testing.assert_allclose(np.load(tmp_path / "load.npy"), np.load(tmp_path / "save.npy"), atol=1e-6)
