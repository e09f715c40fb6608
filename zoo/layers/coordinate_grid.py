"""A trainable grid of coordinates, cut by a rotated plane."""

from keras import ops

from zoo.layers.registered import Float32Layer, registered, starting_at
from zoo.ops import fourier
from zoo.ops.interpolation import sample_trilinear
from zoo.ops.slices import slice_coordinates


@registered
class CoordinateGrid(Float32Layer):
    """A ``(b, 3, 3)`` → coordinates ``(b, n, n, 3)`` on the plane Aᵀ(kx, ky, 0), from a trained grid.

    The grid of n³×3 numbers is sampled trilinearly. It starts as its own position: xyz in units of the
    Nyquist frequency, −1 … 1, 0 at index n//2. Points of the plane outside the grid take its nearest
    value (they lie beyond Nyquist's sphere). trainable=False keeps the plain plane (thesis §11 trains it).
    """

    def __init__(self, n, **kwargs):
        super().__init__(**kwargs)
        self.n = n

    def build(self, input_shape):
        start = starting_at(2.0 * fourier.frequency_grid_3d(self.n))
        self.grid = self.add_weight(name="grid", shape=(self.n, self.n, self.n, 3), initializer=start)

    def call(self, rotations):
        positions = slice_coordinates(rotations, self.n) * self.n + self.n // 2
        return sample_trilinear(self.grid[None], positions, boundary="nearest")

    def whole_grid(self):
        """All coordinates, ``(1, n, n, n, 3)``, index [z, y, x]."""
        if not self.built:
            self.build((None, 3, 3))
        return ops.convert_to_tensor(self.grid)[None]

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.n, self.n, 3)

    def get_config(self):
        return {**super().get_config(), "n": self.n}
