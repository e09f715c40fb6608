"""Cyclic padding as layers."""

import keras

from zoo.layers.registered import registered
from zoo.ops.padding import cyclic_pad


class _CyclicPadding(keras.layers.Layer):
    rank = None

    def __init__(self, padding=1, **kwargs):
        super().__init__(**kwargs)
        self.padding = _pairs(padding, self.rank)
        self.input_spec = keras.layers.InputSpec(ndim=self.rank + 2)

    def call(self, x):
        return cyclic_pad(x, self.padding)

    def compute_output_shape(self, input_shape):
        spatial = [
            None if size is None else size + before + after
            for size, (before, after) in zip(input_shape[1:-1], self.padding, strict=True)
        ]
        return (input_shape[0], *spatial, input_shape[-1])

    def get_config(self):
        return {**super().get_config(), "padding": [list(pair) for pair in self.padding]}


@registered
class CyclicPadding2D(_CyclicPadding):
    """Continue an image at its opposite edge: ``(b, y, x, c)`` → ``(b, y + …, x + …, c)`` pixels.

    padding: a number for all edges, one number per axis, or (before, after) per axis.
    """

    rank = 2


@registered
class CyclicPadding3D(_CyclicPadding):
    """Continue a volume at its opposite face: ``(b, z, y, x, c)``; padding as in CyclicPadding2D."""

    rank = 3


def _pairs(padding, rank):
    if isinstance(padding, int):
        padding = [padding] * rank
    if len(padding) != rank:
        raise ValueError(f"padding has {len(padding)} axes, expected {rank}")
    return tuple((p, p) if isinstance(p, int) else (int(p[0]), int(p[1])) for p in padding)
