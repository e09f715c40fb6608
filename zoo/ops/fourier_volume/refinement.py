"""Gauss-Newton refinement of poses against trilinear grids, with the interpolation's own slopes."""

from typing import NamedTuple

import numpy as np

from zoo.kernels import kernel
from zoo.ops.fourier_volume.grid import PAD
from zoo.ops.fourier_volume.half_plane import HalfPlane
from zoo.ops.fourier_volume.slices import MATH, value_and_slopes_at, value_at
from zoo.ops.fourier_volume.threads import in_ranges

_CHUNK = 64
# Damping as a Gaussian prior of one step: 0.18 rad, and a pixel of a box of 32.
_ROTATION_PRECISION, _SHIFT_PRECISION, _RELATIVE = 30.0, 1.0, 0.02
_LONGEST_TURN, _LONGEST_MOVE = 0.2, 0.7 / 32
_WORSE = 5.0  # a step that loses as much log likelihood ends the search


class Refined(NamedTuple):
    """Frames ``(n, 2, 3)``, shifts ``(n, 2)``, loss ``(n,)`` and residual power ``(n, shells)`` by shell.

    The loss is Σ w |X − C S|² over the points, the residual Σ |X − C S|² of each shell.
    """

    frames: np.ndarray
    shifts: np.ndarray
    loss: np.ndarray
    residual: np.ndarray


@kernel(fastmath=MATH)
def _residuals(grid, frame, shift, x, c, points, shell, weight, turn, residual):
    """Loss at one pose; fills the residual power by shell."""
    middle, loss = grid.shape[0] // 2, 0.0
    residual[:] = 0
    for p in range(points.shape[0]):
        kx, ky = points[p, 0] * PAD, points[p, 1] * PAD
        value = value_at(
            grid,
            kx * frame[0, 0] + ky * frame[1, 0] + middle,
            kx * frame[0, 1] + ky * frame[1, 1] + middle,
            kx * frame[0, 2] + ky * frame[1, 2] + middle,
        )
        angle = turn * (points[p, 0] * shift[0] + points[p, 1] * shift[1])
        predicted = value * complex(np.cos(angle), -np.sin(angle)) * c[p]
        square = (x[p].real - predicted.real) ** 2 + (x[p].imag - predicted.imag) ** 2
        loss += weight[p] * square
        residual[shell[p]] += square
    return loss


@kernel(fastmath=MATH)
def _normal_equations(grid, frame, shift, x, c, points, weight, turn, curvature, gradient):
    """Loss at one pose, JᵀwJ (5, 5) and Jᵀw(X − CS) (5,) by three turns about x, y, z and two shifts."""
    middle, loss = grid.shape[0] // 2, 0.0
    curvature[:], gradient[:] = 0, 0
    slope = np.zeros((5, 2))
    for p in range(points.shape[0]):
        kx, ky = points[p, 0] * PAD, points[p, 1] * PAD
        x0 = kx * frame[0, 0] + ky * frame[1, 0]
        y0 = kx * frame[0, 1] + ky * frame[1, 1]
        z0 = kx * frame[0, 2] + ky * frame[1, 2]
        value, by_x, by_y, by_z = value_and_slopes_at(grid, x0 + middle, y0 + middle, z0 + middle)
        angle = turn * (points[p, 0] * shift[0] + points[p, 1] * shift[1])
        factor = complex(np.cos(angle), -np.sin(angle)) * c[p]
        value, by_x, by_y, by_z = value * factor, by_x * factor, by_y * factor, by_z * factor
        re, im = x[p].real - value.real, x[p].imag - value.imag
        loss += weight[p] * (re * re + im * im)
        # a turn about x moves the point by (0, -z, y), and so on
        about_x, about_y, about_z = y0 * by_z - z0 * by_y, z0 * by_x - x0 * by_z, x0 * by_y - y0 * by_x
        slope[0, 0], slope[0, 1] = about_x.real, about_x.imag
        slope[1, 0], slope[1, 1] = about_y.real, about_y.imag
        slope[2, 0], slope[2, 1] = about_z.real, about_z.imag
        along_x, along_y = turn * points[p, 0], turn * points[p, 1]
        slope[3, 0], slope[3, 1] = along_x * value.imag, -along_x * value.real
        slope[4, 0], slope[4, 1] = along_y * value.imag, -along_y * value.real
        for a in range(5):
            u, v = slope[a, 0] * weight[p], slope[a, 1] * weight[p]
            gradient[a] += u * re + v * im
            for b in range(a + 1):
                curvature[a, b] += u * slope[b, 0] + v * slope[b, 1]
    return loss


