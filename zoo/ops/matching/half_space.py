"""Transforms of real maps kept as the half ball of frequencies that decides all others.

The other half is its conjugate, the zero frequency is 0. Transforms have unitary scale: the noise of a
frequency has the variance of that of a voxel.
"""

from functools import cached_property

import numpy as np
from keras import ops

from zoo.ops import fourier
from zoo.ops.matching import half_transform_table, oversampled_transform
from zoo.ops.matching.fourier_grid import reading_gain


class HalfBall:
    """The ``j`` frequencies of a box of n within ``radius`` Fourier voxels, one of each pair ±k.

    ``frequency (j, 3)`` xyz in Fourier voxels, ``shell (j,)`` int, ``index (j,)`` their places in a flat
    centred volume. Raises ValueError for a radius that the box does not hold.
    """

    def __init__(self, n, radius):
        if not 2 <= radius <= n // 2 - 1:
            raise ValueError(f"a box of {n} voxels holds radii from 2 to {n // 2 - 1}, got {radius}")
        self.n, self.radius = n, radius
        self.frequency = oversampled_transform.half_ball(radius)
        self.index = oversampled_transform.voxel_index(self.frequency, n)
        self.shell = np.rint(np.sqrt((self.frequency**2).sum(-1))).astype("int32")
        self.shells = radius + 1

    def __len__(self):
        return len(self.frequency)

    @cached_property
    def shell_table(self):
        """NumPy float32 ``(j, shells)``: 1 where a frequency belongs to a shell."""
        return np.eye(self.shells, dtype="float32")[self.shell]

    @cached_property
    def per_shell(self):
        """NumPy float32 ``(shells,)``: frequencies of the half ball in each shell, at least 1."""
        return np.maximum(self.shell_table.sum(0), 1.0)

    @cached_property
    def _origin(self):
        """Where each voxel of the whole transform comes from (j: nowhere), and the sign of its im."""
        source = np.full(self.n**3, len(self), "int32")
        sign = np.ones(self.n**3, "float32")
        partner = oversampled_transform.voxel_index(-self.frequency, self.n)
        source[self.index] = source[partner] = np.arange(len(self))
        sign[partner] = -1.0
        return source, sign

    def of_maps(self, maps):
        """Real maps ``(b, n, n, n)`` → (re, im) ``(b, j)``."""
        return tuple(self.take(part) for part in fourier.fft3(maps / self.n**1.5))

    def take(self, volumes):
        """Centred volumes ``(b, n, n, n)`` → their values ``(b, j)`` at the frequencies."""
        return ops.take(ops.reshape(volumes, (-1, self.n**3)), self.index, axis=1)

    def to_volume(self, re, im):
        """(re, im) ``(b, j)`` → centred Hermitian transform (re, im) ``(b, n, n, n)``; 0 outside the ball."""
        source, sign = self._origin
        shape = (-1, self.n, self.n, self.n)
        re, im = (ops.pad(part, ((0, 0), (0, 1))) for part in (re, im))
        return (
            ops.reshape(ops.take(re, source, axis=1), shape),
            ops.reshape(ops.take(im, source, axis=1) * sign, shape),
        )

    def to_maps(self, re, im):
        """(re, im) ``(b, j)`` → real maps ``(b, n, n, n)``."""
        return fourier.ifft3(*self.to_volume(re, im))[0] * self.n**1.5

    def zoomed(self, maps, pad=2):
        """Real maps ``(b, n, n, n)`` → table that ``sampled`` reads, unitary scale."""
        maps = maps / (self.n**1.5 * reading_gain(self.n, pad))
        return half_transform_table.half_zoom(maps, self.radius, pad)

    def sampled(self, zoomed, points, pad=2, which=None):
        """Tables of ``b`` maps at xyz ``(b, ..., 3)`` in Fourier voxels, within the ball → (re, im).

        ``which``: as `zoo.ops.matching.half_transform_table.read_half_zoom`.
        """
        return half_transform_table.read_half_zoom(zoomed, points, self.radius, pad, which)
