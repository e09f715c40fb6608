"""Poses in Fourier space against the real-space definition, with blobs whose pose is known exactly."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zoo.ops.matching import expectation, maximisation
from zoo.ops.matching.half_space import HalfBall

BOX = 24
CENTRES = np.array([[3.0, 1.0, -2.0], [-2.5, 2.0, 1.0], [0.5, -3.0, 2.5], [-1.0, 0.5, -3.5]])
HEIGHTS = np.array([1.0, 0.7, 1.3, 0.5])


def blobs(rotation, shift):
    """Σ of Gaussians: subtomogram(x) = template(Rᵀ(x − t)), about voxel N//2, exactly."""
    axis = np.arange(BOX) - BOX // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    places = CENTRES @ rotation.T + shift
    return sum(
        h * np.exp(-((x - p[0]) ** 2 + (y - p[1]) ** 2 + (z - p[2]) ** 2) / (2 * 1.6**2))
        for h, p in zip(HEIGHTS, places, strict=True)
    ).astype("float32")


@pytest.fixture(scope="module")
def pose():
    return Rotation.from_euler("ZYZ", [35, 70, -110], degrees=True).as_matrix(), np.array([1.3, -0.7, 2.1])


@pytest.fixture(scope="module")
def ball():
    return HalfBall(BOX, 8)


def relative_error(found, expected):
    found, expected = (np.stack([np.asarray(part) for part in parts]) for parts in (found, expected))
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def transform(maps):
    """Unitary centred transform (re, im) by NumPy."""
    axes = (1, 2, 3)
    spectrum = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(maps, axes), axes=axes, norm="ortho"), axes)
    return spectrum.real.astype("float32"), spectrum.imag.astype("float32")


def test_half_ball_and_maps_go_round(ball):
    maps = blobs(np.eye(3), np.zeros(3))[None]
    parts = ball.of_maps(maps)
    again = ball.of_maps(ball.to_maps(*parts))
    assert relative_error(again, parts) < 1e-5
    # Without the zero frequency and beyond the radius nothing else is lost.
    spectrum = np.fft.fftshift(np.fft.fftn(maps[0]))
    axis = np.arange(BOX) - BOX // 2
    radius = np.sqrt((np.stack(np.meshgrid(axis, axis, axis)) ** 2).sum(0))
    spectrum[(radius > 8) | (radius == 0)] = 0
    expected = np.fft.ifftn(np.fft.ifftshift(spectrum)).real
    np.testing.assert_allclose(np.asarray(ball.to_maps(*parts))[0], expected, atol=1e-5)


def test_noise_has_the_variance_of_a_voxel(ball):
    noise = np.random.default_rng(0).normal(0, 1.5, (4, BOX, BOX, BOX)).astype("float32")
    re, im = (np.asarray(part) for part in ball.of_maps(noise))
    assert np.mean(re**2 + im**2) == pytest.approx(1.5**2, rel=0.05)


def test_a_turned_template_is_the_subtomogram(ball, pose):
    template, subtomogram = blobs(np.eye(3), np.zeros(3))[None], blobs(*pose)[None]
    rotations, shifts = (np.float32(part)[None, None, None] for part in pose)
    found = expectation.turned_templates(ball, ball.zoomed(template), rotations, shifts)
    found = [np.asarray(part)[0, 0] for part in found]
    assert relative_error(found, ball.of_maps(subtomogram)) < 0.02


def test_a_subtomogram_turned_back_is_the_template(ball, pose):
    template, subtomogram = blobs(np.eye(3), np.zeros(3))[None], blobs(*pose)[None]
    wedge = np.ones((1, BOX, BOX, BOX), "float32")
    # A second, wrong pose without weight changes nothing.
    rotations = np.stack([pose[0], np.eye(3)])[None].astype("float32")
    shifts = np.stack([pose[1], np.zeros(3)])[None].astype("float32")
    re, im, weight = expectation.back_rotated(
        ball, transform(subtomogram), wedge, rotations, shifts, np.float32([[1, 0]])
    )
    assert relative_error([re[:, 0], im[:, 0]], ball.of_maps(template)) < 0.02
    np.testing.assert_allclose(np.asarray(weight), 1.0, rtol=1e-6)


def test_a_steep_transfer_is_divided_out_of_each_shell(ball):
    # As a CTF of little amplitude contrast: between two voxels its square is far from a straight line.
    axis = np.arange(BOX) - BOX // 2
    squares = (np.stack(np.meshgrid(axis, axis, axis)) ** 2).sum(0)
    transfer = np.abs(np.sin(0.1 + 0.035 * squares))[None].astype("float32")
    template = blobs(np.eye(3), np.zeros(3))[None]
    total, weights, seen = 0.0, 0.0, 0.0
    for seed in range(8):
        rotation, shift = Rotation.random(random_state=seed).as_matrix(), np.array([0.8, -0.3, 0.5])
        data = [transfer * part for part in transform(blobs(rotation, shift)[None])]
        pose = (np.float32(part)[None, None] for part in (rotation, shift))
        re, im, weight = expectation.back_rotated(ball, data, transfer, *pose, np.ones((1, 1), "float32"))
        total = total + np.stack([re, im])[:, 0, 0]
        weights = weights + np.asarray(weight)[0]
        seen = seen + (np.asarray(ball.take(transfer)) ** 2) @ ball.shell_table

    def gain(weights, shell):
        inside = ball.shell == shell
        found = (total / np.asarray(weights))[:, inside]
        expected = np.stack(ball.of_maps(template))[:, 0, inside]
        return (found * expected).sum() / (expected**2).sum()

    scaled = maximisation.with_shell_sums(weights, np.float32(seen), ball.shell_table)
    assert gain(weights, 1) < 0.85  # what is mended
    for shell in (1, 2, 3, 4, 5):
        assert gain(scaled, shell) == pytest.approx(1.0, abs=0.07), shell


def test_the_wedge_turns_with_its_subtomogram(ball):
    axis = np.arange(BOX) - BOX // 2
    half_space = np.broadcast_to(np.abs(axis)[:, None, None] <= 3, (BOX,) * 3).astype("float32")  # |kz| <= 3
    about_x = Rotation.from_euler("X", 90, degrees=True).as_matrix().astype("float32")
    maps = np.zeros((1, BOX, BOX, BOX), "float32")
    _, _, weight = expectation.back_rotated(
        ball,
        transform(maps),
        half_space[None],
        about_x[None, None],
        np.zeros((1, 1, 3), "float32"),
        np.ones((1, 1), "float32"),
    )
    # R turns y into z: what the subtomogram saw at small kz the template has at small ky.
    expected = (np.abs(ball.frequency[:, 1]) <= 3).astype("float32")
    np.testing.assert_allclose(np.asarray(weight)[0, 0], expected, atol=1e-4)


def test_residuals_count_only_what_was_observed(ball):
    rng = np.random.default_rng(1)
    j = len(ball)
    templates = [rng.normal(size=(2, 1, 3, j)).astype("float32") for _ in range(2)]
    wedge = (rng.random((2, j)) > 0.4).astype("float32")
    observed = [rng.normal(size=(2, j)).astype("float32") for _ in range(2)]
    found = np.asarray(expectation.squared_residuals(templates, observed, wedge, wedge))
    complex_template = templates[0] + 1j * templates[1]
    expected = np.abs(complex_template - (observed[0] + 1j * observed[1])[:, None, None]) ** 2
    np.testing.assert_allclose(found, expected * wedge[:, None, None], rtol=1e-4, atol=1e-6)
