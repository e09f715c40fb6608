"""Two half sets → sums in Fourier space → half maps, their FSC, and maps that it regularises."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zoo.metrics.fsc import fsc
from zoo.metrics.mask import sphere_mask
from zoo.ops.fourier_volume import HalfGrid

_LEAST_DENSITY = 0.005  # of a shell's mean, added so that hardly seen cells do not drown the others
_LEAST_FSC = 0.005
_CORNER_EDGE_PX = 3.0
_MOST_FSC = 0.999
THRESHOLD = 0.143
"""FSC of half maps at the resolution (Rosenthal & Henderson 2003)."""


@dataclass
class Poses:
    """Frames ``(n, 2, 3)``: rows 0 and 1 of RELION's A; shifts ``(n, 2)``: the particle's place from the
    middle, in pixels, minus RELION's origin; weights ``(n,)``; half ``(n,)``: 1 or 2."""

    frames: np.ndarray
    shifts: np.ndarray
    weights: np.ndarray
    half: np.ndarray

    def copy(self) -> Poses:
        return Poses(self.frames.copy(), self.shifts.copy(), self.weights, self.half)


class Volume:
    """Sums of both half sets of one class.

    ``noise`` ``(groups, radius + 1)`` is the variance by optics group and shell: each image counts by the
    inverse of its own.
    """

    def __init__(self, box: int, radius: int):
        self.grid = HalfGrid(box, radius)
        self.sums = [self.grid.new_sums(), self.grid.new_sums()]
        self.mask = sphere_mask(box)
        self.corners = sphere_mask(box, box / 2, _CORNER_EDGE_PX)

    def add(self, poses: Poses, rows, values, ctf, points) -> None:
        """Insert images whose coefficients and CTFs are divided by their noise; each into its own half."""
        for number in (1, 2):
            mine = np.flatnonzero(poses.half[rows] == number)
            if len(mine):
                which = rows[mine]
                self.grid.insert(
                    self.sums[number - 1],
                    poses.frames[which],
                    poses.shifts[which],
                    poses.weights[which],
                    values[mine],
                    ctf[mine],
                    points,
                )

    def finish(self) -> None:
        """All images are in: once, before maps are asked for."""
        for half in self.sums:
            self.grid.complete(half)
        self.density = np.stack([self.grid.shell_density(half) for half in self.sums])

    def raw(self, which: int | None = None) -> np.ndarray:
        """The unfiltered map of a half (0, 1) or, for None, of all; no noise in the corners, as RELION's."""
        sums, density = self._part(which)
        return self.grid.solve(sums, _LEAST_DENSITY * density) * self.corners

    def filtered(self, curve: np.ndarray, which: int | None = None, band: float | None = None) -> np.ndarray:
        """The Wiener map: the signal variance of a shell is that which the FSC of the halves says.

        The ratio of signal to noise is FSC/(1 − FSC) in a half and twice that in all (Scheres 2012); the
        noise is in units of Σ w C², so that cells seen more often are trusted more.
        """
        sums, density = self._part(which)
        trusted = np.clip(curve[: self.grid.radius + 1], _LEAST_FSC, _MOST_FSC)
        trusted[:2] = max(trusted[1], 0.9)  # so few points that their correlation says little
        if which is None:
            trusted = 2 * trusted / (1 + trusted)
        return self.grid.solve(sums, density * (1 - trusted) / trusted, band) * self.corners

    def half_fsc(self) -> np.ndarray:
        """FSC ``(box // 2 + 1,)`` of the unfiltered half maps in a soft sphere."""
        return fsc(self.raw(0), self.raw(1), self.mask)

    def _part(self, which):
        if which is None:
            return self.sums[0] + self.sums[1], self.density.sum(0)
        return self.sums[which], self.density[which]


def band_of(curve: np.ndarray, threshold: float = THRESHOLD) -> int:
    """The last shell before the FSC first falls below ``threshold``; 0 where the first is below already."""
    below = np.flatnonzero(np.asarray(curve)[1:] < threshold)
    return int(below[0]) if len(below) else len(curve) - 1


def filled_shells(particles: int) -> int:
    """The last shell that as many central slices fill on average: each covers 1/(2k) of shell k."""
    return max(particles // 2, 1)
