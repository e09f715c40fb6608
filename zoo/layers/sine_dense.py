"""The sine layer of SIREN networks."""

import math

import keras
from keras import ops

from zoo.layers.registered import registered

POSITIONS = ("first", "hidden")


@registered
class SineDense(keras.layers.Layer):
    """``(…, c)`` → sin(ω·(α·(Wx + b) + β)) ``(…, units)``; α, β are optional (FiLM, pi-GAN).

    Sitzmann et al. 2020, "Implicit neural representations with periodic activation functions": W from
    U(−1/c, 1/c) for position ``first``, U(−√(6/c)/ω, √(6/c)/ω) for ``hidden``; the authors' code draws b from
    U(−1/√c, 1/√c). bound: draw W and b from U(−bound, bound) instead (1/128 in the thesis). An initialiser
    given for either comes before these rules.
    """

    def __init__(
        self,
        units,
        position="hidden",
        omega=30.0,
        bound=None,
        seed=None,
        kernel_initializer=None,
        bias_initializer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if position not in POSITIONS:
            raise ValueError(f"position is one of {', '.join(POSITIONS)}, got {position!r}")
        self.units, self.position, self.omega = units, position, float(omega)
        self.bound, self.seed = bound, seed
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)

    def build(self, x_shape, scale_shape=None, shift_shape=None):
        inputs = x_shape[-1]
        if self.bound is not None:
            kernel_bound = bias_bound = self.bound
        else:
            kernel_bound = 1.0 / inputs if self.position == "first" else math.sqrt(6.0 / inputs) / self.omega
            bias_bound = 1.0 / math.sqrt(inputs)
        bias_seed = None if self.seed is None else self.seed + 1
        self.kernel = self.add_weight(
            name="kernel",
            shape=(inputs, self.units),
            initializer=self.kernel_initializer or _uniform(kernel_bound, self.seed),
        )
        self.bias = self.add_weight(
            name="bias",
            shape=(self.units,),
            initializer=self.bias_initializer or _uniform(bias_bound, bias_seed),
        )

    def call(self, x, scale=None, shift=None):
        y = ops.matmul(x, self.kernel) + self.bias
        if scale is not None:
            y = y * _beside(scale, y)
        if shift is not None:
            y = y + _beside(shift, y)
        return ops.sin(self.omega * y)

    def compute_output_shape(self, x_shape, scale_shape=None, shift_shape=None):
        return (*x_shape[:-1], self.units)

    def get_config(self):
        config = {"units": self.units, "position": self.position, "omega": self.omega}
        for name in ("kernel_initializer", "bias_initializer"):
            config[name] = keras.initializers.serialize(getattr(self, name))
        return {**super().get_config(), **config, "bound": self.bound, "seed": self.seed}


def _uniform(bound, seed):
    return keras.initializers.RandomUniform(-bound, bound, seed=seed)


def _beside(film, y):
    # (b, units or 1) → (b, 1, …, 1, units or 1)
    return ops.reshape(film, (-1, *(1,) * (len(y.shape) - 2), film.shape[-1]))
