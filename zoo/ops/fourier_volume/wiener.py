"""From inserted images to maps: Wiener solution per grid point, regularised by the FSC of half sets."""

from typing import NamedTuple

import numpy as np
from scipy import fft

from zoo.ops.fourier_volume.grid import FourierGrid, negated

_SHARPNESS = 4.0  # of the edge at the band, per shell
_LEAST_DENSITY = 0.1  # of a shell's mean, added before half maps are compared


class Solved(NamedTuple):
    """The map of all images and both half maps, filtered by their FSC, and that FSC ``(box // 2 + 1,)``."""

    whole: np.ndarray
    halves: np.ndarray
    fsc: np.ndarray


def solve(
    grid: FourierGrid, sums: np.ndarray, added: np.ndarray, band: float, mask: np.ndarray
) -> np.ndarray:
    """Map ``(z, y, x)`` = Σ w C X / (Σ w C² + added), with a soft edge half a shell beyond ``band``.

    sums: of `insert`, one grid; added ``(box + 1,)`` by shell: noise over signal variance in units of ΣC².
    """
    numerator = sums[..., 0] + 1j * sums[..., 1]
    numerator += negated(numerator).conj()
    density = sums[..., 2] + negated(sums[..., 2])
    edge = 1 / (1 + np.exp(np.clip((grid.grid_radius - band - 0.5) * _SHARPNESS, -50, 50)))
    added = np.asarray(added, np.float32)[grid.grid_shell]
    # insertion spreads each value as interpolation would: the map comes out multiplied by the window
    return grid.inverse(numerator * (edge / (density + added + 1e-6))) * (mask / grid.window**2)


def solve_halves(grid: FourierGrid, sums, band, mask, least_fsc: float) -> Solved:
    """Maps from the sums ``(2, side, side, side, 3)`` of two half sets.

    The signal-to-noise ratio of a shell is FSC/(1 − FSC) of the halves; 2 FSC/(1 + FSC) makes it that of all
    (Rosenthal & Henderson 2003; Scheres 2012). The FSC counts as ``least_fsc`` at least.
    """
    density = np.stack([2 * grid.shell_means(half[..., 2]) for half in sums])
    raw = [solve(grid, sums[h], _LEAST_DENSITY * density[h], band, mask) for h in (0, 1)]
    curve = shell_correlation(*raw)
    trusted = np.full(grid.box + 1, least_fsc)
    trusted[: len(curve)] = np.clip(curve, least_fsc, 0.999)
    trusted[:2] = max(trusted[1], 0.9)  # so few points that their correlation says little
    whole = 2 * trusted / (1 + trusted)
    full = solve(grid, sums[0] + sums[1], density.sum(0) * (1 - whole) / whole, band, mask)
    halves = [solve(grid, sums[h], density[h] * (1 - trusted) / trusted, band, mask) for h in (0, 1)]
    return Solved(full, np.stack(halves), curve)


def shell_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Fourier shell correlation ``(box // 2 + 1,)`` of two maps (Harauz & van Heel 1986)."""
    box = a.shape[0]
    shell = _shells(box)
    a, b = fft.rfftn(a, workers=-1), fft.rfftn(b, workers=-1)

    def total(values):
        return np.bincount(shell, values.ravel().astype(np.float64), minlength=box)[: box // 2 + 1]

    power = total(a.real**2 + a.imag**2) * total(b.real**2 + b.imag**2)
    return total((a * b.conj()).real) / np.sqrt(np.maximum(power, 1e-30))


def last_shell(curve: np.ndarray, least: float = 0.143) -> int:
    """Shell up to which an FSC ``(shells,)`` from shell 0 on stays at ``least`` or more; 0: none."""
    return int(np.argmax(np.append(curve[1:], -1.0) < least))


def share_low_shells(volume: np.ndarray, other: np.ndarray, band: float) -> np.ndarray:
    """``volume`` with the shells up to ``band`` of ``other``: half maps kept in one frame."""
    box = volume.shape[0]
    edge = 1 / (1 + np.exp(np.clip((_distance(box) - band) * _SHARPNESS, -50, 50)))
    change = fft.irfftn(edge * fft.rfftn(other - volume, workers=-1), volume.shape, workers=-1)
    return (volume + change).astype(np.float32)


def low_passed(volume: np.ndarray, band: float) -> np.ndarray:
    """The map up to shell ``band``, with the edge of `share_low_shells`."""
    return share_low_shells(np.zeros_like(volume), volume, band)


def whitened(volume: np.ndarray, band: int) -> np.ndarray:
    """The map with equal power in all shells from 1 to ``band``, none beyond."""
    spectrum, shell = fft.rfftn(volume), _shells(volume.shape[0])
    power = np.bincount(shell, (np.abs(spectrum) ** 2).ravel()) / np.bincount(shell)
    shell = shell.reshape(spectrum.shape)
    keep = (shell > 0) & (shell <= band)
    return fft.irfftn(spectrum * keep / np.sqrt(power[shell] + 1e-12), volume.shape).astype(np.float32)


def _distance(box):
    full, half = np.fft.fftfreq(box, 1 / box), np.arange(box // 2 + 1)
    return np.sqrt(full[:, None, None] ** 2 + full[:, None] ** 2 + half**2)


def _shells(box):
    return np.rint(_distance(box)).astype(np.int64).ravel()
