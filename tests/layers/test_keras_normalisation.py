"""Instance and spectral normalisation come from Keras: its values against TensorFlow Addons'."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops


@pytest.fixture(scope="module")
def golden():
    return np.load(Path(__file__).parent.parent / "golden" / "tfa_golden_layers.npz")


def numpy(x):
    return ops.convert_to_numpy(x)


@pytest.mark.parametrize("name, groups", [("inorm", -1), ("gnm1", -1), ("gn8", 8), ("gn2", 2), ("gn1", 1)])
def test_group_and_instance_normalisation(golden, name, groups):
    layer = keras.layers.GroupNormalization(groups=groups, epsilon=float(golden["inorm_eps"]))
    layer.build(golden["n_x"].shape)
    layer.gamma.assign(golden["n_g"])
    layer.beta.assign(golden["n_b"])
    np.testing.assert_allclose(numpy(layer(golden["n_x"])), golden[name], atol=5e-6)


def test_instance_normalisation_in_3d(golden):
    layer = keras.layers.GroupNormalization(groups=-1, epsilon=1e-3, center=False, scale=False)
    np.testing.assert_allclose(numpy(layer(golden["n3_x"])), golden["inorm3"], atol=5e-6)


@pytest.mark.parametrize("prefix, iterations", [("sn1", 1), ("sn3", 3), ("snd", 1)])
def test_spectral_normalisation(golden, prefix, iterations):
    x = golden[f"{prefix}_x"]
    inner = keras.layers.Dense(5) if prefix == "snd" else keras.layers.Conv2D(5, 3)
    layer = keras.layers.SpectralNormalization(inner, power_iterations=iterations)
    layer.build(x.shape)
    inner.kernel.assign(golden[f"{prefix}_k"])
    inner.bias.assign(golden[f"{prefix}_b"])
    layer.vector_u.assign(golden[f"{prefix}_u0"])
    for expected in golden[f"{prefix}_train"]:
        np.testing.assert_allclose(numpy(layer(x, training=True)), expected, atol=2e-5)
    np.testing.assert_allclose(numpy(layer(x, training=False)), golden[f"{prefix}_inf"], atol=2e-5)
    np.testing.assert_allclose(numpy(inner.kernel), golden[f"{prefix}_kend"], atol=1e-6)
    np.testing.assert_allclose(numpy(layer.vector_u), golden[f"{prefix}_uend"], atol=1e-6)
