"""A noise generator whose scale is learnt, pixel by pixel."""

import math

import keras
from keras import ops

from zoo.layers.cyclic_conv import CyclicConv2D
from zoo.layers.registered import Float32Layer, registered

MODES = ("gaussian", "poisson")


@registered
class ScalableNoise(Float32Layer):
    """Image ``(b, n, n, 1)``, z_n ``(b, d)``, ε ~ N(0, 1) ``(b, n, n, 1)`` → noisy image ``(b, n, n, 1)``.

    mode ``gaussian``: image + σ·ε. ``poisson``: image + √|image|·σ·ε. σ(x, y) > 0 is made from z_n by dense,
    up-sampling and cyclic convolutions (Kaneko & Harada 2020, "Noise robust GANs"; thesis §10), and starts
    near initial_sigma everywhere. n is base·2^k for a base of 3 to 8 where it can be.
    """

    def __init__(
        self, n, mode="gaussian", filters=32, initial_sigma=1.0, negative_slope=0.2, seed=None, **kwargs
    ):
        super().__init__(**kwargs)
        if mode not in MODES:
            raise ValueError(f"mode is one of {', '.join(MODES)}, got {mode!r}")
        if initial_sigma <= 0.0:
            raise ValueError(f"initial_sigma is above 0, got {initial_sigma}")
        self.n, self.mode, self.filters, self.seed = n, mode, filters, seed
        self.initial_sigma, self.negative_slope = initial_sigma, negative_slope
        base, doublings = n, 0
        while base % 2 == 0 and base > 8:
            base, doublings = base // 2, doublings + 1
        self.base = base
        self.dense = keras.layers.Dense(
            base * base * filters, kernel_initializer=self._he(0), dtype="float32", name="dense"
        )
        self.convolutions = [
            CyclicConv2D(filters, 3, kernel_initializer=self._he(1 + i), dtype="float32", name=f"conv_{i}")
            for i in range(doublings)
        ]
        self.last = CyclicConv2D(
            1,
            3,
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.02, seed=self._seed(1 + doublings)),
            # The inverse of softplus.
            bias_initializer=keras.initializers.Constant(math.log(math.expm1(initial_sigma))),
            dtype="float32",
            name="last",
        )

    def build(self, image_shape, z_shape, noise_shape):
        self.dense.build(z_shape)
        shape = (z_shape[0], self.base, self.base, self.filters)
        for layer in self.convolutions:
            shape = (shape[0], 2 * shape[1], 2 * shape[2], self.filters)
            layer.build(shape)
        self.last.build(shape)

    def sigma(self, z):
        """z_n ``(b, d)`` → the scale σ ``(b, n, n, 1)``."""
        if not self.built:
            self.build((None, self.n, self.n, 1), tuple(z.shape), (None, self.n, self.n, 1))
        h = ops.reshape(self._activation(self.dense(z)), (-1, self.base, self.base, self.filters))
        for layer in self.convolutions:
            h = ops.repeat(ops.repeat(h, 2, axis=1), 2, axis=2)
            h = self._activation(layer(h))
        return ops.softplus(self.last(h))

    def call(self, image, z, noise):
        scaled = self.sigma(z) * noise
        if self.mode == "poisson":
            # The small number keeps the root's gradient finite where the signal is 0.
            scaled = ops.sqrt(ops.abs(image) + 1e-6) * scaled
        return image + scaled

    def compute_output_shape(self, image_shape, z_shape, noise_shape):
        return image_shape

    def get_config(self):
        config = {"n": self.n, "mode": self.mode, "filters": self.filters, "seed": self.seed}
        scale = {"initial_sigma": self.initial_sigma, "negative_slope": self.negative_slope}
        return {**super().get_config(), **config, **scale}

    def _activation(self, x):
        return ops.leaky_relu(x, negative_slope=self.negative_slope)

    def _seed(self, number):
        return None if self.seed is None else self.seed + number

    def _he(self, number):
        return keras.initializers.HeNormal(seed=self._seed(number))
