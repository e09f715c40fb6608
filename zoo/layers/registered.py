"""How layers of this package are registered and which precision they keep."""

import keras

PACKAGE = "zoo"


def registered(cls):
    """Register a class under ``zoo>Name``, so that a saved model finds it."""
    return keras.saving.register_keras_serializable(PACKAGE)(cls)


class Float32Layer(keras.layers.Layer):
    """Base of layers whose arithmetic needs float32 under any policy (Fourier, CTF, rotations, sums)."""

    def __init__(self, **kwargs):
        if kwargs.get("dtype") is None:
            kwargs["dtype"] = "float32"
        super().__init__(**kwargs)


def starting_at(values):
    """Initialiser that gives these numbers (by value: it never changes a variable, so tracing is safe)."""

    def initialise(shape, dtype=None):
        return keras.ops.reshape(keras.ops.convert_to_tensor(values, dtype=dtype), shape)

    return initialise