@kernel()
def _solve5(a, b):
    """Solve a x = b in place by Cholesky; a (5, 5) holds its lower half and is positive definite."""
    for i in range(5):
        for j in range(i + 1):
            total = a[i, j]
            for k in range(j):
                total -= a[i, k] * a[j, k]
            a[i, j] = np.sqrt(max(total, 1e-12)) if i == j else total / a[j, j]
    for i in range(5):
        for k in range(i):
            b[i] -= a[i, k] * b[k]
        b[i] /= a[i, i]
    for i in range(4, -1, -1):
        for k in range(i + 1, 5):
            b[i] -= a[k, i] * b[k]
        b[i] /= a[i, i]


@kernel()
def _turn(frame, step):
    """Turn both rows of a frame by a small rotation vector and make them orthonormal again."""
    for row in range(2):
        x, y, z = frame[row, 0], frame[row, 1], frame[row, 2]
        frame[row, 0] = x + step[1] * z - step[2] * y
        frame[row, 1] = y + step[2] * x - step[0] * z
        frame[row, 2] = z + step[0] * y - step[1] * x
    frame[0] /= np.sqrt((frame[0] ** 2).sum())
    frame[1] -= (frame[0] * frame[1]).sum() * frame[0]
    frame[1] /= np.sqrt((frame[1] ** 2).sum())


@kernel()
def _refine(
    grids,
    which,
    images,
    frames,
    shifts,
    values,
    ctf,
    points,
    shell,
    weights,
    box,
    steps,
    limit,
    loss,
    residual,
):
    turn, scale = 2 * np.pi / box, box / 32.0
    curvature, gradient = np.zeros((5, 5)), np.zeros(5)
    frame, shift = np.zeros((2, 3)), np.zeros(2)
    for n in range(images.shape[0]):
        grid, x, c, weight = grids[which[n]], values[images[n]], ctf[images[n]], weights[which[n]]
        frame[:], shift[:], best = frames[n], shifts[n], 1e300
        for _ in range(steps):
            now = _normal_equations(grid, frame, shift, x, c, points, weight, turn, curvature, gradient)
            if now < best:
                best, frames[n], shifts[n] = now, frame, shift
            elif now > best + _WORSE:
                break
            for a in range(5):
                least = _ROTATION_PRECISION if a < 3 else _SHIFT_PRECISION / scale**2
                curvature[a, a] += least + (_RELATIVE * curvature[a, a] if a < 3 else 0.0)
            _solve5(curvature, gradient)
            length = np.sqrt((gradient[:3] ** 2).sum())
            if length > _LONGEST_TURN:
                gradient[:3] *= _LONGEST_TURN / length
            _turn(frame, gradient)
            for a in range(2):
                move = min(_LONGEST_MOVE * box, max(-_LONGEST_MOVE * box, gradient[3 + a]))
                shift[a] = min(limit, max(-limit, shift[a] + move))
        last = _residuals(grid, frame, shift, x, c, points, shell, weight, turn, residual[n])
        if steps == 0 or last < best:
            loss[n], frames[n], shifts[n] = last, frame, shift
        else:
            loss[n] = _residuals(grid, frames[n], shifts[n], x, c, points, shell, weight, turn, residual[n])


def refine_poses(
    grids,
    which,
    images,
    frames,
    shifts,
    values,
    ctf,
    plane: HalfPlane,
    weights,
    band,
    steps,
    largest_shift_px,
) -> Refined:
    """Damped Gauss-Newton (Levenberg 1944) of rotation and shift of candidates, all on their own.

    grids ``(g, side, side, side)``; candidate n is image ``images[n]`` (a row of values and ctf) against grid
    ``which[n]`` from ``frames[n]`` (2, 3) and ``shifts[n]`` (2,) in pixels of the plane's box; weights
    ``(g, shells)``: 1 over the noise variance of each shell. Points 0 < |k| <= band decide; with 0 steps
    nothing moves, and loss and residuals of the poses as given are returned.
    """
    count = plane.up_to(band)
    points, shell = plane.points[1:count], plane.shell[1:count]
    by_point = np.ascontiguousarray(weights[:, shell], np.float64)
    result = Refined(
        np.array(frames, np.float32),
        np.array(shifts, np.float32),
        np.empty(len(images)),
        np.empty((len(images), plane.radius + 1)),
    )
    # rows without the origin; the kernel reads as many points as it is given
    values, ctf = values[:, 1:], ctf[:, 1:]

    def part(a, b):
        _refine(
            grids,
            which[a:b],
            images[a:b],
            result.frames[a:b],
            result.shifts[a:b],
            values,
            ctf,
            points,
            shell,
            by_point,
            float(plane.box),
            steps,
            float(largest_shift_px),
            result.loss[a:b],
            result.residual[a:b],
        )

    in_ranges(part, len(images), _CHUNK)
    return result
