"""Correlation of a map turned and shifted with another, on the low Fourier shells that say where it lies."""

import math

import numpy as np
from scipy import fft, optimize
from scipy.spatial.transform import Rotation

_PAD = 2


class Shells:
    """Half a ball of Fourier voxels of the reference, without the origin, and scores on it."""

    def __init__(self, target, radius):
        box = target.shape[0]
        axis = np.arange(-radius, radius + 1)
        kz, ky, kx = (k.ravel() for k in np.meshgrid(axis, axis, axis, indexing="ij"))
        length = kx**2 + ky**2 + kz**2
        half = (kz > 0) | ((kz == 0) & ((ky > 0) | ((ky == 0) & (kx > 0))))
        keep = half & (length <= radius**2)
        self.frequency = np.stack([kx, ky, kz], axis=1)[keep]
        self.reference = target[tuple(self.frequency[:, ::-1].T + box // 2)]
        self.power = np.sqrt((np.abs(self.reference) ** 2).sum())
        self.radius = radius
        self.box = box

    def rotated(self, transform, rotations):
        """Transform of the rotated map at the half ball: (..., n) complex for matrices (..., 3, 3)."""
        # A rotated map has the rotated transform: its value at k is the old one at R^T k.
        at = np.swapaxes(rotations, -1, -2) @ (self.frequency.T * float(_PAD)) + transform.shape[0] // 2
        return _interpolated(transform, at)

    def search(self, transform, rotations):
        """Best correlation (n,) over all shifts and that shift (n, 3) xyz in pixels, for each rotation."""
        size = 3 * self.radius + 1
        # irfftn takes kx >= 0; on the plane kx = 0 both of a Friedel pair must be there
        flip = np.where(self.frequency[:, 0] < 0, -1, 1)
        place = tuple((self.frequency * flip[:, None])[:, ::-1].T % size)
        plane = self.frequency[:, 0] == 0
        partner = tuple(-self.frequency[plane, ::-1].T % size)
        scores, shifts = np.empty(len(rotations)), np.empty((len(rotations), 3))
        for start in range(0, len(rotations), 100):
            values = self.rotated(transform, rotations[start : start + 100])
            norm = np.sqrt((np.abs(values) ** 2).sum(-1)) * self.power
            product = self.reference * values.conj()
            spectrum = np.zeros((len(values), size, size, size // 2 + 1), np.complex64)
            spectrum[(slice(None), *place)] = np.where(flip > 0, product, product.conj())
            spectrum[(slice(None), *partner)] = product[:, plane].conj()
            maps = fft.irfftn(spectrum, s=(size,) * 3, axes=(1, 2, 3)).reshape(len(values), -1)
            best = maps.argmax(1)
            scores[start : start + 100] = maps.max(1) * size**3 / 2 / np.maximum(norm, 1e-30)
            zyx = np.stack(np.unravel_index(best, (size,) * 3), axis=1)
            zyx = (zyx + size // 2) % size - size // 2
            shifts[start : start + 100] = zyx[:, ::-1] * self.box / size
        return scores, shifts

    def refine(self, transform, hand, rotation, shift):
        """(correlation, hand, rotation, shift) at the best rotation and shift near the given ones."""

        turn, wave = rotation.as_matrix(), -2j * np.pi / self.box * self.frequency

        # Thousands of steps: without SciPy's Rotation, which takes longer than all the rest.
        def loss(step):
            values = self.rotated(transform, _turn(step[:3]) @ turn)
            norm = np.sqrt(np.vdot(values, values).real) * self.power
            values *= np.exp(wave @ (shift + step[3:]))
            return -float(np.vdot(values, self.reference).real / max(norm, 1e-30))

        # First steps: nearly one Fourier voxel at the edge of the ball, and a part of its wavelength.
        steps = [0.7 / self.radius] * 3 + [0.15 * self.box / self.radius] * 3
        simplex = np.vstack([np.zeros(6), np.diag(steps)])
        options = {"initial_simplex": simplex, "maxfev": 400, "xatol": 2e-4, "fatol": 1e-7, "adaptive": True}
        best = optimize.minimize(loss, np.zeros(6), method="Nelder-Mead", options=options)
        return -best.fun, hand, Rotation.from_rotvec(best.x[:3]) * rotation, shift + best.x[3:]


def _turn(vector):
    """Matrix (3, 3) of a turn by a vector (3,) in radians (Rodrigues' formula)."""
    x, y, z = vector
    angle = math.sqrt(x * x + y * y + z * z)
    sine, versine = (math.sin(angle) / angle, 2 * (math.sin(angle / 2) / angle) ** 2) if angle else (1, 0.5)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + sine * cross + versine * (cross @ cross)


def _interpolated(grid, at):
    """Trilinear values (..., n) of a grid (z, y, x) at indices (..., 3, n) xyz inside it."""
    side, flat = grid.shape[0], grid.ravel()
    low = at.astype(np.intp)
    part = at - low
    corner = (low[..., 2, :] * side + low[..., 1, :]) * side + low[..., 0, :]
    x, y, z = part[..., 0, :], part[..., 1, :], part[..., 2, :]
    planes = []
    for plane in (0, side * side):
        rows = []
        for row in (plane, plane + side):
            near = flat.take(corner + row)
            rows.append(near + (flat.take(corner + (row + 1)) - near) * x)
        planes.append(rows[0] + (rows[1] - rows[0]) * y)
    return planes[0] + (planes[1] - planes[0]) * z


def centred_transform(volume):
    """Transform with the origin of both spaces in the middle (voxel n // 2)."""
    return np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(volume)))


def padded_transform(volume):
    """The same of the map padded twice, so that linear interpolation between its voxels is good enough."""
    box = volume.shape[0]
    before = _PAD * box // 2 - box // 2
    padded = np.pad(volume - volume.mean(), [(before, _PAD * box - box - before)] * 3)
    return centred_transform(padded)
