"""Central slices of a `FourierGrid` by trilinear interpolation, with the slopes of the interpolation."""

import numpy as np

from zoo.kernels import kernel
from zoo.ops.fourier_volume.grid import PAD
from zoo.ops.fourier_volume.threads import in_ranges

# Products may be fused and sums reordered, but infinities and NaN must stay visible.
MATH = {"nsz", "arcp", "contract", "reassoc"}


@kernel(fastmath=MATH, inline="always")
def value_at(grid, x, y, z):
    """Trilinear value of a grid (z, y, x) at indices x, y, z."""
    i, j, k = int(x), int(y), int(z)
    fx, fy, fz = np.float32(x - i), np.float32(y - j), np.float32(z - k)
    near = grid[k, j, i] + (grid[k, j, i + 1] - grid[k, j, i]) * fx
    far = grid[k, j + 1, i] + (grid[k, j + 1, i + 1] - grid[k, j + 1, i]) * fx
    below = near + (far - near) * fy
    k += 1
    near = grid[k, j, i] + (grid[k, j, i + 1] - grid[k, j, i]) * fx
    far = grid[k, j + 1, i] + (grid[k, j + 1, i + 1] - grid[k, j + 1, i]) * fx
    return below + (near + (far - near) * fy - below) * fz


@kernel(fastmath=MATH, inline="always")
def value_and_slopes_at(grid, x, y, z):
    """Trilinear value at indices x, y, z, and its derivatives by x, y and z."""
    i, j, k = int(x), int(y), int(z)
    fx, fy, fz = np.float32(x - i), np.float32(y - j), np.float32(z - k)
    a, b = grid[k, j, i], grid[k, j + 1, i]
    ax, bx = grid[k, j, i + 1] - a, grid[k, j + 1, i + 1] - b
    c, d = grid[k + 1, j, i], grid[k + 1, j + 1, i]
    cx, dx = grid[k + 1, j, i + 1] - c, grid[k + 1, j + 1, i + 1] - d
    a, b, c, d = a + ax * fx, b + bx * fx, c + cx * fx, d + dx * fx
    low, high = ax + (bx - ax) * fy, cx + (dx - cx) * fy
    below, above = a + (b - a) * fy, c + (d - c) * fy
    return (
        below + (above - below) * fz,
        low + (high - low) * fz,
        (b - a) + ((d - c) - (b - a)) * fz,
        above - below,
    )


@kernel(fastmath=MATH)
def _slices(grid, frames, points, out):
    middle, count = grid.shape[0] // 2, points.shape[0]
    for n in range(frames.shape[0]):
        frame = frames[n]
        for p in range(count):
            kx, ky = points[p, 0] * PAD, points[p, 1] * PAD
            value = value_at(
                grid,
                kx * frame[0, 0] + ky * frame[1, 0] + middle,
                kx * frame[0, 1] + ky * frame[1, 1] + middle,
                kx * frame[0, 2] + ky * frame[1, 2] + middle,
            )
            out[n, p], out[n, count + p] = value.real, value.imag


def central_slices(grid: np.ndarray, frames: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Slices ``(n, 2 m)`` float32, real parts before imaginary ones, at kx·frame[0] + ky·frame[1].

    grid: of `FourierGrid`; frames ``(n, 2, 3)`` float32: the first two rows of RELION's matrices A (their
    slice is at Aᵀ(kx, ky, 0)); points ``(m, 2)`` float32 within the grid's Nyquist.
    """
    out = np.empty((len(frames), 2 * len(points)), np.float32)
    in_ranges(lambda a, b: _slices(grid, frames[a:b], points, out[a:b]), len(frames), 1024)
    return out
