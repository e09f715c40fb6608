"""Bring a map to another box and voxel size without loss below the new Nyquist frequency."""

import numpy as np

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
    matrix = _interpolation_matrix(old_box, box, ratio)
    result = volume - outside
    for _ in range(3):
        # each pass interpolates the last axis and brings it to the front: after three, zyx again
        result = np.moveaxis(result @ matrix.T, -1, 0)
    return (result + outside).astype(np.float32)


def border_level(volume: np.ndarray) -> float:
    """Mean density on the six faces of a map: its background."""
    faces = [volume[0], volume[-1], volume[:, 0], volume[:, -1], volume[:, :, 0], volume[:, :, -1]]
    return float(np.mean([face.mean() for face in faces]))


def _interpolation_matrix(old_box, new_box, ratio):
    """(new_box, old_box): value at new voxels from old ones, band-limited by the coarser of the two."""
    at = (np.arange(new_box) - new_box // 2) * ratio + old_box // 2
    frequency = np.arange(-(old_box // 2), old_box // 2 + 1)
    limit = min(old_box / 2, old_box / (2 * ratio))
    weight = (np.abs(frequency) < limit - 1e-9).astype(float)
    # Nyquist of an even box is one frequency seen from both ends
    weight[np.abs(np.abs(frequency) - limit) <= 1e-9] = 0.5
    phase = 2 * np.pi / old_box * frequency
    forward = np.exp(-1j * phase[:, None] * np.arange(old_box))
    matrix = (np.exp(1j * at[:, None] * phase) * weight @ forward).real / old_box
    matrix[(at < -0.5) | (at > old_box - 0.5)] = 0.0
    return matrix
