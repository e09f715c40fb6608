"""Half transforms with slopes against the full ones, and reading them on both sides of kx = 0."""

import numpy as np

from zoo.ops import fourier_zoom, half_zoom

RADIUS, PAD = 3, 2
MAPS = np.random.default_rng(2).normal(size=(2, 12, 12, 12)).astype("float32")


def test_samples_and_slopes_are_those_of_the_whole_transform():
    size = fourier_zoom.zoom_size(RADIUS, PAD)
    whole = np.asarray(fourier_zoom.zoomed_with_gradient(MAPS, RADIUS, PAD)).reshape(2, size, size, size, 8)
    expected = whole[:, :, :, size // 2 :].transpose(0, 3, 2, 1, 4)  # (b, kx, ky, kz)
    found = np.asarray(half_zoom.half_zoom(MAPS, RADIUS, PAD))
    found = found.reshape(2, size // 2 + 1, size, size, 8)
    for ours, theirs in zip(range(8), (0, 1, 4, 7, 2, 5, 3, 6), strict=True):
        scale = np.abs(expected[..., theirs]).max()
        np.testing.assert_allclose(found[..., ours], expected[..., theirs], atol=2e-5 * scale)


def test_reading_is_value_and_slope_of_the_nearest_sample_on_either_side():
    rng = np.random.default_rng(3)
    points = rng.uniform(-1, 1, (2, 40, 3))
    points *= rng.uniform(0.1, RADIUS, (2, 40, 1)) / np.linalg.norm(points, axis=-1, keepdims=True)
    points[:, 0] = [-0.01, 1.3, -2.2]  # hardly on the other side
    table = half_zoom.half_zoom(MAPS, RADIUS, PAD)
    re, im = half_zoom.read_half_zoom(table, points.astype("float32"), RADIUS, PAD)
    found = np.asarray(re) + 1j * np.asarray(im)
    place = np.stack(np.meshgrid(*[np.arange(12) - 6] * 3, indexing="ij")[::-1], axis=-1).reshape(-1, 3)
    for volume, at, values in zip(MAPS, points, found, strict=True):
        nearest = np.round(np.where(at[:, :1] < 0, -at, at) * PAD) / PAD * np.where(at[:, :1] < 0, -1, 1)
        waves = np.exp(-2j * np.pi / 12 * nearest @ place.T) * volume.ravel()
        slopes = (-2j * np.pi / 12 * waves) @ place
        expected = waves.sum(-1) + ((at - nearest) * slopes).sum(-1)
        np.testing.assert_allclose(values, expected, atol=1e-4 * np.abs(expected).max())
