"""The finely sampled transform: the sum written out, its derivative, and reading it."""

import numpy as np
import pytest
from keras import ops

from zoo.ops import fourier, fourier_zoom

N = 8
MAPS = np.random.default_rng(2).normal(size=(2, N, N, N)).astype("float32")


def written_out(k):
    """Σ map·exp(−2πi k·x/N) over voxels x from the centre; k is xyz."""
    x = np.arange(N) - N // 2
    wave = [np.exp(-2j * np.pi * component * x / N) for component in k]
    return np.einsum("bzyx,x,y,z->b", MAPS, *wave)


@pytest.mark.parametrize("k", [(0, 0, 0), (1 / 3, -2, 5 / 3), (-7 / 3, 2 / 3, -1)])
def test_values_and_slopes_are_the_sums(k):
    k = np.array(k, float)
    table = ops.convert_to_numpy(fourier_zoom.zoomed_with_gradient(MAPS, 2, 3))
    index, offset = fourier_zoom.nearest_index(ops.convert_to_tensor(k + 0.1, "float32"), 2, 3)
    np.testing.assert_allclose(offset, [0.1] * 3, atol=1e-6)
    value = table[:, int(index)]
    np.testing.assert_allclose(value[:, 0] + 1j * value[:, 1], written_out(k), atol=1e-4)
    for axis in range(3):
        step = 1e-5 * np.eye(3)[axis]
        slope = (written_out(k + step) - written_out(k - step)) / 2e-5
        np.testing.assert_allclose(value[:, 2 + axis] + 1j * value[:, 5 + axis], slope, atol=1e-3)


def test_whole_frequencies_are_the_ffts():
    re, im = fourier.fft3(MAPS)
    zoomed = [ops.reshape(part, (2, -1)) for part in fourier_zoom.zoomed_transform(MAPS, 3, 2)]
    frequency = fourier_zoom.half_ball(3)
    place, _ = fourier_zoom.nearest_index(frequency, 3, 2)
    voxel = fourier_zoom.voxel_index(frequency, N)
    np.testing.assert_array_equal(fourier_zoom.nearest_voxel(frequency + 0.3, N), voxel)
    for part, expected in zip(zoomed, (re, im), strict=True):
        expected = ops.take(ops.reshape(expected, (2, -1)), voxel, axis=1)
        np.testing.assert_allclose(ops.take(part, place, axis=1), expected, atol=1e-4)


def test_half_ball_has_one_of_each_pair():
    half = fourier_zoom.half_ball(5)
    both = {tuple(k) for k in half} | {tuple(-k) for k in half}
    axis = range(-5, 6)
    ball = {(x, y, z) for x in axis for y in axis for z in axis if 0 < x * x + y * y + z * z <= 25}
    assert both == ball and len(half) * 2 == len(ball)
