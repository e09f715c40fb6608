"""Direct Fourier reconstruction of a small volume from a tilt series about y."""

import numpy as np
from scipy import fft, sparse

_PAD = 2
_HALF_LINE = 0.5
_LINE = 1.0


class TiltReconstructor:
    """Volumes (n, n, n) from tilted images (tilts, n, n); the geometry is worked out once.

    The tilt axis is on the grid, so all that is interpolated are planes of constant ky, and all planes
    alike. Each point of a plane is the weighted mean of the lines of the tilts near it: of all that are
    closer than one voxel, and, where the lines are farther apart than that, of the two it lies between. The
    weight falls linearly with the distance. Beyond the largest tilt a point counts as measured up to half a
    voxel from the last line. Frequencies from Nyquist on are left out. The projection slice theorem: Crowther
    et al. 1970; the interpolation along a line is made exact as in RELION, by padding and sinc^2.
    """

    def __init__(self, n: int, angles_deg: np.ndarray):
        self.n, self.angles_deg = n, np.asarray(angles_deg, np.float64)
        self._weights, self.measured_plane = _line_weights(n, self.angles_deg)
        axis = np.arange(n) - n // 2
        self._correction = (1 / np.sinc(axis / (_PAD * n)) ** 2).astype(np.float32)
        self._sphere = _inside_nyquist(n)

    @property
    def line_frequency(self) -> np.ndarray:
        """The xy frequencies (2, _PAD n, n // 2 + 1) in cycles/pixel at which `combine` takes values."""
        kx = np.arange(_PAD * self.n) / (_PAD * self.n) - 0.5
        return np.stack(np.meshgrid(kx, np.arange(self.n // 2 + 1) / self.n, indexing="ij"))

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Reconstruct images (tilts, y, x), sums along the beam, into the volume (z, y, x) float32."""
        return self.volume(self.combine(self.lines(images)))

    def lines(self, images: np.ndarray) -> np.ndarray:
        """Transforms (tilts, _PAD n, n // 2 + 1) of images, kx in increasing order, padded along x."""
        n = self.n
        padded = np.zeros((len(images), n, _PAD * n), np.float32)
        first = _PAD * n // 2 - n // 2
        padded[:, :, first : first + n] = images * self._correction
        # the first pixel of an image is as far from its middle on either side of the box
        padded[:, :, first] /= 2
        padded[:, :, first + n] = padded[:, :, first]
        padded = np.roll(padded, (-(n // 2), -(_PAD * n // 2)), axis=(1, 2))
        transform = fft.fft(fft.rfft(padded, axis=1), axis=2)
        return np.roll(transform, _PAD * n // 2, axis=2).transpose(0, 2, 1)

    def combine(self, lines: np.ndarray) -> np.ndarray:
        """Lines (tilts, _PAD n, n // 2 + 1) → half transform (kz, ky >= 0, kx), kz and kx centred.

        What is not measured is 0.
        """
        n = self.n
        flat = np.ascontiguousarray(lines.reshape(-1, n // 2 + 1))
        half = (self._weights @ flat).reshape(n, n, n // 2 + 1).transpose(0, 2, 1)
        return half * self._sphere

    def volume(self, half: np.ndarray) -> np.ndarray:
        """The real volume (z, y, x) float32 of a half transform from `combine`."""
        n = self.n
        half = fft.ifft2(fft.ifftshift(half, axes=(0, 2)), axes=(0, 2))
        volume = fft.irfft(half, n, axis=1)
        return np.ascontiguousarray(np.roll(volume, (n // 2,) * 3, axis=(0, 1, 2)), np.float32)

    def transfer_volume(self, transfer: np.ndarray) -> np.ndarray:
        """What the series does to a volume: its transfer function (n, n, n) float32, DC at n // 2.

        `transfer` ([tilts,] _PAD n, n // 2 + 1) holds the factor on the images at `line_frequency`. The
        transform of a reconstruction is this times that of the particle; 0 is not measured.
        """
        lines = np.broadcast_to(transfer, (len(self.angles_deg), _PAD * self.n, self.n // 2 + 1))
        half = self.combine(lines.astype(np.float32))
        return full_transform(half)


def full_transform(half: np.ndarray) -> np.ndarray:
    """Real, even transform (kz, ky >= 0, kx), kz and kx centred → (kz, ky, kx), all centred; n is even."""
    mirrored = np.roll(half[::-1, ::-1, ::-1], (1, 1), axis=(0, 2))  # (-kz, -ky, -kx) for ky = n/2 .. 0
    return np.ascontiguousarray(np.concatenate([mirrored[:, :-1], half[:, :-1]], axis=1))


def _line_weights(n, angles_deg):
    """Sparse (n n, tilts _PAD n): grid points (kz, kx) from points on the lines; and which are measured."""
    axis = np.arange(n) - n // 2
    kz, kx = (grid.ravel() for grid in np.meshgrid(axis, axis, indexing="ij"))
    radius = np.hypot(kx, kz)
    theta = np.radians(angles_deg)[:, None]
    along = kx * np.cos(theta) - kz * np.sin(theta)
    distance = np.abs(kx * np.sin(theta) + kz * np.cos(theta))
    gap = np.radians(np.diff(np.sort(angles_deg)).max()) if len(angles_deg) > 1 else 0.0
    tilt = -((np.degrees(np.arctan2(kz, kx)) + 90) % 180 - 90)
    within = (tilt >= angles_deg.min() - 1e-6) & (tilt <= angles_deg.max() + 1e-6)
    # a full turn has no outside: between the last tilt and the first, seen from behind, lies one more gap
    within |= 180 - np.ptp(angles_deg) <= np.degrees(gap) + 1e-6
    width = np.where(within, np.maximum(_LINE, radius * gap), _LINE)
    weight = np.clip(1 - distance / width, 0, None) * (within | (distance <= _HALF_LINE))
    weight *= (radius < n / 2) & (np.abs(along) < n / 2)
    total = weight.sum(0)
    measured = total > 1e-6
    weight = weight / np.where(measured, total, 1) * measured
    line, point = np.nonzero(weight)
    place = (along[line, point] + n / 2) * _PAD
    low = np.floor(place).astype(int)
    share = place - low
    value = weight[line, point]
    rows = np.concatenate([point, point])
    columns = np.concatenate([line * _PAD * n + low, line * _PAD * n + np.minimum(low + 1, _PAD * n - 1)])
    values = np.concatenate([value * (1 - share), value * share]).astype(np.float32)
    shape = (n * n, len(angles_deg) * _PAD * n)
    return sparse.csr_array((values, (rows, columns)), shape=shape), measured.reshape(n, n)


def _inside_nyquist(n):
    axis, half = np.arange(n) - n // 2, np.arange(n // 2 + 1)
    squared = axis[:, None, None] ** 2 + half[:, None] ** 2 + axis**2
    return squared < (n / 2) ** 2
