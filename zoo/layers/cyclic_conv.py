"""Convolution on the torus: a shift of the input shifts the output, at the edges too."""

import keras

from zoo.layers.registered import registered
from zoo.ops.padding import cyclic_pad, same_widths


class _Cyclic:
    def call(self, x):
        reach = [(k - 1) * d + 1 for k, d in zip(self.kernel_size, self.dilation_rate, strict=True)]
        return super().call(cyclic_pad(x, same_widths(reach)))

    def compute_output_shape(self, input_shape):
        spatial = [
            None if size is None else -(-size // stride)
            for size, stride in zip(input_shape[1:-1], self.strides, strict=True)
        ]
        return (input_shape[0], *spatial, self.filters)

    def get_config(self):
        config = super().get_config()
        del config["padding"], config["data_format"]
        return config


@registered
class CyclicConv2D(_Cyclic, keras.layers.Conv2D):
    """``(b, y, x, c)`` → ``(b, y/stride, x/stride, filters)``, cyclic; arguments of Keras' Conv2D.

    Without padding and data_format: the padding is cyclic, channels come last.
    """

    def __init__(self, filters, kernel_size, strides=1, **kwargs):
        super().__init__(
            filters, kernel_size, strides, padding="valid", data_format="channels_last", **kwargs
        )


@registered
class CyclicConv3D(_Cyclic, keras.layers.Conv3D):
    """``(b, z, y, x, c)`` → ``(b, z/stride, y/stride, x/stride, filters)``, cyclic; see CyclicConv2D."""

    def __init__(self, filters, kernel_size, strides=1, **kwargs):
        super().__init__(
            filters, kernel_size, strides, padding="valid", data_format="channels_last", **kwargs
        )
