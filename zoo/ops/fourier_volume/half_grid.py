"""Back-projection into half of a padded Fourier grid: half the memory, for large boxes, in threads."""

from __future__ import annotations

import numpy as np
from scipy import fft

from zoo.kernels import kernel
from zoo.ops.fourier_volume.grid import PAD
from zoo.ops.fourier_volume.slices import MATH
from zoo.ops.fourier_volume.threads import cores, in_ranges

_SLABS_PER_CORE = 4
_SHARPNESS = 4.0  # of the edge at the band, per shell


@kernel(fastmath=MATH)
def _insert(sums, low, high, frames, shifts, weights, values, ctf, points, turn):
    """Add images to the planes low <= z < high. What lies at x < 0 goes to its Friedel mate."""
    middle = sums.shape[0] // 2
    for n in range(frames.shape[0]):
        if weights[n] == 0:
            continue
        frame = frames[n]
        for p in range(points.shape[0]):
            kx, ky = points[p, 0] * PAD, points[p, 1] * PAD
            x = kx * frame[0, 0] + ky * frame[1, 0]
            z = kx * frame[0, 2] + ky * frame[1, 2]
            side = np.float32(-1 if x < 0 else 1)
            z = z * side + middle
            iz = int(z)
            if iz + 1 < low or iz >= high:
                continue
            angle = turn * (points[p, 0] * shifts[n, 0] + points[p, 1] * shifts[n, 1])
            weight = ctf[n, p] * weights[n]
            cosine, sine = np.cos(angle) * weight, np.sin(angle) * weight
            re = values[n, p].real * cosine - values[n, p].imag * sine
            im = (values[n, p].real * sine + values[n, p].imag * cosine) * side
            weight *= ctf[n, p]
            x *= side
            y = (kx * frame[0, 1] + ky * frame[1, 1]) * side + middle
            ix, iy = int(x), int(y)
            fx, fy, fz = np.float32(x - ix), np.float32(y - iy), np.float32(z - iz)
            for dz in range(2):
                if not low <= iz + dz < high:
                    continue
                share_z = fz if dz else 1 - fz
                for dy in range(2):
                    share_y = share_z * (fy if dy else 1 - fy)
                    for dx in range(2):
                        share = share_y * (fx if dx else 1 - fx)
                        cell = sums[iz + dz, iy + dy, ix + dx]
                        cell[0] += re * share
                        cell[1] += im * share
                        cell[2] += weight * share


