"""Density maps as shaded surfaces, drawn with NumPy alone: no display and no graphics card."""

import numpy as np
from scipy import ndimage

_SIDE = 112  # of a picture in pixels
_LIGHT = np.array([-0.35, -0.45, 0.82])  # x, y, z: from the upper left, towards the one who looks
_AMBIENT = 0.25


def surface_image(density: np.ndarray, level: float, side: int = _SIDE) -> np.ndarray:
    """Picture (side, side) of the surface of a map (n, n, n) at ``level``, seen along z: 0 to 1, NaN outside.

    Orthographic, y upwards where row 0 is drawn lowest; shaded by the angle to a lamp (Lambert).
    """
    n = density.shape[0]
    fine = ndimage.zoom(np.asarray(density, np.float32), side / n, order=1)
    inside = fine > level
    hit = inside.any(axis=0)
    # From the far end of z: whoever looks stands there.
    depth = fine.shape[0] - 1 - np.argmax(inside[::-1], axis=0)
    smooth = ndimage.gaussian_filter(fine, side / n)
    rows, columns = np.indices(depth.shape)
    normal = np.stack([-np.gradient(smooth, axis=axis)[depth, rows, columns] for axis in (2, 1, 0)], axis=-1)
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    shade = (normal / np.where(length > 0, length, 1)) @ (_LIGHT / np.linalg.norm(_LIGHT))
    return np.where(hit, _AMBIENT + (1 - _AMBIENT) * np.clip(shade, 0, 1), np.nan)
