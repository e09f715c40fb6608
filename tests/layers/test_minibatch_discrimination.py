"""MinibatchDiscrimination against the sum written out, in groups, compiled and loaded."""

import keras
import numpy as np
import pytest

from zoo.layers import MinibatchDiscrimination


def written_out(features, kernel, kernels, group):
    m = (features.astype(np.float64) @ kernel).reshape(len(features), kernels, -1)
    near = np.zeros((len(features), kernels))
    for i in range(len(features)):
        first = i // group * group
        for j in range(first, first + group):
            for k in range(kernels):
                near[i, k] += np.exp(-np.abs(m[i, k] - m[j, k]).sum())
    return np.concatenate([features, near], axis=1)


@pytest.mark.parametrize("group", [None, 6, 3, 1])
def test_it_is_the_sum_over_the_batch_or_the_group(group):
    features = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
    layer = MinibatchDiscrimination(4, 3, group)
    found = keras.ops.convert_to_numpy(layer(features))
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    np.testing.assert_allclose(found, written_out(features, kernel, 4, group or 6), rtol=1e-5)


def test_equal_examples_are_seen():
    layer = MinibatchDiscrimination(4, 3)
    features = np.random.default_rng(1).normal(size=(1, 50)).astype("float32")
    alike = keras.ops.convert_to_numpy(layer(np.repeat(features, 8, axis=0)))
    np.testing.assert_allclose(alike[:, 50:], 8.0)
    unlike = 30 * np.random.default_rng(2).normal(size=(8, 50)).astype("float32")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(unlike))[:, 50:], 1.0, atol=1e-3)


def test_compiled_gives_the_same():
    features = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
    layer = MinibatchDiscrimination(4, 3)
    eager = keras.ops.convert_to_numpy(layer(features))
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        compiled = tf.function(layer, jit_compile=True)
    else:
        import jax

        compiled = jax.jit(layer)
    np.testing.assert_allclose(np.asarray(compiled(features)), eager, rtol=1e-5)


@pytest.mark.parametrize("wrong", [(0, 3), (4, 0), (4, 3, 0)])
def test_sizes_below_one_are_refused(wrong):
    with pytest.raises(ValueError, match="1 or more"):
        MinibatchDiscrimination(*wrong)