@kernel()
def _complete(sums):
    """The plane x = 0 holds both halves of every slice: each cell gets the conjugate of its mate."""
    extent = sums.shape[0]
    for z in range(1, extent // 2 + 1):
        for y in range(1, extent):
            other_z, other_y = extent - z, extent - y
            if z == other_z and y > other_y:
                continue
            here, there = sums[z, y, 0], sums[other_z, other_y, 0]
            re, im, weight = here[0] + there[0], here[1] - there[1], here[2] + there[2]
            here[0], here[1], here[2] = re, im, weight
            there[0], there[1], there[2] = re, -im, weight


@kernel()
def _shell_sums(sums, total, count):
    """Σ w C² and number of cells by shell; cells at x > 0 stand for two."""
    middle = sums.shape[0] // 2
    for z in range(sums.shape[0]):
        for y in range(sums.shape[1]):
            across = (z - middle) ** 2 + (y - middle) ** 2
            for x in range(sums.shape[2]):
                shell = int(np.rint(np.sqrt(np.float64(across + x * x)) / PAD))
                if shell < total.shape[0]:
                    times = 1 if x == 0 else 2
                    total[shell] += times * sums[z, y, x, 2]
                    count[shell] += times


@kernel()
def _quotient(sums, first, last, added, band, out):
    """Planes first <= z < last of Σ w C X / (Σ w C² + added), laid into ``out`` with frequency 0 at 0."""
    middle, side = sums.shape[0] // 2, out.shape[0]
    for z in range(first, last):
        for y in range(sums.shape[1]):
            across = (z - middle) ** 2 + (y - middle) ** 2
            to_z, to_y = (z - middle) % side, (y - middle) % side
            for x in range(sums.shape[2]):
                radius = np.sqrt(np.float64(across + x * x)) / PAD
                shell = int(np.rint(radius))
                if shell >= added.shape[0]:
                    continue
                weight = sums[z, y, x, 2] + added[shell]
                if weight <= 0:
                    continue
                edge = 1 / (1 + np.exp(min(max((radius - band - 0.5) * _SHARPNESS, -50.0), 50.0)))
                factor = np.float32(edge / weight)
                out[to_z, to_y, x] = complex(sums[z, y, x, 0] * factor, sums[z, y, x, 1] * factor)


class HalfGrid:
    """Sums of images back-projected up to shell ``radius`` into a map of ``box`` voxels, and its solution.

    Only x >= 0 is kept, and only what the shells up to ``radius`` reach: ``new_sums()`` is
    ``(2 reach, 2 reach, reach, 3)`` float32 with reach = PAD · radius + 2: re and im of Σ w C X, and Σ w C².
    Conventions are those of `FourierGrid` and `insert`; the sums in the whole grid, completed by their
    conjugates, are the same.
    """

    def __init__(self, box: int, radius: int):
        if box < 4 or box % 2:
            raise ValueError(f"box {box}: expected an even number of at least 4")
        if not 1 <= radius < box / 2:
            raise ValueError(f"radius {radius} in a box of {box}: expected 1 to {(box - 1) // 2}")
        self.box, self.radius, self.reach = box, radius, PAD * radius + 2

    def new_sums(self) -> np.ndarray:
        """Empty sums of one half set."""
        return np.zeros((2 * self.reach, 2 * self.reach, self.reach, 3), np.float32)

    def insert(self, sums, frames, shifts, weights, values, ctf, points) -> None:
        """Add images, a row each of ``values`` and ``ctf`` ``(b, >= m)``, at ``points`` ``(m, 2)``.

        frames ``(b, 2, 3)``, shifts ``(b, 2)`` in pixels of the box, weights ``(b,)``. Threads share the
        planes of the grid, so that the result does not depend on their number.
        """
        arrays = (
            np.ascontiguousarray(frames, np.float32),
            np.ascontiguousarray(shifts, np.float32),
            np.ascontiguousarray(weights, np.float32),
            values,
            ctf,
            points,
            np.float32(2 * np.pi / self.box),
        )
        planes = max(1, len(sums) // (_SLABS_PER_CORE * cores()))
        in_ranges(lambda a, b: _insert(sums, a, b, *arrays), len(sums), planes)

    def complete(self, sums: np.ndarray) -> np.ndarray:
        """Finish the sums of all images, in place: once, before they are solved or added to others."""
        _complete(sums)
        return sums

    def shell_density(self, sums: np.ndarray) -> np.ndarray:
        """Mean of Σ w C² over the cells of each shell ``(radius + 1,)``, of completed sums."""
        total, count = np.zeros(self.radius + 1), np.zeros(self.radius + 1, np.int64)
        _shell_sums(sums, total, count)
        return total / np.maximum(count, 1)

    def solve(self, sums: np.ndarray, added: np.ndarray, band: float | None = None) -> np.ndarray:
        """Map ``(z, y, x)`` = Σ w C X / (Σ w C² + added) of completed sums, with a soft edge beyond ``band``.

        added ``(radius + 1,)`` by shell: noise over signal variance in units of Σ w C². Insertion spreads
        each value as trilinear interpolation would: the map is divided by sinc² along each axis.
        """
        side = PAD * self.box
        spectrum = np.zeros((side, side, side // 2 + 1), np.complex64)
        added = np.asarray(added, np.float64)
        band = float(self.radius if band is None else band)
        in_ranges(lambda a, b: _quotient(sums, a, b, added, band, spectrum), len(sums), 16)
        padded = fft.irfftn(spectrum, (side,) * 3, workers=-1, overwrite_x=True)
        half = self.box // 2
        volume = padded
        for axis in range(3):
            ends = [slice(None)] * 3, [slice(None)] * 3
            ends[0][axis], ends[1][axis] = slice(side - half, side), slice(0, half)
            volume = np.concatenate([volume[tuple(end)] for end in ends], axis=axis)
        window = np.sinc((np.arange(self.box) - half) / side) ** 2 / self.box ** (1 / 3)
        for axis in range(3):
            shape = [1, 1, 1]
            shape[axis] = self.box
            volume /= window.reshape(shape).astype(np.float32)
        return volume
