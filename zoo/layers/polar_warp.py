"""Images in polar coordinates: a rotation becomes a cyclic shift."""

from keras.layers import InputSpec

from zoo.layers.registered import Float32Layer, registered
from zoo.ops.interpolation import polar_warp


@registered
class PolarWarp(Float32Layer):
    """``(b, y, x, c)`` → ``(b, radial, angular, c)`` about pixel N//2, bilinear.

    Rows are radii up to min(y, x)//2 pixels (their logarithm with ``log``), columns angles from +x
    towards +y. See ``zoo.ops.interpolation.polar_coordinates``.
    """

    def __init__(self, radial, angular, log=False, **kwargs):
        super().__init__(**kwargs)
        if radial < 1 or angular < 1:
            raise ValueError(f"PolarWarp needs at least 1 radius and 1 angle, got {radial} and {angular}")
        self.radial, self.angular, self.log = radial, angular, bool(log)
        self.input_spec = InputSpec(ndim=4)

    def call(self, images):
        return polar_warp(images, self.radial, self.angular, self.log)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.radial, self.angular, input_shape[-1])

    def get_config(self):
        return {**super().get_config(), "radial": self.radial, "angular": self.angular, "log": self.log}
