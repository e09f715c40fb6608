"""Coefficients of images on half of the plane."""

import numpy as np
import pytest

from zoo.ops.ctf_values import ctf_values
from zoo.ops.fourier_volume import HalfPlane


@pytest.mark.parametrize("box", [24, 25])
def test_transform_is_the_sum_over_pixels(box):
    plane = HalfPlane(box, 7)
    images = np.random.default_rng(0).normal(size=(3, box, box))
    axis = np.arange(box) - box // 2
    kx, ky = plane.points.T
    wave_x = np.exp(-2j * np.pi / box * np.outer(kx, axis))
    wave_y = np.exp(-2j * np.pi / box * np.outer(ky, axis))
    expected = np.einsum("nyx,my,mx->nm", images, wave_y, wave_x) / box
    np.testing.assert_allclose(plane.transform(images)[0], expected, atol=2e-5)


def test_points_are_half_of_the_disc_and_sorted():
    plane = HalfPlane(32, 11)
    axis = np.arange(-11, 12)
    whole = (axis[:, None] ** 2 + axis**2 <= 121).sum()
    assert 2 * len(plane) - 1 == whole
    both = {tuple(k) for k in plane.points} | {tuple(-k) for k in plane.points}
    assert len(both) == whole
    assert (np.diff(plane.distance) >= 0).all() and tuple(plane.points[0]) == (0, 0)
    assert plane.up_to(5) == (plane.distance <= 5).sum()
    np.testing.assert_array_equal(plane.per_shell, np.bincount(plane.shell))


def test_white_noise_has_its_variance_inside_and_in_the_corners():
    noise = np.random.default_rng(1).normal(size=(400, 24, 24)) * 1.5
    values, corner = HalfPlane(24, 11).transform(noise)
    assert corner.mean() == pytest.approx(2.25, rel=0.02)
    means = HalfPlane(24, 11).shell_means(np.abs(values) ** 2).mean(0)
    np.testing.assert_allclose(means[2:], 2.25, rtol=0.1)


def test_background_is_the_variance_beyond_the_circle():
    images = np.random.default_rng(0).normal(size=(40, 32, 32)) * 1.5 + 3
    plane = HalfPlane(32, 9)
    images[:, 6:27, 6:27] += 100
    assert plane.background(images).mean() == pytest.approx(2.25, rel=0.05)


def test_ctf_of_each_image_has_its_own_pixel_size():
    plane = HalfPlane(24, 9)
    row = np.array([15000.0, 14000.0, 30.0, 300.0, 2.7, 0.1, 0.0, 0.0, 1.0])
    values = plane.ctf(np.stack([row, row, row]), np.array([5.0, 7.0, 5.0]))
    for image, pixel in enumerate([5.0, 7.0, 5.0]):
        expected = ctf_values(row[None], plane.points.T / (24 * pixel))[0]
        np.testing.assert_allclose(values[image], expected, atol=1e-6)


def test_refuses_a_radius_beyond_the_box():
    with pytest.raises(ValueError, match="radius 12 in a box of 24: expected 1 to 11"):
        HalfPlane(24, 12)
