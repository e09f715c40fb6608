"""From a latent vector to the scale and shift that condition a network (FiLM)."""

import keras
from keras import ops

from zoo.layers.registered import registered


@registered
class FiLMMapping(keras.layers.Layer):
    """z ``(b, d)`` → scale α and shift β, each ``(b, features)``; dense + leaky ReLU, then linear.

    Perez et al. 2018 (FiLM), Chan et al. 2021 (pi-GAN). features 1 gives one scale and one shift for all
    channels. α starts near 1 and β near 0: the output weights are normal, spread times as large as
    unit gain has them.
    """

    def __init__(self, features, hidden=(64,), negative_slope=0.2, spread=0.1, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.features, self.hidden, self.seed = features, tuple(hidden), seed
        self.negative_slope, self.spread = negative_slope, spread
        self.dense = [
            keras.layers.Dense(
                units,
                kernel_initializer=keras.initializers.HeNormal(seed=None if seed is None else seed + i),
                dtype=self.dtype_policy,
                name=f"dense_{i}",
            )
            for i, units in enumerate(self.hidden)
        ]
        last = None if seed is None else seed + len(self.hidden)
        self.film = keras.layers.Dense(
            2 * features,
            kernel_initializer=keras.initializers.VarianceScaling(
                spread**2, distribution="untruncated_normal", seed=last
            ),
            dtype=self.dtype_policy,
            name="film",
        )

    def build(self, input_shape):
        shape = tuple(input_shape)
        for layer in (*self.dense, self.film):
            layer.build(shape)
            shape = (*shape[:-1], layer.units)

    def call(self, z):
        for layer in self.dense:
            z = ops.leaky_relu(layer(z), negative_slope=self.negative_slope)
        film = self.film(z)
        return 1.0 + film[..., : self.features], film[..., self.features :]

    def compute_output_shape(self, input_shape):
        shape = (*input_shape[:-1], self.features)
        return shape, shape

    def get_config(self):
        config = {"features": self.features, "hidden": list(self.hidden), "spread": self.spread}
        return {**super().get_config(), **config, "negative_slope": self.negative_slope, "seed": self.seed}
