"""Sampling against scipy and TensorFlow Addons, the polar warp against NumPy."""

from pathlib import Path

import numpy as np
import pytest
from keras import ops
from scipy.ndimage import map_coordinates

from zoo.ops import interpolation


def numpy(x):
    return ops.convert_to_numpy(x)


@pytest.fixture(scope="module")
def golden():
    return np.load(Path(__file__).parent.parent / "golden" / "tfa_golden_layers.npz")


# scipy's grid modes treat pixels as this module does: values at the pixel centres.
SCIPY_MODE = {"zero": "grid-constant", "nearest": "nearest", "wrap": "grid-wrap"}


@pytest.mark.parametrize("boundary", interpolation.BOUNDARIES)
def test_bilinear_is_scipys(boundary):
    rng = np.random.default_rng(0)
    images, points = rng.normal(size=(2, 7, 9, 3)), rng.uniform(-4, 13, (2, 50, 2))
    found = numpy(interpolation.sample_bilinear(images, points, boundary))
    for i in range(2):
        for c in range(3):
            yx = points[i].T[::-1]
            expected = map_coordinates(images[i, ..., c], yx, order=1, mode=SCIPY_MODE[boundary])
            np.testing.assert_allclose(found[i, :, c], expected, atol=1e-5)


@pytest.mark.parametrize("boundary", interpolation.BOUNDARIES)
def test_trilinear_is_scipys(boundary):
    rng = np.random.default_rng(1)
    volumes, points = rng.normal(size=(2, 5, 6, 7, 2)), rng.uniform(-3, 10, (2, 4, 5, 3))
    found = numpy(interpolation.sample_trilinear(volumes, points, boundary))
    assert found.shape == (2, 4, 5, 2)
    for i in range(2):
        zyx = np.moveaxis(points[i], -1, 0)[::-1]
        expected = map_coordinates(volumes[i, ..., 1], zyx, order=1, mode=SCIPY_MODE[boundary])
        np.testing.assert_allclose(found[i, ..., 1], expected, atol=1e-5)


def test_bilinear_is_tensorflow_addons(golden):
    found = interpolation.sample_bilinear(golden["im"], golden["q"][..., ::-1], "nearest")
    np.testing.assert_allclose(numpy(found), golden["interp"], atol=1e-5)


def test_dense_warp_is_tensorflow_addons(golden):
    # Addons' flow is (y, x) and points to where the value comes from, negated; edges are clamped.
    height, width = golden["im"].shape[1:3]
    yx = np.stack(np.mgrid[:height, :width], axis=-1) - golden["flow"]
    yx = np.clip(yx, 0, [height - 1, width - 1])
    found = interpolation.sample_bilinear(golden["im"], yx[..., ::-1], "nearest")
    np.testing.assert_allclose(numpy(found), golden["warp"], atol=1e-5)


@pytest.mark.parametrize("fill, boundary", [("constant", "zero"), ("nearest", "nearest")])
def test_rotation_of_an_image_is_tensorflow_addons(golden, fill, boundary):
    height, width = golden["im"].shape[1:3]
    y, x = np.mgrid[:height, :width] - np.array([height - 1, width - 1])[:, None, None] / 2
    points = []
    for angle in golden["rot_ang"]:
        c, s = np.cos(angle), np.sin(angle)
        points.append(np.stack([c * x - s * y + (width - 1) / 2, s * x + c * y + (height - 1) / 2], axis=-1))
    found = numpy(interpolation.sample_bilinear(golden["im"], np.array(points), boundary))
    np.testing.assert_allclose(found, golden[f"rot_bilinear_{fill}"], atol=2e-5)


def test_unknown_boundary_is_refused():
    with pytest.raises(ValueError, match="mirror"):
        interpolation.sample_bilinear(np.zeros((1, 2, 2, 1)), np.zeros((1, 1, 2)), "mirror")


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("size", [(16, 16), (15, 18)])
def test_polar_warp_is_numpys(log, size):
    images = np.random.default_rng(2).normal(size=(2, *size, 3))
    radial, angular = 7, 20
    found = numpy(interpolation.polar_warp(images, radial, angular, log))
    outer = min(size) // 2
    for r in range(radial):
        radius = outer ** ((r + 0.5) / radial) if log else outer * (r + 0.5) / radial
        angle = 2 * np.pi * np.arange(angular) / angular
        yx = [size[0] // 2 + radius * np.sin(angle), size[1] // 2 + radius * np.cos(angle)]
        expected = map_coordinates(images[1, ..., 2], yx, order=1, mode="grid-constant")
        np.testing.assert_allclose(found[1, r, :, 2], expected, atol=1e-5)


def test_quarter_turn_is_a_shift_of_a_quarter():
    n, angular = 17, 32
    image = np.random.default_rng(3).normal(size=(1, n, n, 1))
    turned = np.rot90(image, axes=(2, 1))  # from +x towards +y, about pixel N//2 of an odd N
    before, after = (numpy(interpolation.polar_warp(x, 6, angular)) for x in (image, turned))
    np.testing.assert_allclose(np.roll(before, angular // 4, axis=2), after, atol=1e-5)


def test_scaling_is_a_shift_of_the_log_polar_radius():
    n, radial = 64, 32
    y, x = np.mgrid[:n, :n] - n // 2
    step = (n // 2) ** (1 / radial)

    def image(scale):
        r = np.hypot(x, y) / scale
        return (np.exp(-((r - 8) ** 2) / 8) * (1 + 0.5 * np.cos(2 * np.arctan2(y, x))))[None, ..., None]

    before, after = (numpy(interpolation.polar_warp(image(s), radial, 48, log=True)) for s in (1.0, step**4))
    np.testing.assert_allclose(after[:, 8:-2], before[:, 4:-6], atol=0.03)
    assert np.abs(after - before).max() > 0.3
