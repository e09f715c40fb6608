"""Global average pooling whose result is the same, bit for bit, in every order of the pixels."""

from keras.layers import InputSpec

from zoo.layers.registered import Float32Layer, registered
from zoo.ops.matching.order_free_sum import exact_mean


class _InvariantGlobalPooling(Float32Layer):
    rank = None

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def call(self, x):
        return exact_mean(x, axes=tuple(range(1, 1 + self.rank)))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[-1])


@registered
class InvariantGlobalPooling2D(_InvariantGlobalPooling):
    """``(b, y, x, c)`` → ``(b, c)``: mean over pixels, summed in fixed point (24 bits of the maximum).

    A float mean changes in its last bits when a shift permutes the pixels; this one does not. Its
    gradient is that of the mean.
    """

    rank = 2


@registered
class InvariantGlobalPooling3D(_InvariantGlobalPooling):
    """``(b, z, y, x, c)`` → ``(b, c)``; see InvariantGlobalPooling2D."""

    rank = 3
