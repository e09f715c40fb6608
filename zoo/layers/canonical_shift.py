"""Rolling every image to a frame that does not depend on how it was shifted."""

from keras.layers import InputSpec

from zoo.layers.registered import Float32Layer, registered
from zoo.ops.cyclic_frame import canonical_shift


@registered
class CanonicalShift2D(Float32Layer):
    """``(b, y, x, c)`` → the same images, each rolled cyclically to a frame of its own content.

    All cyclic shifts of an image give the same array, bit for bit. Before a network that is shift-invariant
    in exact arithmetic it removes the last-bit differences that a convolution's blocking leaves; the
    gradient is that of the roll.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.input_spec = InputSpec(ndim=4)

    def call(self, x):
        return canonical_shift(x)

    def compute_output_shape(self, input_shape):
        return input_shape
