"""Up-sampling by 2 and the convolution after it as one operation."""

import keras
from keras import ops

from zoo.layers.registered import registered

_KERNEL = 3
_FIXED = {
    "kernel_size": (_KERNEL,) * 3,
    "strides": (1, 1, 1),
    "padding": "same",
    "dilation_rate": (1, 1, 1),
    "groups": 1,
    "data_format": "channels_last",
}


@registered
class UpConv3D(keras.layers.Conv3D):
    """``(b, z, y, x, c)`` → ``(b, 2z, 2y, 2x, filters)``: `UpSampling3D(2)`, then `Conv3D` of 3³ ("same").

    ``beside`` (b, 2z, 2y, 2x, d), where given, is as if `Concatenate` had appended it to what was up-sampled.
    The same function with the same weights as these two layers, up to rounding. A voxel that was repeated is
    not multiplied again and again: the kernel and the up-sampling are one transposed convolution of stride 2
    whose kernel of 4³ holds the sums of the 3³ weights that meet equal voxels: 8 products for a voxel, not
    27. ``options`` are those of `Conv3D` but size, strides, dilation, groups and padding.
    """

    def __init__(self, filters, **options):
        for name, only in _FIXED.items():
            given = options.pop(name, only)
            if (tuple(given) if isinstance(given, list) else given) != only:
                raise ValueError(f"UpConv3D: {name} is {given}, and only {only} is possible")
        super().__init__(filters, _KERNEL, padding="same", data_format="channels_last", **options)

    def build(self, x_shape, beside_shape=None):
        self._below = x_shape[-1]
        super().build((*x_shape[:-1], self._below + (beside_shape[-1] if beside_shape else 0)))
        self.input_spec = None  # that of Conv3D counts both inputs in one

    def call(self, x, beside=None):
        below = self.kernel[..., : self._below, :]
        x = ops.conv_transpose(x, _with_up_sampling(below), strides=2, padding="same")
        if beside is not None:
            x = x + ops.conv(beside, self.kernel[..., self._below :, :], padding="same")
        if self.use_bias:
            x = x + self.bias
        return x if self.activation is None else self.activation(x)

    def compute_output_shape(self, x_shape, beside_shape=None):
        spatial = [None if size is None else 2 * size for size in x_shape[1:-1]]
        return (x_shape[0], *spatial, self.filters)


def _with_up_sampling(kernel):
    """Kernel (3, 3, 3, c, f) of a convolution → that (4, 4, 4, f, c) of a transposed one of stride 2.

    y[o] = sum_t k[t] u[o + t - 1] with u[2i + a] = x[i], a 0 or 1, is sum_i x[i] K[o - 2i + 1], where K[m] is
    the sum over a of k[2 - (m - a)], along each axis.
    """
    kernel = ops.flip(kernel, (0, 1, 2))
    for axis in range(3):
        before, after = ([[0, 0] for _ in range(5)] for _ in range(2))
        before[axis], after[axis] = [1, 0], [0, 1]
        kernel = ops.pad(kernel, before) + ops.pad(kernel, after)
    return ops.transpose(kernel, (0, 1, 2, 4, 3))
