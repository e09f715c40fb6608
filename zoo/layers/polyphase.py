"""Adaptive polyphase down-sampling as layers."""

import keras

from zoo.layers.registered import registered
from zoo.ops.polyphase import adaptive_polyphase


class _AdaptivePolyphase(keras.layers.Layer):
    rank = None

    def __init__(self, blur=False, **kwargs):
        super().__init__(**kwargs)
        self.blur = bool(blur)
        self.input_spec = keras.layers.InputSpec(ndim=self.rank + 2)

    def call(self, x):
        return adaptive_polyphase(x, blur=self.blur)

    def compute_output_shape(self, input_shape):
        spatial = [None if size is None else size // 2 for size in input_shape[1:-1]]
        return (input_shape[0], *spatial, input_shape[-1])

    def get_config(self):
        return {**super().get_config(), "blur": self.blur}


@registered
class AdaptivePolyphase2D(_AdaptivePolyphase):
    """``(b, y, x, c)`` → ``(b, y/2, x/2, c)``: keeps the polyphase component of largest L2 norm.

    A cyclic shift of the input shifts the output (Chaman & Dokmanić 2021). blur: cyclic (1, 2, 1)/4
    filter beforehand. Sizes must be known and even.
    """

    rank = 2


@registered
class AdaptivePolyphase3D(_AdaptivePolyphase):
    """``(b, z, y, x, c)`` → half of each size, one of 8 components; see AdaptivePolyphase2D."""

    rank = 3
