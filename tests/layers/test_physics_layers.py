"""Cameras, coordinate grid, slices, CTF, noise and sampling: what they mean, not only their shapes."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats

from zoo import layers
from zoo.ops import fourier, slices
from zoo.ops.ctf import apply_ctf, ctf_2d
from zoo.ops.rotations import euler_to_matrix, rotation_from_6d, uniform_rotations


def numpy(x):
    return ops.convert_to_numpy(x)


RNG = np.random.default_rng(11)
EULER = RNG.uniform([-180, 0, -180], [180, 180, 180], (3, 3))
CTF9 = np.array([[12000, 11000, 30, 300, 2.7, 0.1, 20, 50, 1.0]] * 3)


def blob(n):
    z, y, x = np.mgrid[:n, :n, :n] - n // 2
    return np.exp(-((x - 2) ** 2 + (y + 1) ** 2 + 2 * z**2) / 6.0).astype("float32")


def test_layers_in_a_row_make_relions_projection():
    """Map → slice → CTF → image equals ``zoo.ops.slices.project``, which equals relion_project."""
    n = 16
    matrices, pixels = euler_to_matrix(EULER), np.array([2.0, 3.0, 2.5])
    x = layers.FourierSlice()(blob(n)[None, ..., None], matrices)
    x = layers.CTFApply()(x, CTF9, pixels)
    found = numpy(layers.ImageAssembly()(x))[..., 0]
    expected = numpy(slices.project(blob(n), matrices, ctf_2d(CTF9, n, pixels)))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_ctf_of_images_equals_ctf_of_slices():
    images = RNG.normal(size=(3, 16, 16, 1)).astype("float32")
    pixels = np.array([[2.0], [3.0], [2.5]])
    found = numpy(layers.CTFApply("image")(images, CTF9, pixels))
    np.testing.assert_allclose(found, numpy(apply_ctf(images, ctf_2d(CTF9, 16, pixels[:, 0]))), atol=1e-6)


def test_assembly_returns_the_map_and_is_real_for_any_transform():
    n = 16
    re, im = fourier.fft3(blob(n))
    found = numpy(layers.VolumeAssembly(mask=False)(ops.stack([re, im], axis=-1)[None]))
    np.testing.assert_allclose(found[0, ..., 0], blob(n), atol=1e-6)
    noise = RNG.normal(size=(1, n, n, n, 2)).astype("float32")
    whole = np.fft.ifftn(np.fft.ifftshift(noise[0, ..., 0] + 1j * noise[0, ..., 1]))
    found = numpy(layers.VolumeAssembly(mask=False)(noise))[0, ..., 0]
    np.testing.assert_allclose(found, np.fft.fftshift(whole).real, atol=1e-6)
    masked = numpy(layers.VolumeAssembly()(noise))[0, ..., 0]
    spectrum = np.abs(np.fft.fftshift(np.fft.fftn(masked)))
    assert spectrum[~fourier.radial_mask_3d(n).astype(bool)].max() < 1e-3


def test_slice_of_a_network_is_the_slice_of_its_assembled_map():
    """A function of frequency seen through the grid layer: slices and map are one object."""
    n = 16
    grid = layers.CoordinateGrid(n)
    matrices = euler_to_matrix(EULER)

    def transform(coordinates):  # a Gaussian blob off the centre, written in Fourier space
        k = coordinates * (0.5 * 2 * np.pi)
        phase = 2.0 * k[..., 0] - 1.0 * k[..., 1] + 1.5 * k[..., 2]
        size = ops.exp(-2.0 * ops.sum(k * k, axis=-1))
        return ops.stack([size * ops.cos(phase), -size * ops.sin(phase)], axis=-1)

    images = numpy(layers.ImageAssembly()(transform(grid(matrices))))[..., 0]
    volume = numpy(layers.VolumeAssembly()(transform(grid.whole_grid())))[0, ..., 0]
    expected = numpy(slices.project(volume, matrices, pad=4))
    assert np.corrcoef(images.ravel(), expected.ravel())[0, 1] > 0.999
    centre = np.unravel_index(volume.argmax(), volume.shape)
    assert centre[2] - 8 == 2 and centre[1] - 8 == -1


def test_untrained_grid_gives_the_planes_own_coordinates():
    n = 12
    matrices = euler_to_matrix(EULER)
    found = numpy(layers.CoordinateGrid(n)(matrices))
    plane = 2.0 * numpy(slices.slice_coordinates(matrices, n))
    inside = (np.abs(plane) <= 1.0 - 2.0 / n).all(-1)
    np.testing.assert_allclose(found[inside], plane[inside], atol=1e-5)
    whole = numpy(layers.CoordinateGrid(n).whole_grid())[0]
    np.testing.assert_array_equal(whole, 2 * fourier.frequency_grid_3d(n))


def test_cameras_are_the_operations():
    v = RNG.normal(size=(5, 6)).astype("float32")
    np.testing.assert_array_equal(numpy(layers.Rotation6D()(v)), numpy(rotation_from_6d(v)))
    np.testing.assert_array_equal(numpy(layers.UniformCamera()(v)), numpy(uniform_rotations(v)))


def test_trained_camera_starts_uniform_and_can_be_moved():
    z = np.random.default_rng(1).normal(size=(4000, 64)).astype("float32")
    camera = layers.TrainedCamera(seed=0)
    np.testing.assert_array_equal(numpy(camera.six_vectors(z)), z[:, :6])
    views = numpy(camera(z))
    np.testing.assert_array_equal(views, numpy(rotation_from_6d(z[:, :6])))
    assert np.abs(views[:, 2].mean(0)).max() < 0.05
    camera.last.bias.assign(np.array([20.0, 0, 0, 0, 20.0, 0]))
    assert numpy(camera(z))[:, 2, 2].mean() > 0.9


def test_noise_has_the_sigma_it_tells():
    layer = layers.ScalableNoise(16, initial_sigma=0.7, seed=0)
    rng = np.random.default_rng(2)
    z = np.repeat(rng.normal(size=(1, 20)), 2000, axis=0).astype("float32")
    noise = rng.normal(size=(2000, 16, 16, 1)).astype("float32")
    image = np.full((2000, 16, 16, 1), 3.0, "float32")
    sigma = numpy(layer.sigma(z[:1]))[0, ..., 0]
    noisy = numpy(layer(image, z, noise))[..., 0]
    assert sigma.min() > 0 and sigma.mean() == pytest.approx(0.7, rel=0.25)
    np.testing.assert_allclose(noisy.std(0), sigma, rtol=0.08)
    np.testing.assert_allclose(noisy.mean(0), 3.0, atol=0.1)


def test_poisson_like_noise_grows_with_the_root_of_the_signal():
    layer = layers.ScalableNoise(8, "poisson", seed=0)
    z, noise = np.zeros((1, 4), "float32"), RNG.normal(size=(1, 8, 8, 1)).astype("float32")
    deviation = [
        numpy(layer(np.full((1, 8, 8, 1), level, "float32"), z, noise)) - level for level in (1.0, 4.0, -4.0)
    ]
    np.testing.assert_allclose(deviation[1], 2 * deviation[0], atol=1e-5)
    np.testing.assert_allclose(deviation[2], deviation[1], atol=1e-5)


@pytest.mark.parametrize("n", [8, 24, 30, 64, 65])
def test_noise_is_made_for_any_box(n):
    layer = layers.ScalableNoise(n, filters=2)
    zeros = np.zeros((1, n, n, 1), "float32")
    assert layer(zeros, np.zeros((1, 3), "float32"), zeros).shape == (1, n, n, 1)


def test_reparameterisation_draws_the_gaussian_and_gives_its_kl():
    mean = np.array([[0.5, -1.0]], "float32")
    log_variance = np.array([[-1.0, 0.8]], "float32")
    noise = np.random.default_rng(3).normal(size=(100000, 2)).astype("float32")
    z, divergence = layers.GaussianReparameterisation()(mean, log_variance, noise)
    z = numpy(z)
    np.testing.assert_allclose(z.mean(0), mean[0], atol=0.02)
    np.testing.assert_allclose(z.std(0), np.exp(0.5 * log_variance[0]), rtol=0.01)
    # KL by Monte Carlo, from scipy's densities.
    density = stats.norm(mean[0], np.exp(0.5 * log_variance[0])).logpdf(z) - stats.norm.logpdf(z)
    assert float(numpy(divergence)[0]) == pytest.approx(density.sum(1).mean(), abs=0.02)
    _, zero = layers.GaussianReparameterisation()(np.zeros((1, 3)), np.zeros((1, 3)), np.zeros((1, 3)))
    assert numpy(zero)[0] == 0.0


def test_reparameterisation_stays_finite_for_a_wild_log_variance(gradients):
    wild = np.array([[1e4, -1e4]], "float32")
    layer = layers.GaussianReparameterisation()

    def loss(mean, log_variance, noise):
        z, divergence = layer(mean, log_variance, noise)
        return ops.sum(z) + ops.sum(divergence)

    found, _ = gradients(loss, [np.zeros((1, 2)), wild, np.ones((1, 2))])
    assert all(np.isfinite(g).all() for g in found)


def test_physics_stays_float32_under_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        camera, ctf, grid = layers.TrainedCamera(8), layers.CTFApply(), layers.CoordinateGrid(8)
        sine = layers.SineDense(4)
        slice_of_zero = np.zeros((1, 8, 8, 2), "float16")
        assert keras.backend.standardize_dtype(camera(np.ones((1, 64), "float16")).dtype) == "float32"
        found = ctf(slice_of_zero, CTF9[:1].astype("float32"), np.array([2.0], "float32"))
        assert keras.backend.standardize_dtype(found.dtype) == "float32"
        assert keras.backend.standardize_dtype(grid(np.eye(3)[None]).dtype) == "float32"
        assert keras.backend.standardize_dtype(sine(np.ones((1, 4), "float32")).dtype) == "float16"
    finally:
        keras.config.set_dtype_policy(before)
