"""A small set of images of two states, made in memory, and a run on it."""

from typing import NamedTuple

import numpy as np
import pytest

from zoo.models.abinitio3d.config import Config, from_preset
from zoo.ops.fourier_volume import euler_of_frames, frames_of_uniforms
from zoo.simulate.embedded import embedded_maps
from zoo.simulate.project import Projector

BOX, COUNT, PIXEL = 32, 800, 10.0


class Small(NamedTuple):
    """Images (N, y, x) of the embedded core and core+A+B, their CTFs, labels, frames, true maps, and RELION's
    origins in pixels (N, 2)."""

    images: np.ndarray
    ctf: np.ndarray
    label: np.ndarray
    frames: np.ndarray
    maps: np.ndarray
    config: Config
    origin_px: np.ndarray


def small_set(sigma=0.5, count=COUNT, seed=0):
    rng = np.random.default_rng(seed)
    maps = embedded_maps(BOX, PIXEL)[[0, 2]]
    frames = frames_of_uniforms(rng.random((count, 3)))
    label = np.arange(count) % 2  # in turn, as a file may have them: both halves must see both
    ctf = np.tile([0.0, 0.0, 0.0, 300.0, 2.7, 0.1, 0.0, 0.0, 1.0], (count, 1))
    ctf[:, :2] = rng.uniform(10000, 25000, (count, 1))
    origin = rng.uniform(-1, 1, (count, 2))
    images = np.empty((count, BOX, BOX), np.float32)
    for k in (0, 1):
        rows = label == k
        images[rows] = Projector(maps[k], PIXEL)(euler_of_frames(frames[rows]), origin[rows], ctf[rows])
    images /= images.std()
    images += rng.normal(size=images.shape).astype(np.float32) * sigma
    config = from_preset("tiny", box=BOX, voxel_size_angstrom=PIXEL, count=count, classes=2)
    return Small(images, ctf, label, frames, maps, config, origin)


@pytest.fixture(scope="session")
def small():
    return small_set()
