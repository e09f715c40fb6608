"""A fixed Gaussian filter of cubes, scaled so that white noise keeps its standard deviation."""

from __future__ import annotations

import numpy as np
from keras import ops

_REACH_SIGMAS = 3


class Smoother:
    """Cubes (b, n, n, n, 1) smoothed by ``sigma_voxels`` (0: as they are), times ``factor``.

    White noise of standard deviation 1 has 1 again afterwards. Beyond a cube there is 0.
    """

    def __init__(self, sigma_voxels: float):
        self.kernel = None
        self.factor = 1.0
        if sigma_voxels > 0:
            reach = int(np.ceil(_REACH_SIGMAS * sigma_voxels))
            at = np.arange(-reach, reach + 1)
            kernel = np.exp(-(at**2) / (2 * sigma_voxels**2))
            self.kernel = (kernel / kernel.sum()).astype("float32")
            self.factor = float(np.sum(self.kernel**2.0) ** -1.5)

    def __call__(self, volume):
        """The filtered cubes, in units of the noise that is left."""
        if self.kernel is None:
            return volume
        volume = ops.convert_to_tensor(volume)
        for axis in range(3):
            shape = [1] * 5
            shape[axis] = len(self.kernel)
            kernel = ops.cast(ops.reshape(ops.convert_to_tensor(self.kernel), shape), volume.dtype)
            volume = ops.conv(volume, kernel, padding="same")
        return self.in_noise(volume)

    def in_noise(self, volume):
        """From the units of the records to those of the noise that is left."""
        return volume * self.factor

    def in_units(self, volume):
        """From the units of the noise that is left to those of the records."""
        return volume / self.factor
