"""Images of a map of Gaussians, whose projections and transforms are known in closed form."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zoo.ops.fourier_volume import HalfPlane

BOX = 24


class Blobs:
    """Gaussians in a box: analytic map, projections and Fourier coefficients at any pose."""

    def __init__(self, box, count=7, seed=3):
        rng = np.random.default_rng(seed)
        self.box = box
        self.centres = rng.uniform(-0.2, 0.2, (count, 3)) * box
        self.widths = rng.uniform(1.2, 1.9, count)
        self.heights = rng.uniform(0.5, 1.5, count)

    def volume(self):
        axis = np.arange(self.box) - self.box // 2
        z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
        points = np.stack([x, y, z], -1)
        squared = ((points[..., None, :] - self.centres) ** 2).sum(-1)
        return (self.heights * np.exp(-squared / (2 * self.widths**2))).sum(-1).astype(np.float32)

    def coefficients(self, matrices, shifts, points):
        """Transforms (n, m) of projections, over the box, by the continuous Fourier integral."""
        k = points / self.box
        xy = np.einsum("nij,cj->nci", matrices, self.centres)[..., :2] + shifts[:, None]
        weight = self.heights * (2 * np.pi) ** 1.5 * self.widths**3
        fall = np.exp(-2 * np.pi**2 * self.widths[:, None] ** 2 * (k**2).sum(1))
        phase = np.exp(-2j * np.pi * np.einsum("nci,mi->ncm", xy, k))
        return np.einsum("c,cm,ncm->nm", weight, fall, phase) / self.box

    def images(self, matrices, shifts):
        """Projections (n, y, x) in real space, each a sum of Gaussians."""
        axis = np.arange(self.box) - self.box // 2
        y, x = np.meshgrid(axis, axis, indexing="ij")
        xy = np.einsum("nij,cj->nci", matrices, self.centres)[..., :2] + shifts[:, None]
        dx, dy = x - xy[..., 0, None, None], y - xy[..., 1, None, None]
        weight = self.heights * np.sqrt(2 * np.pi) * self.widths
        squared = (dx**2 + dy**2) / (2 * self.widths[:, None, None] ** 2)
        return np.einsum("c,ncyx->nyx", weight, np.exp(-squared))


@pytest.fixture(scope="session")
def blobs():
    return Blobs(BOX)


@pytest.fixture(scope="session")
def plane():
    return HalfPlane(BOX, 9)


@pytest.fixture(scope="session")
def poses():
    matrices = Rotation.random(300, random_state=5).as_matrix()
    shifts = np.random.default_rng(6).uniform(-1.5, 1.5, (300, 2))
    return matrices, shifts
