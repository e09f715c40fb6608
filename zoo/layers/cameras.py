"""Where a projection is seen from: rotations from 6-vectors, uniform or trained."""

import keras

from zoo.layers.registered import Float32Layer, registered
from zoo.ops.rotations import rotation_from_6d, uniform_rotations


@registered
class Rotation6D(Float32Layer):
    """``(…, 6)`` → rotation ``(…, 3, 3)`` with rows u1, u2, u1×u2 (Gram–Schmidt; Zhou et al. 2019)."""

    def call(self, v):
        return rotation_from_6d(v)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 3, 3)


@registered
class UniformCamera(Float32Layer):
    """Standard normal ``(b, 6)`` or ``(b, 4)`` → rotations ``(b, 3, 3)``, uniform on SO(3)."""

    def call(self, normal):
        return uniform_rotations(normal)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 3, 3)


@registered
class TrainedCamera(Float32Layer):
    """Standard normal z_c ``(b, d ≥ 6)`` → rotations ``(b, 3, 3)`` of a trained view distribution.

    6-vector = z_c[:6] + network(z_c), with residual blocks (thesis §6.4.7: a residual design that perturbs
    the distribution it draws from). The last layer starts at zero, so views start uniform on SO(3).
    """

    def __init__(self, units=64, blocks=2, negative_slope=0.2, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.units, self.blocks, self.negative_slope, self.seed = units, blocks, negative_slope, seed
        self.first = keras.layers.Dense(units, kernel_initializer=self._he(0), dtype="float32", name="first")
        self.residual = [
            keras.layers.Dense(units, kernel_initializer=self._he(1 + i), dtype="float32", name=f"block_{i}")
            for i in range(blocks)
        ]
        self.last = keras.layers.Dense(6, kernel_initializer="zeros", dtype="float32", name="last")

    def build(self, input_shape):
        if input_shape[-1] < 6:
            raise ValueError(f"TrainedCamera needs at least 6 numbers per view, got {input_shape[-1]}")
        self.first.build(input_shape)
        hidden = (*input_shape[:-1], self.units)
        for layer in (*self.residual, self.last):
            layer.build(hidden)

    def six_vectors(self, z):
        """z_c ``(b, d)`` → 6-vectors ``(b, 6)`` before Gram–Schmidt."""
        if not self.built:
            self.build(tuple(z.shape))
        h = self._activation(self.first(z))
        for layer in self.residual:
            h = h + self._activation(layer(h))
        return z[..., :6] + self.last(h)

    def call(self, z):
        return rotation_from_6d(self.six_vectors(z))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 3, 3)

    def get_config(self):
        config = {"units": self.units, "blocks": self.blocks, "seed": self.seed}
        return {**super().get_config(), **config, "negative_slope": self.negative_slope}

    def _activation(self, x):
        return keras.ops.leaky_relu(x, negative_slope=self.negative_slope)

    def _he(self, number):
        return keras.initializers.HeNormal(seed=None if self.seed is None else self.seed + number)
