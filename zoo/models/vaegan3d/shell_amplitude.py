"""A trainable amplitude per shell of Fourier space."""

from __future__ import annotations

import math

import numpy as np
from keras import ops

from zoo.layers.registered import Float32Layer, registered, starting_at

_FAINT = math.log(0.2)
_AMPLITUDE_SPEED = 3.0
"""The amplitudes are exp(speed·weight): Adam moves them this many times faster than other weights."""


@registered
class ShellAmplitude(Float32Layer):
    """Radius ``(…)`` in index units → amplitude ``(…)``, linear between the trained ones of whole shells.

    It starts as 8/(1 + r), r the shell of a box of 32 at the same fraction of Nyquist: the transform of a
    particle falls by two orders of magnitude from the centre to Nyquist.
    """

    def __init__(self, box: int, **kwargs):
        super().__init__(**kwargs)
        self.box = box

    def build(self, input_shape):
        shells = np.arange(self.box, dtype="float32") * 32.0 / self.box
        self.log_amplitude = self.add_weight(
            name="log_amplitude",
            shape=(self.box,),
            initializer=starting_at(np.log(8.0 / (1.0 + shells)) / _AMPLITUDE_SPEED),
        )

    def call(self, radius):
        amplitude = ops.exp(_AMPLITUDE_SPEED * ops.convert_to_tensor(self.log_amplitude))
        low = ops.minimum(ops.cast(ops.floor(radius), "int32"), self.box - 2)
        part = radius - ops.cast(low, "float32")
        return ops.take(amplitude, low) * (1.0 - part) + ops.take(amplitude, low + 1) * part

    def start_from(self, other: ShellAmplitude, length_ratio: float) -> None:
        """Another's amplitudes at our shells; beyond its reach, where it learned nothing, hardly any.

        ``length_ratio`` is the edge of the other's box over this one's, in Å.
        """
        log = ops.convert_to_numpy(other.log_amplitude)
        shells, reach = np.arange(self.box) * length_ratio, other.box // 2 - 3
        known = np.interp(np.minimum(shells, reach), np.arange(other.box), log)
        faint = np.where(shells > reach, _FAINT, 0.0)
        self.log_amplitude.assign(known + (math.log(length_ratio) + faint) / _AMPLITUDE_SPEED)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "box": self.box}
