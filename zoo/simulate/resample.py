"""Bring a map to another box and voxel size without loss below the new Nyquist frequency."""

import numpy as np

from zoo.data.packing.resample import interpolation_matrix
from zoo.errors import ZooError


def resample_map(
    volume: np.ndarray, voxel_size_angstrom: float, box: int, new_voxel_size_angstrom: float
) -> np.ndarray:
    """Map (z, y, x) float32 in a box of `box` voxels of the new size; voxel n // 2 stays in the middle.

    Trigonometric interpolation of the whole map, without frequencies beyond either Nyquist: a Fourier crop
    (or pad) where the ratio of sizes allows one, and its exact continuation for every other ratio. Where the
    new box is longer than the map, the mean of the map's faces fills the rest. Where whole stacks go from one
    box to another over the same field, `zoo.data.packing.resample.fourier_resample` does the same by FFT.
    Raises ZooError for maps that are not cubes.
    """
    volume = np.asarray(volume, np.float64)
    if volume.ndim != 3 or len(set(volume.shape)) != 1:
        raise ZooError(f"map of shape {volume.shape}; expected a cube (z, y, x): pad or crop it")
    old_box = volume.shape[0]
    ratio = new_voxel_size_angstrom / voxel_size_angstrom
    if box == old_box and abs(ratio - 1) < 1e-6:
        return volume.astype(np.float32)
    outside = border_level(volume)
    matrix = interpolation_matrix(old_box, box, ratio)
    result = volume - outside
    for _ in range(3):
        # each pass interpolates the last axis and brings it to the front: after three, zyx again
        result = np.moveaxis(result @ matrix.T, -1, 0)
    return (result + outside).astype(np.float32)


def border_level(volume: np.ndarray) -> float:
    """Mean density on the six faces of a map: its background."""
    faces = [volume[0], volume[-1], volume[:, 0], volume[:, -1], volume[:, :, 0], volume[:, :, -1]]
    return float(np.mean([face.mean() for face in faces]))
