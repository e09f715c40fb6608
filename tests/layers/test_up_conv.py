"""UpConv3D is up-sampling and convolution with the same weights, to rounding, and so are its gradients."""

import keras
import numpy as np
import pytest
from keras import layers

from zoo.layers import UpConv3D


@pytest.mark.parametrize("shape", [(3, 4, 5, 2), (1, 1, 1, 3), (8, 8, 8, 1)])
def test_the_same_function_with_the_same_weights(shape):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *shape)).astype("float32")
    two = keras.Sequential(
        [keras.Input(shape), layers.UpSampling3D(2), layers.Conv3D(4, 3, padding="same", activation="relu")]
    )
    one = keras.Sequential([keras.Input(shape), UpConv3D(4, activation="relu")])
    weights = [rng.normal(size=w.shape) for w in two.get_weights()]
    two.set_weights(weights)
    one.set_weights(weights)
    expected = keras.ops.convert_to_numpy(two(x))
    assert expected.std() > 0.1
    np.testing.assert_allclose(keras.ops.convert_to_numpy(one(x)), expected, atol=2e-5)
    assert one.output_shape == two.output_shape


def test_what_lies_beside_is_as_if_it_were_appended():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2, 3, 4, 2, 5)).astype("float32")
    beside = rng.normal(size=(2, 6, 8, 4, 3)).astype("float32")
    low, high = keras.Input((None, None, None, 5)), keras.Input((None, None, None, 3))
    joined = layers.Concatenate()([layers.UpSampling3D(2)(low), high])
    two = keras.Model([low, high], layers.Conv3D(4, 3, padding="same", activation="relu")(joined))
    one = keras.Model([low, high], UpConv3D(4, activation="relu")(low, high))
    weights = [rng.normal(size=w.shape) for w in two.get_weights()]
    assert [w.shape for w in weights] == [w.shape for w in one.get_weights()]
    two.set_weights(weights)
    one.set_weights(weights)
    expected = keras.ops.convert_to_numpy(two([x, beside]))
    found = keras.ops.convert_to_numpy(one([x, beside]))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert found.shape == (2, 6, 8, 4, 4)
    assert np.abs(keras.ops.convert_to_numpy(one([x, 0 * beside])) - expected).max() > 1
    again = keras.Model.from_config(one.get_config())
    again.set_weights(weights)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(again([x, beside])), found, atol=1e-6)


def test_one_step_of_training_changes_both_alike():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4, 4, 4, 4, 2)).astype("float32")
    y = rng.normal(size=(4, 8, 8, 8, 3)).astype("float32")
    after = []
    for made in ([layers.UpSampling3D(2), layers.Conv3D(3, 3, padding="same")], [UpConv3D(3)]):
        model = keras.Sequential([keras.Input((4, 4, 4, 2)), *made])
        model.set_weights([np.full(w.shape, 0.1) for w in model.get_weights()])
        model.compile(keras.optimizers.SGD(1.0), "mse")
        model.fit(x, y, epochs=1, batch_size=4, verbose=0)
        after.append(model.get_weights())
    for one, other in zip(*after, strict=True):
        assert np.abs(one - 0.1).max() > 1e-3
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_what_it_cannot_be_is_refused():
    with pytest.raises(ValueError, match="UpConv3D: strides is 2"):
        UpConv3D(4, strides=2)
    layer = UpConv3D.from_config(UpConv3D(4, use_bias=False, name="up").get_config())
    assert layer.filters == 4 and layer.name == "up" and not layer.use_bias
