"""The frame in which what a cube shows has always the same pose: middle, main axes, their directions."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import ndimage

_SMOOTH_BOXES = 1 / 16  # of the box side: less than that is noise
_MAD_TO_STD = 1.4826
_WINDOW_BOXES = 1 / 4  # standard deviation of the window: neighbours in the corner have no say
_BRIGHTEST = 0.95  # quantile of f: brighter voxels count as this, or a bead would decide for a membrane
_ROUNDS = 4


def principal_frame(cube: np.ndarray, sign: int) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (3, 3), rows the new axes, and centre (3,) in voxels from voxel n // 2, both xyz, of a cube.

    Zeng et al. 2018, equations 1 and 2: with f >= 0 the centre is sum(f r) / sum(f), the axes are the
    eigenvectors of sum(f^2 (r - c)(r - c)^T), the largest eigenvalue first: a membrane comes to lie in
    the xy plane. f is the cube (particles bright where ``sign`` is 1, dark where -1), low-passed and less its
    background (the median and one robust standard deviation), inside a sphere, so that it turns with what it
    shows. Beyond the paper, because boxes of a crowded tomogram hold neighbours and beads: the brightest 5 %
    count alike, and f has a Gaussian window that moves to the centre in a few rounds.
    Eigenvectors have free directions and may form a mirror: the two axes along which f^2 is most skewed
    (third moments) point to the longer tail, and the third makes the rotation a proper one. A cube that shows
    nothing stays as it is.
    """
    side = cube.shape[0]
    inside, points = _sphere(side)
    smooth = ndimage.gaussian_filter(sign * cube.astype(np.float32), max(side * _SMOOTH_BOXES, 1.0))
    values = smooth[inside].astype(np.float64)
    background = np.median(values)
    spread = _MAD_TO_STD * np.median(np.abs(values - background))
    f = np.maximum(values - background - spread, 0.0)
    if not f.any():
        return np.eye(3), np.zeros(3)
    most = np.quantile(f, _BRIGHTEST)
    f = np.minimum(f, most) if most > 0 else f
    centre = np.zeros(3)
    for _ in range(_ROUNDS):
        away = points - centre
        g = f * np.exp(-np.sum(away**2, axis=1) / (2 * (_WINDOW_BOXES * side) ** 2))
        centre = g @ points / g.sum()
    away, weight = points - centre, g * g
    _, vectors = np.linalg.eigh((away * weight[:, None]).T @ away)
    axes = vectors[:, ::-1].T
    along = away @ axes.T
    widths = np.sqrt(weight @ along**2 / weight.sum())
    skew = (weight @ along**3 / weight.sum()) / np.maximum(widths, 1e-12) ** 3
    weakest = int(np.argmin(np.abs(skew)))
    signs = np.where(skew < 0, -1.0, 1.0)
    signs[weakest] = 1.0
    axes = axes * signs[:, None]
    axes[weakest] *= np.sign(np.linalg.det(axes))
    return axes, centre


@lru_cache(maxsize=2)
def _sphere(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Voxels within half a side of voxel n // 2 and their places (k, 3) xyz from there."""
    axis = np.arange(side) - side // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    inside = x**2 + y**2 + z**2 < ((side - 1) / 2) ** 2
    return inside, np.stack([x[inside], y[inside], z[inside]], axis=1).astype(np.float64)
