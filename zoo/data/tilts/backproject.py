"""A subtomogram from the images of its tilts, in any directions: direct Fourier reconstruction.

Each frequency of an image is a frequency of the volume (the projection slice theorem, Crowther et al. 1970).
The images are spread over a grid of twice the box with a Kaiser-Bessel kernel (Jackson et al. 1991), which
is divided out of the result: this is the adjoint of projecting, free of the errors of interpolation.
"""

from __future__ import annotations

import numpy as np
import scipy.fft

_PAD = 2
_WIDTH = 3
_BETA = np.pi * np.sqrt((_WIDTH / _PAD) ** 2 * (_PAD - 0.5) ** 2 - 0.8)  # Beatty et al. 2005, equation 5
_DISTANCES = np.linspace(0, _WIDTH / 2, 4096)
_KERNEL = (_DISTANCES, np.i0(_BETA * np.sqrt(1 - (2 * _DISTANCES / _WIDTH) ** 2)))
_CHUNK_POINTS = 1 << 16
_ITERATIONS = 5
_REGULARISATION = 0.3
"""In units of one tilt of transfer 1: what is seen less is not amplified."""
_MEASURED_VOXELS = 1.0


class TiltBackprojector:
    """Volumes (n, n, n) and their Fourier weights from tilt images (f, n, n); n is even.

    What a series measures of a particle g is D = Σ Pᵀc(cPg + noise), c the transfer and P the projection of
    each tilt: D = Tg + noise of covariance T. T is a convolution; the weight of a frequency is the eigenvalue
    C of the circulant matrix nearest to T (T. Chan 1988), which is also the power of the noise there:
    volume = √C·g + white noise. C counts tilts: a lone one of transfer 1 gives 1 on its plane. Without noise
    D/√C would keep what the box cuts off of D, so g is estimated by conjugate gradients first.
    """

    def __init__(self, n: int):
        self.n, size = n, _PAD * n
        v, u = (grid.ravel() for grid in np.meshgrid(np.arange(1 - n, n), np.arange(n), indexing="ij"))
        inside = u**2 + v**2 < n**2
        # u > 0 stands for its mirror image too: the real part is taken in the end
        self._u, self._v = u[inside], v[inside]
        self._twice = np.where(self._u > 0, 2.0, 1.0)
        axis = np.arange(size) - n
        kernel = _per_axis(1 / _kernel_transform(axis / size)) * (size**3 / (4 * n**3))
        self._kernel = kernel.astype(np.float32)
        lag = np.clip(1 - np.abs(axis) / n, 0, None)
        self._lag_weight = _per_axis(lag).astype(np.float32)

    @property
    def frequency(self) -> np.ndarray:
        """The xy frequencies (2, m) in cycles/pixel at which images are looked at."""
        return np.stack([self._u, self._v]) / (_PAD * self.n)

    def lines(self, images: np.ndarray) -> np.ndarray:
        """Transforms (f, m) complex64 of images (f, n, n) about pixel n // 2, at ``frequency``."""
        n, size = self.n, _PAD * self.n
        first = n - n // 2
        padded = np.zeros((len(images), size, size), np.float32)
        padded[:, first : first + n, first : first + n] = images
        transform = scipy.fft.fft2(scipy.fft.ifftshift(padded, axes=(1, 2)))
        return transform[:, self._v, self._u]

    def volume(
        self, lines: np.ndarray, transfer: np.ndarray, matrices: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """(volume (n, n, n), weight (n, n, n // 2 + 1) in the half form), both float32.

        ``lines`` (f, m) are transforms of images that carry the transfer twice (CTF-premultiplied ones),
        ``transfer`` (f, m) carries it once; ``matrices`` (f, 3, 3) turn xyz of the volume into xy and depth
        of the image. volume's transform = weight × particle's + white noise; weight is 0 where no tilt
        measures.
        """
        n = self.n
        values = np.stack([lines.real, lines.imag, np.square(transfer)]) * self._twice
        real, imaginary, seen = self._spread(values, matrices)
        data = self._to_space(real + 1j * imaginary)[(slice(n // 2, n // 2 + n),) * 3]
        response = self._to_space(seen)
        circulant = scipy.fft.rfftn(scipy.fft.ifftshift(response * self._lag_weight)).real
        circulant = np.maximum(circulant[::_PAD, ::_PAD, ::_PAD], 0)
        particle = _conjugate_gradients(data, response, circulant)
        measured = scipy.fft.ifftshift(self._measured(matrices), axes=(0, 1))
        root = np.sqrt(circulant) * measured
        factor = (circulant + _REGULARISATION) / np.where(root > 0, root, 1) * measured
        volume = scipy.fft.irfftn(scipy.fft.rfftn(particle) * factor, s=(n,) * 3)
        return volume.astype(np.float32), scipy.fft.fftshift(root, axes=(0, 1)).astype(np.float32)

    def _spread(self, values: np.ndarray, matrices: np.ndarray) -> list[np.ndarray]:
        """Real values (several, f, m), each spread over a grid (2n, 2n, 2n) float32, DC in the corner."""
        size, points = _PAD * self.n, len(self._u)
        offsets = np.arange(_WIDTH)[:, None] - _WIDTH // 2
        values = values.reshape(len(values), -1)
        out = np.zeros((len(values), size**3))
        for start in range(0, values.shape[1], _CHUNK_POINTS):
            part = slice(start, min(start + _CHUNK_POINTS, values.shape[1]))
            tilt, point = np.divmod(np.arange(part.start, part.stop), points)
            u, v, along = self._u[point], self._v[point], matrices[tilt]
            cells, shares = np.zeros(1, np.int64), np.ones(1)
            for axis in (2, 1, 0):  # kz, ky, kx
                place = u * along[:, 0, axis] + v * along[:, 1, axis]
                near = np.rint(place).astype(np.int64) + offsets
                weights = np.interp(np.abs(near - place), *_KERNEL)
                cells = (cells * size)[..., None, :] + near % size if axis < 2 else near % size
                shares = shares[..., None, :] * weights if axis < 2 else weights
            cells = cells.ravel()
            for grid, component in zip(out, values, strict=True):
                grid += np.bincount(cells, (shares * component[part]).ravel(), minlength=size**3)
        return list(out.reshape(-1, size, size, size).astype(np.float32))

    def _to_space(self, grid: np.ndarray) -> np.ndarray:
        """Real space (2n, 2n, 2n) float32 of a spread, its middle at voxel n."""
        return scipy.fft.fftshift(scipy.fft.ifftn(grid).real).astype(np.float32) * self._kernel

    def _measured(self, matrices: np.ndarray) -> np.ndarray:
        """Where some tilt passes within a voxel, below Nyquist: (n, n, n // 2 + 1) bool, the half form."""
        axis, half = np.arange(self.n) - self.n // 2, np.arange(self.n // 2 + 1)
        z, y, x = np.meshgrid(axis, axis, half, indexing="ij", sparse=True)
        near = np.zeros((self.n, self.n, self.n // 2 + 1), bool)
        for normal in matrices[:, 2]:
            near |= np.abs(normal[0] * x + normal[1] * y + normal[2] * z) < _MEASURED_VOXELS
        return near & (x**2 + y**2 + z**2 < (self.n / 2) ** 2)


def _conjugate_gradients(data: np.ndarray, response: np.ndarray, circulant: np.ndarray) -> np.ndarray:
    """(T + ε)⁻¹ data, T the convolution with ``response`` (2n, 2n, 2n), preconditioned by ``circulant``."""
    n, size = data.shape[0], response.shape
    spectrum = scipy.fft.rfftn(scipy.fft.ifftshift(response))

    def applied(x):
        image = scipy.fft.irfftn(scipy.fft.rfftn(x, s=size) * spectrum, s=size)[:n, :n, :n]
        return image + _REGULARISATION * x

    def preconditioned(x):
        return scipy.fft.irfftn(scipy.fft.rfftn(x) / (circulant + _REGULARISATION), s=data.shape)

    # the transforms of this part have DC in the corner voxel: a shift that cancels
    estimate, residual = np.zeros_like(data), data.copy()
    step = preconditioned(residual)
    direction, energy = step.copy(), float(np.vdot(residual, step))
    for _ in range(_ITERATIONS):
        if energy <= 0:
            break
        image = applied(direction)
        length = energy / float(np.vdot(direction, image))
        estimate += length * direction
        residual -= length * image
        step = preconditioned(residual)
        before, energy = energy, float(np.vdot(residual, step))
        direction = step + energy / before * direction
    return estimate


def _kernel_transform(frequency: np.ndarray) -> np.ndarray:
    root = np.sqrt(_BETA**2 - (np.pi * _WIDTH * frequency) ** 2)
    return _WIDTH * np.sinh(root) / root


def _per_axis(values: np.ndarray) -> np.ndarray:
    return values[:, None, None] * values[:, None] * values
