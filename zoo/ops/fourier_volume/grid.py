"""A map as a padded Fourier grid, and back."""

import numpy as np
from scipy import fft

PAD = 2
"""Zero-padding of a map before its transform is interpolated."""


class FourierGrid:
    """Between maps ``(box, box, box)`` and centred transforms ``(side, side, side)``, side = PAD · box.

    The value at index side // 2 + PAD·k (z, y, x) is the transform at frequency k in periods per box, divided
    by the box: so are the coefficients of `HalfPlane`, and a projection (sum along the beam) is a slice. Maps
    are divided by sinc² along each axis, which trilinear interpolation between grid points multiplies with.
    """

    def __init__(self, box: int):
        if box < 4 or box % 2:
            raise ValueError(f"box {box}: expected an even number of at least 4")
        self.box, self.side = box, PAD * box
        axis = np.arange(box) - box // 2
        window = np.sinc(axis / self.side) ** 2
        self.window = (window[:, None, None] * window[:, None] * window).astype(np.float32)
        self.radius = _radius(axis).astype(np.float32)
        self.grid_radius = (_radius(np.arange(self.side) - box) / PAD).astype(np.float32)
        self.grid_shell = np.minimum(np.rint(self.grid_radius), box).astype(np.int32)
        self.per_grid_shell = np.bincount(self.grid_shell.ravel(), minlength=box + 1)
        first = (self.side - box) // 2
        self._inner = (slice(first, first + box),) * 3

    def transform(self, volume: np.ndarray) -> np.ndarray:
        """Map ``(z, y, x)`` → grid complex64."""
        padded = np.zeros((self.side,) * 3, np.float32)
        padded[self._inner] = volume / self.window
        spectrum = fft.fftn(fft.ifftshift(padded), workers=-1, overwrite_x=True)
        return (fft.fftshift(spectrum) / np.float32(self.box)).astype(np.complex64)

    def inverse(self, grid: np.ndarray) -> np.ndarray:
        """Grid → map ``(z, y, x)`` float32: undoes `transform`; what no real map has is dropped."""
        padded = fft.fftshift(fft.ifftn(fft.ifftshift(grid.astype(np.complex64)), workers=-1).real)
        return (padded[self._inner] * np.float32(self.box) * self.window).astype(np.float32)

    def shell_means(self, values: np.ndarray) -> np.ndarray:
        """Means ``(box + 1,)`` of real grid values over shells of one period; the last holds all beyond."""
        total = np.bincount(self.grid_shell.ravel(), values.ravel(), minlength=self.box + 1)
        return total / np.maximum(self.per_grid_shell, 1)

    def sphere(self, radius_px: float, edge_px: float) -> np.ndarray:
        """Mask ``(z, y, x)``: 1 inside, 0 outside, a raised cosine of width ``edge_px`` about the radius."""
        outside = np.clip((self.radius - radius_px) / edge_px + 0.5, 0, 1)
        return (0.5 + 0.5 * np.cos(np.pi * outside)).astype(np.float32)


def negated(grid: np.ndarray) -> np.ndarray:
    """The values at −k of an even, centred grid over its last three axes."""
    return np.roll(grid[..., ::-1, ::-1, ::-1], 1, axis=(-3, -2, -1))


def resized(volume: np.ndarray, box: int) -> np.ndarray:
    """Map in another even box of the same width, by cutting or padding its transform; densities stay.

    The shell at the smaller box's Nyquist is left out: it has no partner there.
    """
    before, small = volume.shape[0], min(volume.shape[0], box)
    if before == box:
        return np.asarray(volume, np.float32)
    spectrum = fft.fftshift(fft.fftn(fft.ifftshift(volume)))
    axis = np.arange(1 - small // 2, small // 2)
    out = np.zeros((box,) * 3, np.complex64)
    out[np.ix_(*[axis + box // 2] * 3)] = spectrum[np.ix_(*[axis + before // 2] * 3)]
    inverse = fft.fftshift(fft.ifftn(fft.ifftshift(out))).real
    return (inverse * (box / before) ** 3).astype(np.float32)


def _radius(axis):
    return np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
