"""The noise of particle images: a variance for each optics group and shell."""

from __future__ import annotations

import numpy as np

from zoo.analysis.reconstruction.images import ParticleImages


class NoiseGroups:
    """Optics groups of images: the noise of each is its own."""

    def __init__(self, images: ParticleImages):
        self.images = images
        self.numbers, self.of = np.unique(images.table.optics_group, return_inverse=True)
        self.of = self.of.reshape(-1)

    def power(self) -> np.ndarray:
        """Mean power of some images by group and shell: noise, while nothing is known of the signal."""
        batch = self.images.sample()
        power = self.images.plane.shell_means(np.abs(batch.values) ** 2)
        return self._means(power, self.of[batch.rows])

    def residual_means(self, residual: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Noise from residual power summed over the points of each shell ``(b, shells)``."""
        return self._means(residual / self.images.plane.per_shell, self.of[rows])

    def _means(self, power, group):
        found = np.empty((len(self.numbers), power.shape[1]))
        everyone = power.mean(0)
        for number in range(len(found)):
            mine = power[group == number]
            found[number] = mine.mean(0) if len(mine) else everyone
        return np.maximum(found, 1e-6 * found.max(initial=1e-30))

    def whitened(self, batch, noise):
        """Coefficients and CTFs over the noise's standard deviation: then all count alike."""
        scale = (1 / np.sqrt(noise))[self.of[batch.rows]][:, self.images.plane.shell].astype(np.float32)
        return batch.values * scale, batch.ctf * scale
