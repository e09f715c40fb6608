"""Convolution, Gabor, sine, FiLM and polar layers against independent NumPy."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import ndimage

from zoo import layers


def numpy(x):
    return ops.convert_to_numpy(x)


def correlate(image, kernel):
    """Cyclic correlation; an even kernel has its extra weight after the centre."""
    origin = [-((k - 1) % 2) for k in kernel.shape]
    return ndimage.correlate(image, kernel, mode="wrap", origin=origin)


@pytest.mark.parametrize("kernel_size", [(3, 3), (3, 5), (4, 2), (9, 1)])
def test_cyclic_convolution_is_scipys_wrapped_correlation(kernel_size):
    x = np.random.default_rng(0).normal(size=(2, 8, 6, 3)).astype("float32")
    layer = layers.CyclicConv2D(4, kernel_size)
    found, kernel = numpy(layer(x)), numpy(layer.kernel)
    for f in range(4):
        expected = sum(correlate(x[1, ..., c], kernel[..., c, f]) for c in range(3))
        np.testing.assert_allclose(found[1, ..., f], expected, atol=1e-5)


def test_cyclic_convolution_3d_is_scipys():
    x = np.random.default_rng(0).normal(size=(1, 4, 6, 5, 2)).astype("float32")
    layer = layers.CyclicConv3D(2, 3)
    found, kernel = numpy(layer(x)), numpy(layer.kernel)
    expected = sum(correlate(x[0, ..., c], kernel[..., c, 1]) for c in range(2))
    np.testing.assert_allclose(found[0, ..., 1], expected, atol=1e-5)


def test_cyclic_convolution_takes_spectral_normalisation():
    layer = keras.layers.SpectralNormalization(layers.CyclicConv2D(4, 3), power_iterations=100)
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 2)).astype("float32")
    layer(x, training=True)
    matrix = numpy(layer.layer.kernel).reshape(-1, 4)
    assert np.linalg.norm(matrix, 2) == pytest.approx(1.0, abs=1e-3)


def gabor(wavelength, sigma, aspect, orientation, phase, size):
    y, x = np.mgrid[:size, :size] - (size - 1) // 2
    along = x * np.cos(orientation) + y * np.sin(orientation)
    across = -x * np.sin(orientation) + y * np.cos(orientation)
    envelope = np.exp(-(along**2 + aspect**2 * across**2) / (2 * sigma**2))
    return np.cos(2 * np.pi * along / wavelength + phase) * envelope


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("normalise", [False, True])
def test_gabor_bank_is_numpys(size, normalise):
    rng = np.random.default_rng(1)
    layer = layers.GaborBank(5, size, normalise=normalise)
    x = rng.normal(size=(2, 12, 10, 3)).astype("float32")
    layer.build(x.shape)
    drawn = {
        "wavelength": rng.uniform(2, 9, 5),
        "sigma": rng.uniform(1, 4, 5),
        "aspect": rng.uniform(0.5, 2, 5),
        "orientation": rng.uniform(-4, 4, 5),
        "phase": rng.uniform(-4, 4, 5),
    }
    for name in ("wavelength", "sigma", "aspect"):
        getattr(layer, f"log_{name}").assign(np.log(drawn[name]))
    layer.orientation.assign(drawn["orientation"])
    layer.phase.assign(drawn["phase"])
    found = numpy(layer(x))
    assert found.shape == (2, 12, 10, 15)
    for f in range(5):
        kernel = gabor(*(drawn[name][f] for name in drawn), size)
        if normalise:
            kernel /= np.linalg.norm(kernel)
        for c in range(3):
            np.testing.assert_allclose(found[1, ..., 5 * c + f], correlate(x[1, ..., c], kernel), atol=2e-5)


def test_gabor_bank_starts_with_different_filters_and_keeps_the_variance_of_noise():
    layer = layers.GaborBank(16, 9)
    noise = np.random.default_rng(2).normal(size=(4, 64, 64, 1)).astype("float32")
    response = numpy(layer(noise))
    np.testing.assert_allclose(response.std((0, 1, 2)), 1.0, atol=0.1)
    kernels = numpy(layer.kernels()).reshape(81, 16)
    similarity = np.abs(kernels.T @ kernels) - np.eye(16)
    assert similarity.max() < 0.95


@pytest.mark.parametrize("position, bound", [("first", 1 / 64), ("hidden", np.sqrt(6 / 64) / 30)])
def test_siren_starts_from_its_papers_distribution(position, bound):
    layer = layers.SineDense(512, position, omega=30.0, seed=1)
    x = np.random.default_rng(0).uniform(-1, 1, (8, 64)).astype("float32")
    found, kernel, bias = numpy(layer(x)), numpy(layer.kernel), numpy(layer.bias)
    assert np.abs(kernel).max() <= bound and np.abs(kernel).max() > 0.99 * bound
    assert kernel.std() == pytest.approx(bound / np.sqrt(3), rel=0.02)
    np.testing.assert_allclose(found, np.sin(30 * (x @ kernel + bias)), atol=1e-4)


def test_siren_keeps_its_activations_through_many_layers():
    """Sitzmann et al., theorem 1.8: activations are arcsine-distributed (spread √½) at every depth."""
    x = np.random.default_rng(0).uniform(-1, 1, (256, 3)).astype("float32")
    x = layers.SineDense(256, "first", seed=1)(x)
    spreads = []
    for i in range(6):
        x = layers.SineDense(256, seed=2 + 2 * i)(x)
        spreads.append(numpy(x).std())
    np.testing.assert_allclose(spreads, np.sqrt(0.5), atol=0.05)


def test_thesis_initialisation_and_film():
    layer = layers.SineDense(128, omega=1.0, bound=1 / 128, seed=3)
    rng = np.random.default_rng(0)
    x, scale, shift = rng.normal(size=(2, 4, 5, 16)), rng.normal(size=(2, 128)), rng.normal(size=(2, 1))
    found = numpy(layer(x.astype("float32"), scale.astype("float32"), shift.astype("float32")))
    kernel, bias = numpy(layer.kernel), numpy(layer.bias)
    assert 0.99 / 128 < np.abs(kernel).max() <= 1 / 128
    expected = np.sin(scale[:, None, None] * (x @ kernel + bias) + shift[:, None, None])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_film_mapping_is_dense_and_leaky_relu_and_starts_near_identity():
    layer = layers.FiLMMapping(128, hidden=(32, 16), negative_slope=0.2, seed=0)
    z = np.random.default_rng(0).normal(size=(64, 10)).astype("float32")
    scale, shift = (numpy(x) for x in layer(z))
    h = z
    for dense in layer.dense:
        h = h @ numpy(dense.kernel) + numpy(dense.bias)
        h = np.where(h > 0, h, 0.2 * h)
    film = h @ numpy(layer.film.kernel) + numpy(layer.film.bias)
    np.testing.assert_allclose(scale, 1 + film[:, :128], atol=1e-5)
    np.testing.assert_allclose(shift, film[:, 128:], atol=1e-5)
    assert abs(scale.mean() - 1) < 0.1 and 0.01 < scale.std() < 0.5 and 0.01 < shift.std() < 0.5


def test_same_seed_gives_the_same_weights():
    x = np.ones((1, 8), "float32")
    for make in (lambda s: layers.SineDense(4, seed=s), lambda s: layers.TrainedCamera(8, seed=s)):
        first, second, other = make(5), make(5), make(6)
        for layer in (first, second, other):
            layer(x)
        for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        pairs = zip(first.get_weights(), other.get_weights(), strict=True)
        assert any(not np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: layers.SineDense(4, "last"), "first, hidden"),
        (lambda: layers.ScalableNoise(8, "uniform"), "gaussian, poisson"),
        (lambda: layers.ScalableNoise(8, initial_sigma=0), "above 0"),
        (lambda: layers.GaborBank(0), "filters"),
        (lambda: layers.PolarWarp(0, 4), "at least 1"),
        (lambda: layers.FourierSlice("image"), "map, transform"),
        (lambda: layers.CTFApply("map"), "transform, image"),
        (lambda: layers.CyclicPadding2D((1, 2, 3)), "3 axes, expected 2"),
        (lambda: layers.TrainedCamera().build((None, 5)), "at least 6"),
        (lambda: layers.AdaptivePolyphase2D()(np.zeros((1, 7, 8, 1))), "even size"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
