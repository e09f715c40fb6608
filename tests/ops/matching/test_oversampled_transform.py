"""The finely sampled transform: the sum written out, and the FFT at whole frequencies."""

import numpy as np
import pytest
from keras import ops

from zoo.ops import fourier
from zoo.ops.matching import oversampled_transform

N = 8
MAPS = np.random.default_rng(2).normal(size=(2, N, N, N)).astype("float32")


def written_out(k):
    """Σ map·exp(−2πi k·x/N) over voxels x from the centre; k is xyz."""
    x = np.arange(N) - N // 2
    wave = [np.exp(-2j * np.pi * component * x / N) for component in k]
    return np.einsum("bzyx,x,y,z->b", MAPS, *wave)


@pytest.mark.parametrize("k", [(0, 0, 0), (1 / 3, -2, 5 / 3), (-7 / 3, 2 / 3, -1)])
def test_values_are_the_sums(k):
    x, y, z = np.rint(np.array(k) * 3).astype(int) + 9
    re, im = (ops.convert_to_numpy(part) for part in oversampled_transform.zoomed_transform(MAPS, 2, 3))
    np.testing.assert_allclose(re[:, z, y, x] + 1j * im[:, z, y, x], written_out(k), atol=1e-4)
    half = [ops.convert_to_numpy(part) for part in oversampled_transform.half_transform(MAPS, 2, 3)]
    np.testing.assert_array_equal(half, [re[..., 9:], im[..., 9:]])


def test_whole_frequencies_are_the_ffts():
    frequency = oversampled_transform.half_ball(3)
    voxel = oversampled_transform.voxel_index(frequency, N)
    np.testing.assert_array_equal(oversampled_transform.nearest_voxel(frequency + 0.3, N), voxel)
    x, y, z = np.int32(frequency.T * 2 + 8)
    for part, expected in zip(
        oversampled_transform.zoomed_transform(MAPS, 3, 2), fourier.fft3(MAPS), strict=True
    ):
        expected = ops.take(ops.reshape(expected, (2, -1)), voxel, axis=1)
        np.testing.assert_allclose(ops.convert_to_numpy(part)[:, z, y, x], expected, atol=1e-4)


def test_half_ball_has_one_of_each_pair():
    half = oversampled_transform.half_ball(5)
    both = {tuple(k) for k in half} | {tuple(-k) for k in half}
    axis = range(-5, 6)
    ball = {(x, y, z) for x in axis for y in axis for z in axis if 0 < x * x + y * y + z * z <= 25}
    assert both == ball and len(half) * 2 == len(ball)
