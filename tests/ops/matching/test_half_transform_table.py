"""Half transforms with slopes: the sums written out, and reading them on both sides of kx = 0."""

import numpy as np
import pytest

from zoo.ops.matching import half_transform_table

RADIUS, PAD = 3, 2
MAPS = np.random.default_rng(2).normal(size=(2, 12, 12, 12)).astype("float32")
PLACE = np.stack(np.meshgrid(*[np.arange(12) - 6] * 3, indexing="ij")[::-1], axis=-1).reshape(-1, 3)  # xyz


@pytest.mark.parametrize("k", [(0, 0, 0), (0.5, -2, 1.5), (3.5, -0.5, 1), (2, 4, -3.5)])
def test_samples_and_slopes_are_the_sums_written_out(k):
    index, offset = half_transform_table.nearest_sample(np.float32(k) + np.float32(0.1), RADIUS, PAD)
    np.testing.assert_allclose(offset, [0.1] * 3, atol=1e-6)
    table = np.asarray(half_transform_table.half_zoom(MAPS, RADIUS, PAD))
    assert table.shape[1] == half_transform_table.samples(RADIUS, PAD)
    found = table[:, int(index)]
    waves = MAPS.reshape(2, -1) * np.exp(-2j * np.pi / 12 * PLACE @ np.array(k))
    slopes = (-2j * np.pi / 12 * waves) @ PLACE
    np.testing.assert_allclose(found[:, 0] + 1j * found[:, 1], waves.sum(-1), atol=1e-3)
    for ours, part in (
        (half_transform_table.SLOPES_RE, slopes.real),
        (half_transform_table.SLOPES_IM, slopes.imag),
    ):
        np.testing.assert_allclose(found[:, ours], part, atol=1e-3)


def test_reading_is_value_and_slope_of_the_nearest_sample_on_either_side():
    rng = np.random.default_rng(3)
    points = rng.uniform(-1, 1, (2, 40, 3))
    points *= rng.uniform(0.1, RADIUS, (2, 40, 1)) / np.linalg.norm(points, axis=-1, keepdims=True)
    points[:, 0] = [-0.01, 1.3, -2.2]  # hardly on the other side
    table = half_transform_table.half_zoom(MAPS, RADIUS, PAD)
    re, im = half_transform_table.read_half_zoom(table, points.astype("float32"), RADIUS, PAD)
    found = np.asarray(re) + 1j * np.asarray(im)
    for volume, at, values in zip(MAPS, points, found, strict=True):
        nearest = np.round(np.where(at[:, :1] < 0, -at, at) * PAD) / PAD * np.where(at[:, :1] < 0, -1, 1)
        waves = np.exp(-2j * np.pi / 12 * nearest @ PLACE.T) * volume.ravel()
        slopes = (-2j * np.pi / 12 * waves) @ PLACE
        expected = waves.sum(-1) + ((at - nearest) * slopes).sum(-1)
        np.testing.assert_allclose(values, expected, atol=1e-4 * np.abs(expected).max())
