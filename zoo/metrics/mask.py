"""Masks with soft edges: a sphere, and the shape of a density."""

import numpy as np
from scipy import ndimage


def sphere_mask(box: int, radius_px: float | None = None, edge_px: float = 3.0) -> np.ndarray:
    """(box, box, box) float32: 1 inside `radius_px` of voxel box // 2, a raised-cosine edge, 0 outside.

    Without a radius the edge ends at the border of the box.
    """
    radius_px = box / 2 - edge_px if radius_px is None else radius_px
    axis = np.arange(box) - box // 2
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2)
    return _edge(radius - radius_px, edge_px)


def density_mask(
    density: np.ndarray, threshold: float, extend_px: float = 3.0, edge_px: float = 3.0
) -> np.ndarray:
    """float32 mask of a map: voxels above `threshold`, grown by `extend_px`, then a raised-cosine edge."""
    distance = ndimage.distance_transform_edt(np.asarray(density) <= threshold)
    return _edge(distance - extend_px, edge_px)


def _edge(outside_px, edge_px):
    """1 where `outside_px` <= 0, 0 beyond `edge_px`, half a cosine between."""
    if edge_px <= 0:
        return (outside_px <= 0).astype(np.float32)
    return (0.5 + 0.5 * np.cos(np.pi * np.clip(outside_px / edge_px, 0.0, 1.0))).astype(np.float32)
