"""A trainable grid of coordinates, cut by a rotated plane."""

from keras import ops

from zoo.layers.registered import Float32Layer, registered, starting_at
from zoo.ops import fourier
from zoo.ops.interpolation import BOUNDARIES, sample_trilinear
from zoo.ops.slices import slice_coordinates


@registered
class CoordinateGrid(Float32Layer):
    """A ``(b, 3, 3)`` → coordinates ``(b, n, n, 3)`` on the plane Aᵀ(kx, ky, 0), from a trained grid.

    The grid of n³×3 numbers is sampled trilinearly. It starts as its own position: xyz with ±``nyquist`` at
    the Nyquist frequency (1: in units of it; n/2: index units), 0 at index n//2. ``boundary`` says what lies
    outside the grid, beyond Nyquist's sphere: its ``nearest`` value, or the other end (``wrap``).
    trainable=False keeps the plain plane (thesis §11 trains it).
    """

    def __init__(self, n, nyquist=1.0, boundary="nearest", **kwargs):
        super().__init__(**kwargs)
        if boundary not in BOUNDARIES:
            raise ValueError(f"boundary is one of {', '.join(BOUNDARIES)}, got {boundary!r}")
        self.n, self.nyquist, self.boundary = n, float(nyquist), boundary

    def build(self, input_shape):
        start = starting_at(2.0 * self.nyquist * fourier.frequency_grid_3d(self.n))
        self.grid = self.add_weight(name="grid", shape=(self.n, self.n, self.n, 3), initializer=start)

    def call(self, rotations):
        return self.at(slice_coordinates(rotations, self.n) * self.n)

    def at(self, frequency):
        """Frequencies ``(b, …, 3)`` xyz in index units (1: one cycle per box) → coordinates ``(b, …, 3)``."""
        return sample_trilinear(self.whole_grid(), frequency + float(self.n // 2), boundary=self.boundary)

    def whole_grid(self):
        """All coordinates, ``(1, n, n, n, 3)``, index [z, y, x]."""
        if not self.built:
            self.build((None, 3, 3))
        return ops.convert_to_tensor(self.grid)[None]

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.n, self.n, 3)

    def get_config(self):
        config = {"n": self.n, "nyquist": self.nyquist, "boundary": self.boundary}
        return {**super().get_config(), **config}
