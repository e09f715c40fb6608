"""Fourier shell correlation of two maps and the resolution read from it."""

from typing import NamedTuple

import numpy as np

from zoo.errors import ZooError


class Resolution(NamedTuple):
    """Where a curve falls below a threshold: Fourier shell, period in pixels, period in Å."""

    shell: float
    pixels: float
    angstrom: float


def fsc(map_a: np.ndarray, map_b: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Correlation (box // 2 + 1,) per shell of two cubic maps (z, y, x); shell k is round(|frequency| * box).

    Sums run over the half transform kx >= 0, as in RELION (`relion_postprocess`, column FSC), and stop at
    Nyquist. `mask` (z, y, x) multiplies both maps first. A shell without power gives 0.
    Source: Harauz & van Heel, Optik 73 (1986). Raises ZooError for maps that are not cubes of one box.
    """
    map_a, map_b = check_pair(map_a, map_b)
    if mask is not None:
        map_a, map_b = map_a * mask, map_b * mask
    box = map_a.shape[0]
    shell = shell_index(box)
    inside = shell <= box // 2
    a, b = np.fft.rfftn(map_a)[inside], np.fft.rfftn(map_b)[inside]
    return correlation_by_shell(shell[inside], a, b, box // 2 + 1)


def correlation_by_shell(shell: np.ndarray, a: np.ndarray, b: np.ndarray, shells: int) -> np.ndarray:
    """Correlation ``(shells,)`` of Fourier coefficients a and b ``(n,)`` that lie in ``shell`` ``(n,)``."""

    def total(values):
        return np.bincount(shell, weights=values, minlength=shells)

    cross = total((a * b.conj()).real)
    power = np.sqrt(total(np.abs(a) ** 2) * total(np.abs(b) ** 2))
    return np.divide(cross, power, out=np.zeros_like(cross), where=power > 0)


def resolution_at(
    curve: np.ndarray, threshold: float = 0.5, voxel_size_angstrom: float = 1.0, box: int | None = None
) -> Resolution:
    """First crossing of `threshold`, interpolated between shells; Nyquist if the curve never falls below it.

    `curve` is fsc()'s (shell 0 is skipped: it is the mean); `box` is needed only where it is odd.
    A curve that starts below the threshold resolves nothing: infinity.
    """
    curve = np.asarray(curve, float)
    box = 2 * (len(curve) - 1) if box is None else box
    below = np.flatnonzero(curve[1:] < threshold) + 1
    if len(below) == 0:
        shell = float(len(curve) - 1)
    elif below[0] == 1:
        return Resolution(0.0, float("inf"), float("inf"))
    else:
        last, first = below[0] - 1, below[0]
        shell = float(last + (curve[last] - threshold) / (curve[last] - curve[first]))
    return Resolution(shell, box / shell, box / shell * voxel_size_angstrom)


def shell_index(box: int) -> np.ndarray:
    """Shell number of every voxel of np.fft.rfftn of a (box, box, box) map."""
    full = np.fft.fftfreq(box, 1 / box)
    half = np.fft.rfftfreq(box, 1 / box)
    radius = np.sqrt(full[:, None, None] ** 2 + full[None, :, None] ** 2 + half[None, None, :] ** 2)
    return np.rint(radius).astype(np.int64)


def check_pair(map_a: np.ndarray, map_b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both maps as float64, or ZooError if they are not finite cubes of one box."""
    map_a, map_b = check_cube(map_a, "first map"), check_cube(map_b, "second map")
    if map_a.shape != map_b.shape:
        raise ZooError(f"FSC of maps {map_a.shape} and {map_b.shape}: expected one box; resample one of them")
    return map_a, map_b


def check_cube(array: np.ndarray, name: str) -> np.ndarray:
    """The map as float64, or ZooError if it is not a finite cube."""
    array = np.asarray(array, np.float64)
    if array.ndim != 3 or len(set(array.shape)) != 1:
        raise ZooError(f"{name} has shape {array.shape}; expected a cube (z, y, x): pad or crop it")
    if not np.isfinite(array).all():
        raise ZooError(f"{name} holds values that are not finite; expected finite densities")
    return array
