"""Fourier shell correlation by direction: what preferred views resolve, and what they do not."""

from __future__ import annotations

import numpy as np

from zoo.errors import ZooError
from zoo.metrics.fsc import check_pair, correlation_by_shell, shell_index


def directional_fsc(
    map_a: np.ndarray, map_b: np.ndarray, directions: np.ndarray, half_angle_deg: float = 20.0
) -> np.ndarray:
    """Correlation ``(d, box // 2 + 1)`` of two cubic maps (z, y, x) in the part of each shell that
    lies within ``half_angle_deg`` of each of ``directions`` ``(d, 3)`` (xyz, any length), either way.

    With 90 degrees it is that of the whole shell (`zoo.metrics.fsc.fsc`). A part without power gives 0,
    and one without a Fourier voxel NaN: few lie in the first shells.
    Source: Tan et al., Nat. Methods 14 (2017), 3D FSC: a curve for each cone of 20 degrees.
    Raises ZooError for maps that are not cubes of one box, and for directions of length 0.
    """
    map_a, map_b = check_pair(map_a, map_b)
    length = np.linalg.norm(directions, axis=-1, keepdims=True)
    if directions.ndim != 2 or directions.shape[1] != 3 or not (length > 0).all():
        raise ZooError(f"directions {directions.shape}: expected vectors (d, 3), none of them 0")
    box = map_a.shape[0]
    shell = shell_index(box)
    inside = shell <= box // 2
    shell = shell[inside]
    full, half = np.fft.fftfreq(box), np.fft.rfftfreq(box)
    z, y, x = (part[inside] for part in np.meshgrid(full, full, half, indexing="ij"))
    points = np.stack([x, y, z], axis=1)
    radius = np.linalg.norm(points, axis=1)
    a, b = (np.fft.rfftn(volume)[inside] for volume in (map_a, map_b))
    shells = box // 2 + 1
    curves = np.empty((len(directions), shells))
    nearest = np.cos(np.radians(half_angle_deg)) - 1e-9
    for curve, direction in zip(curves, directions / length, strict=True):
        near = np.abs(points @ direction) >= nearest * radius
        curve[:] = correlation_by_shell(shell[near], a[near], b[near], shells)
        curve[np.bincount(shell[near], minlength=shells) == 0] = np.nan
    return curves
