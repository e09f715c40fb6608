"""A trainable bank of Gabor filters, applied to every channel."""

import math

import keras
import numpy as np
from keras import ops

from zoo.layers.registered import registered, starting_at
from zoo.ops.padding import cyclic_pad, same_widths


@registered
class GaborBank(keras.layers.Layer):
    """``(b, y, x, c)`` → ``(b, y, x, c·filters)``: depthwise, cyclic; output c·filters + f is filter f on c.

    g = cos(2πx'/λ + ψ)·exp(−(x'² + γ²y'²)/2σ²), x' = x cos θ + y sin θ, y' = −x sin θ + y cos θ (thesis
    eq. 41; Daugman 1985). Trained per filter: wavelength λ and spread σ in pixels and aspect γ (by their
    logarithms, so that they stay positive), orientation θ and phase ψ in radians. They start with λ from
    3 pixels to the kernel, orientations around the half circle, even and odd phases by turns.
    normalise: kernels of unit L2 norm, which keep the variance of white noise.
    """

    def __init__(self, filters, kernel_size=9, normalise=True, **kwargs):
        super().__init__(**kwargs)
        if filters < 1 or kernel_size < 3:
            raise ValueError(f"GaborBank needs filters ≥ 1 and a kernel ≥ 3, got {filters} and {kernel_size}")
        self.filters, self.kernel_size, self.normalise = filters, kernel_size, normalise
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        index = np.arange(self.filters)
        wavelength = np.geomspace(3.0, max(3.0, self.kernel_size), max(1, math.ceil(self.filters / 4)))
        wavelength = wavelength[index // 4 % len(wavelength)]
        start = {
            "log_wavelength": np.log(wavelength),
            "log_sigma": np.log(0.4 * wavelength),
            "log_aspect": np.zeros(self.filters),
            "orientation": np.pi * index / self.filters,
            "phase": np.pi / 2.0 * (index % 2),
        }
        for name, values in start.items():
            weight = self.add_weight(
                name=name, shape=(self.filters,), initializer=starting_at(values), dtype="float32"
            )
            setattr(self, name, weight)

    def kernels(self):
        """The filters, float32 ``(kernel, kernel, filters)``, index [y, x]."""
        if not self.built:
            self.build((None, None, None, 1))
        reach = np.arange(self.kernel_size) - (self.kernel_size - 1) // 2
        y, x = np.meshgrid(reach.astype("float32"), reach.astype("float32"), indexing="ij")
        x, y = x[..., None], y[..., None]
        sine, cosine = ops.sin(self.orientation), ops.cos(self.orientation)
        along, across = x * cosine + y * sine, -x * sine + y * cosine
        decay = (along**2 + (ops.exp(self.log_aspect) * across) ** 2) / (2.0 * ops.exp(2.0 * self.log_sigma))
        wave = ops.cos(2.0 * math.pi * along * ops.exp(-self.log_wavelength) + self.phase)
        kernels = wave * ops.exp(-decay)
        if self.normalise:
            kernels = kernels / ops.sqrt(ops.sum(kernels**2, axis=(0, 1)) + 1e-12)
        return kernels

    def call(self, x):
        channels = x.shape[-1]
        kernels = ops.cast(self.kernels(), self.compute_dtype)[:, :, None, :]
        padded = cyclic_pad(x, same_widths((self.kernel_size, self.kernel_size)))
        # All channels see the same filters: as examples of a plain convolution, which is several times
        # faster on a CPU than a depthwise one.
        size = padded.shape[1:3]
        stacked = ops.reshape(ops.moveaxis(padded, -1, 1), (-1, *size, 1)) if channels > 1 else padded
        filtered = ops.conv(stacked, kernels, padding="valid", data_format="channels_last")
        if channels == 1:
            return filtered
        filtered = ops.reshape(filtered, (-1, channels, *filtered.shape[1:]))
        filtered = ops.moveaxis(filtered, 1, 3)
        return ops.reshape(filtered, (-1, *filtered.shape[1:3], channels * self.filters))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], None if input_shape[-1] is None else input_shape[-1] * self.filters)

    def get_config(self):
        config = {"filters": self.filters, "kernel_size": self.kernel_size, "normalise": self.normalise}
        return {**super().get_config(), **config}
