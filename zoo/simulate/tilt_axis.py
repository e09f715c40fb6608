"""Tilt series about x: those about y, seen from a quarter turn about the beam."""

import numpy as np

# y of the series about y is x here, and x is −y.
_QUARTER = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


class AboutX:
    """An imager of ``zoo.simulate.imaging`` with its tilt axis along x: poses in, volumes out as theirs."""

    def __init__(self, about_y):
        self._about_y = about_y
        self.transfer = quarter_turn(about_y.transfer)

    def subtomogram(self, label, pose, origin_voxels, scale, sigma, particle) -> np.ndarray:
        """Volume (z, y, x) float32; its noise depends on (seed, particle) alone."""
        turned = _QUARTER.T @ pose, _QUARTER.T @ origin_voxels
        return quarter_turn(self._about_y.subtomogram(label, *turned, scale, sigma, particle))

    def signal_variances(self, label, pose, origin_voxels):
        """As the imager about y: variances of the noise-free volume and projections."""
        return self._about_y.signal_variances(label, _QUARTER.T @ pose, _QUARTER.T @ origin_voxels)

    def noise_variance(self) -> float:
        """As the imager about y."""
        return self._about_y.noise_variance()


def quarter_turn(volume: np.ndarray) -> np.ndarray:
    """A volume (z, y, x) turned about z and voxel n // 2, n even, so that what lay along y lies along x."""
    return np.ascontiguousarray(np.roll(np.flip(volume.transpose(0, 2, 1), axis=1), 1, axis=1))
