import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zoo.ops.ctf_values import ctf_values
from zoo.simulate.draw import draw_columns
from zoo.simulate.embedded import embedded_maps
from zoo.simulate.project import Projector
from zoo.simulate.settings import ParticleSettings

CTF = [15000.0, 14000.0, 30.0, 300.0, 2.7, 0.1, 20.0, 50.0, 0.9]


def angles(n, seed=0):
    columns = draw_columns(n, ParticleSettings(n, seed=seed), 1.0)
    return np.stack([columns[name] for name in ("rot_deg", "tilt_deg", "psi_deg")], axis=1)


def test_gaussian_projects_to_the_gaussian_that_theory_says():
    box, sigma, centre = 48, 3.0, np.array([6.0, -4.0, 5.0])
    axis = np.arange(box) - box // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    volume = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2) / (2 * sigma**2))
    euler, origin = angles(10), np.random.default_rng(0).uniform(-3, 3, (10, 2))
    images = Projector(volume, 1.0)(euler, origin)
    for image, angle, shift in zip(images, euler, origin, strict=True):
        # RELION: a point at r projects to (A r) xy, and the image moves by minus the origin
        at = Rotation.from_euler("ZYZ", angle, degrees=True).inv().as_matrix() @ centre
        gauss = [np.exp(-((axis - at[i] + shift[i]) ** 2) / (2 * sigma**2)) for i in range(2)]
        expected = np.sqrt(2 * np.pi) * sigma * np.outer(gauss[1], gauss[0])
        # linear interpolation in a box padded twice is right to some per cent at this radius, as in RELION;
        # half a pixel off would be an error of 10 %
        np.testing.assert_allclose(image, expected, atol=0.045 * expected.max())
        assert np.corrcoef(image.ravel(), expected.ravel())[0, 1] > 0.9995


def test_view_along_z_is_the_sum_along_the_beam():
    density = embedded_maps(32)[1]
    image = Projector(density, 10.0)(np.zeros((1, 3)))[0]
    assert np.corrcoef(image.ravel(), density.sum(0).ravel())[0, 1] > 0.9995
    # this plane needs no interpolation, so what is left is the correction for it, as in RELION
    axis = (np.arange(32) - 16) / 64
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    expected = (density / np.sinc(radius) ** 2).sum(0)
    transform = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(expected)))
    k = np.arange(32) - 16
    transform[np.add.outer(k**2, k**2) > 16**2] = 0
    expected = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(transform))).real
    np.testing.assert_allclose(image, expected, atol=1e-4 * image.max())


@pytest.mark.parametrize("box", [24, 32])
def test_equals_the_operations_of_the_models(box):
    """Two implementations that share no code: this one, and the Keras operations of the models."""
    from keras import ops

    from zoo.ops.ctf import ctf_2d
    from zoo.ops.rotations import euler_to_matrix
    from zoo.ops.slices import project

    density = embedded_maps(box)[2]
    euler, origin = angles(6), np.random.default_rng(1).uniform(-2, 2, (6, 2))
    ctf = np.tile(CTF, (6, 1))
    theirs = project(density, euler_to_matrix(euler), ctf_2d(ctf, box, np.full(6, 5.0)), origin)
    ours = Projector(density, 5.0)(euler, origin, ctf)
    np.testing.assert_allclose(ours, ops.convert_to_numpy(theirs), atol=2e-3 * np.abs(ours).max())


def test_images_do_not_depend_on_their_company():
    projector, euler = Projector(embedded_maps(16)[0], 20.0), angles(50)
    ctf, origin = np.tile(CTF, (50, 1)), np.random.default_rng(0).uniform(-2, 2, (50, 2))
    together = projector(euler, origin, ctf)
    alone = np.concatenate(
        [projector(euler[i : i + 1], origin[i : i + 1], ctf[i : i + 1]) for i in range(50)]
    )
    np.testing.assert_array_equal(together, alone)


def test_ctf_is_white_at_low_frequency_and_scales():
    values = ctf_values(np.array([[20000, 20000, 0, 300, 2.7, 0.1, 0, 0, 1.0]]), np.zeros((2, 1)))
    assert values[0, 0] == pytest.approx(0.1)  # +w at the origin: bright particles stay bright
    first_peak = np.sqrt(0.5 / (0.019687 * 20000))
    values = ctf_values(np.array([[20000, 20000, 0, 300, 0, 0.0, 0, 0, 0.7]]), np.array([[first_peak], [0]]))
    assert values[0, 0] == pytest.approx(0.7, abs=1e-4)


def test_ctf_equals_the_operation_of_the_models():
    from keras import ops

    from zoo.ops.ctf import ctf_2d

    k = (np.arange(32) - 16) / 32 / 2.0
    ky, kx = np.meshgrid(k, k, indexing="ij")
    ours = ctf_values(np.array([CTF]), np.stack([kx.ravel(), ky.ravel()])).reshape(32, 32)
    theirs = ops.convert_to_numpy(ctf_2d(np.array([CTF]), 32, np.array([2.0])))[0]
    np.testing.assert_allclose(ours, theirs, atol=2e-4)
