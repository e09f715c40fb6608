"""Noise-free projections of a map by the Fourier slice theorem, in NumPy: starts at once."""

import numpy as np
from scipy import fft, ndimage
from scipy.spatial.transform import Rotation

from zoo.ops.ctf_values import ctf_values

PAD = 2
"""Zero-padding of a map before its transform is interpolated."""
# Images of one chunk: keeps memory flat, at about 200 bytes per pixel.
_CHUNK_PIXELS = 1 << 20


class Projector:
    """Projections of one map (z, y, x) as `relion_project` makes them; its transform is computed once.

    The map is padded twice and divided by sinc^2, the transform of the trilinear interpolation that follows
    (RELION Projector::griddingCorrect). A pixel is the sum of the voxels along the beam.
    """

    def __init__(self, density: np.ndarray, pixel_size_angstrom: float):
        self.box = density.shape[-1]
        self.pixel_size_angstrom = pixel_size_angstrom
        self._transform = padded_transform(np.asarray(density, np.float64))
        axis = np.arange(self.box) - self.box // 2
        ky, kx = np.meshgrid(axis, np.arange(self.box // 2 + 1), indexing="ij")
        inside = kx**2 + ky**2 <= (self.box / 2) ** 2
        self._place = (ky[inside] % self.box, kx[inside])
        self._frequency = (np.stack([kx[inside], ky[inside]]) / self.box).astype(np.float32)

    def __call__(
        self, euler_deg: np.ndarray, origin_px: np.ndarray | None = None, ctf: np.ndarray | None = None
    ) -> np.ndarray:
        """Images (k, y, x) float32 for RELION angles (k, 3), origins (k, 2) in pixels and CTFs (k, 9).

        The image moves by minus the origin, as in RELION.
        """
        matrices = Rotation.from_euler("ZYZ", np.asarray(euler_deg), degrees=True).inv().as_matrix()
        transfer = None if ctf is None else _CtfRows(ctf, self.frequency_per_angstrom)
        return self.project(matrices, origin_px, transfer)

    @property
    def frequency_per_angstrom(self) -> np.ndarray:
        """The xy frequencies (2, m) in 1/Å at which `project` takes a transfer function."""
        return self._frequency / self.pixel_size_angstrom

    def project(self, matrices: np.ndarray, origin_px: np.ndarray | None = None, transfer=None) -> np.ndarray:
        """Images (k, y, x) float32 for RELION matrices (k, 3, 3), origins (k, 2) in pixels.

        `transfer` (k, m), or what gives its rows when sliced, multiplies the transforms.
        """
        images = np.empty((len(matrices), self.box, self.box), np.float32)
        chunk = max(1, _CHUNK_PIXELS // self.box**2)
        for start in range(0, len(images), chunk):
            rows = slice(start, start + chunk)
            values = self._slices(matrices[rows])
            if transfer is not None:
                values *= transfer[rows]
            if origin_px is not None:
                angle = _combine(2 * np.pi * np.asarray(origin_px[rows], np.float32), self._frequency)
                values *= np.cos(angle) + 1j * np.sin(angle)
            images[rows] = self._images(values)
        return images

    def _slices(self, matrices):
        """Values (k, m) of the transform on the central planes: at A^T (kx, ky, 0)."""
        rows = matrices[:, :2, ::-1].transpose(2, 0, 1).astype(np.float32)  # zyx of the two image axes
        at = _combine(rows, self._frequency * (PAD * self.box)) + PAD * self.box // 2
        return sample_transform(self._transform, at)

    def _images(self, values):
        spectrum = np.zeros((len(values), self.box, self.box // 2 + 1), np.complex64)
        spectrum[(slice(None), *self._place)] = values
        images = fft.irfft2(spectrum, s=(self.box, self.box))
        return np.roll(images, self.box // 2, axis=(1, 2))


def _combine(factors, vectors):
    """factors (..., 2) times vectors (2, m), summed: (..., m)."""
    # not a matrix product: BLAS rounds differently with the number of rows, and a seed must give one image
    return factors[..., 0, None] * vectors[0] + factors[..., 1, None] * vectors[1]


class _CtfRows:
    """Rows of the CTF, worked out as they are asked for: all at once would be as large as the images."""

    def __init__(self, ctf, frequency_per_angstrom):
        self._ctf, self._frequency = np.asarray(ctf), frequency_per_angstrom

    def __getitem__(self, rows):
        return ctf_values(self._ctf[rows], self._frequency)


def sample_transform(transform: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Trilinear values (...) of a padded transform at indices (3, ...) in the order z, y, x."""
    return ndimage.map_coordinates(transform, at, order=1, mode="grid-wrap", prefilter=False)


def padded_transform(density: np.ndarray) -> np.ndarray:
    """Transform of a map, divided by sinc^2, in a box PAD times as large, origin at the middle of both."""
    box = density.shape[0]
    axis = (np.arange(box) - box // 2) / (PAD * box)
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2)
    padded = np.zeros((PAD * box,) * 3, np.float32)
    first = PAD * box // 2 - box // 2
    padded[(slice(first, first + box),) * 3] = density / np.sinc(radius) ** 2
    return fft.fftshift(fft.fftn(fft.ifftshift(padded)))
