"""Fourier coefficients of images on half of the plane: the other half are their conjugates."""

import numpy as np
from scipy import fft

from zoo.ops.ctf_values import ctf_values


class HalfPlane:
    """The points k = (kx, ky) with ky > 0, or ky = 0 and kx >= 0, up to ``radius``, sorted by |k|.

    k counts periods in the box. ``points (m, 2)`` float32, ``shell (m,)`` = round(|k|) int32,
    ``per_shell (radius + 1,)`` points of each. Point 0 is the origin. Coefficients are transforms divided by
    the box (white noise of variance s² has E|N|² = s²), with the image's origin at pixel box // 2.
    Raises ValueError where the box does not hold the radius.
    """

    def __init__(self, box: int, radius: int):
        if not 1 <= radius < box / 2:
            raise ValueError(f"radius {radius} in a box of {box}: expected 1 to {(box - 1) // 2}")
        self.box, self.radius = box, radius
        axis = np.arange(-radius, radius + 1)
        ky, kx = (grid.ravel() for grid in np.meshgrid(axis, axis, indexing="ij"))
        squared = kx**2 + ky**2
        keep = np.flatnonzero(((ky > 0) | ((ky == 0) & (kx >= 0))) & (squared <= radius**2))
        keep = keep[np.argsort(squared[keep], kind="stable")]
        self.points = np.stack([kx[keep], ky[keep]], axis=1).astype(np.float32)
        self.distance = np.sqrt(squared[keep].astype(np.float64))
        self.shell = np.rint(self.distance).astype(np.int32)
        self.per_shell = np.bincount(self.shell, minlength=radius + 1)
        # rfft2 has kx >= 0 only: points with kx < 0 are conjugates of what it has
        self._conjugate = kx[keep] < 0
        sign = np.where(self._conjugate, -1, 1)
        self._row, self._column = (sign * ky[keep]) % box, sign * kx[keep]
        plane = np.fft.fftfreq(box, 1 / box)[:, None] ** 2 + np.arange(box // 2 + 1) ** 2
        self._corner = plane > (box / 2) ** 2
        axis = np.arange(box) - box // 2
        self._outside = axis[:, None] ** 2 + axis**2 > (box / 2) ** 2

    def __len__(self) -> int:
        return len(self.points)

    def up_to(self, band: float) -> int:
        """How many of the points lie within ``band``: they come first."""
        return int(np.searchsorted(self.distance, band + 1e-6))

    def transform(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images ``(b, y, x)`` → coefficients ``(b, m)`` complex64 and mean power beyond Nyquist ``(b,)``.

        The power in the corners of the plane, where no signal is, is the variance of white noise.
        """
        plane = fft.rfft2(fft.ifftshift(np.asarray(images, np.float32), axes=(1, 2)))
        values = plane[:, self._row, self._column] / self.box
        values = np.where(self._conjugate, values.conj(), values).astype(np.complex64)
        corner = plane[:, self._corner]
        return values, (corner.real**2 + corner.imag**2).mean(axis=1) / self.box**2

    def background(self, images: np.ndarray) -> np.ndarray:
        """Variance ``(b,)`` of the pixels of images ``(b, y, x)`` beyond the circle that the box holds."""
        return np.asarray(images, np.float32)[:, self._outside].var(axis=1, dtype=np.float64)

    def ctf(self, ctf: np.ndarray, pixel_size_angstrom: np.ndarray) -> np.ndarray:
        """CTFs ``(b, m)`` float32 of parameters ``(b, 9)`` (order of zoo.ops.ctf.COLUMNS), pixels in Å."""
        pixels = np.broadcast_to(np.asarray(pixel_size_angstrom, np.float64), (len(ctf),))
        values = np.empty((len(ctf), len(self)), np.float32)
        for pixel in np.unique(pixels):
            rows = pixels == pixel
            values[rows] = ctf_values(np.asarray(ctf)[rows], self.points.T / (self.box * pixel))
        return values

    def shell_means(self, values: np.ndarray) -> np.ndarray:
        """Means ``(b, radius + 1)`` over shells of real values ``(b, m)``."""
        first = np.searchsorted(self.shell, np.arange(self.radius + 1))
        return np.add.reduceat(values.astype(np.float64), first, axis=1) / self.per_shell
