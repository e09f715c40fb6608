"""Gradients on whichever backend Keras runs: tests say what they differentiate, not how."""

import keras
import numpy as np
import pytest


def _gradients(function, arrays, model=None):
    """Gradients of a scalar function of arrays, and of a model's trainable weights → two NumPy lists."""
    arrays = [np.asarray(array, "float32") for array in arrays]
    variables = list(model.trainable_variables) if model is not None else []
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tensors = [tf.constant(array) for array in arrays]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        found = tape.gradient(
            value, (tensors, [v.value for v in variables]), unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        return [[tf.convert_to_tensor(g).numpy() for g in group] for group in found]
    import jax

    def stateless(weights, inputs):
        mapping = [(v, w) for v, w in zip(variables, weights, strict=True)]
        with keras.StatelessScope(state_mapping=mapping):
            return function(*inputs)

    weights = [v.value for v in variables]
    for_weights, for_inputs = jax.grad(stateless, argnums=(0, 1))(weights, arrays)
    return [np.asarray(g) for g in for_inputs], [np.asarray(g) for g in for_weights]


@pytest.fixture
def gradients():
    return _gradients
