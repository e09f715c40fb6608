"""Features of an encoder made of these layers do not change, in any bit, when the image is shifted."""

import keras
import numpy as np
import pytest
from keras import layers as keras_layers
from keras import ops
from sklearn.datasets import load_digits

from zoo import layers


def digits_in_a_box(count, box=64):
    """scikit-learn's 8×8 handwritten digits, padded with zeros to the box → ``(count, box, box, 1)``."""
    images = np.zeros((count, box, box, 1), "float32")
    start = (box - 8) // 2
    images[:, start : start + 8, start : start + 8, 0] = load_digits().images[:count] / 16.0
    return images


def encoder(box=64, canonical=False, blur=False):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((box, box, 1))
    x = layers.CanonicalShift2D()(inputs) if canonical else inputs
    x = layers.GaborBank(2, kernel_size=7)(x)
    for filters in (4, 8, 8):
        x = layers.CyclicConv2D(filters, 3)(x)
        x = keras_layers.BatchNormalization()(x)
        x = keras_layers.LeakyReLU(0.2)(x)
        x = layers.AdaptivePolyphase2D(blur=blur)(x)
    return keras.Model(inputs, layers.InvariantGlobalPooling2D()(x))


def control(box=64):
    """The usual network: zero padding, maximum pooling, average pooling."""
    keras.utils.set_random_seed(0)
    inputs = x = keras.Input((box, box, 1))
    for filters in (8, 8, 8):
        x = keras_layers.Conv2D(filters, 3, padding="same")(x)
        x = keras_layers.LeakyReLU(0.2)(x)
        x = keras_layers.MaxPooling2D()(x)
    return keras.Model(inputs, keras_layers.GlobalAveragePooling2D()(x))


def compiled(model):
    """The model as one traced function: 4,096 calls without the overhead of single operations."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(lambda x: model(x, training=False))
    import jax

    return jax.jit(lambda x: model(x, training=False))


def largest_distance(model, images, shifts):
    """Largest L2 distance between features of shifted and unshifted images; and the features' spread."""
    run = compiled(model)
    reference = ops.convert_to_numpy(run(images))
    worst = 0.0
    for shift in shifts:
        features = ops.convert_to_numpy(run(np.roll(images, shift, (1, 2))))
        worst = max(worst, float(np.linalg.norm(features - reference, axis=1).max()))
    return worst, float(np.linalg.norm(reference - reference.mean(0), axis=1).mean())


SOME_SHIFTS = [(0, 1), (1, 0), (1, 1), (28, 28), (-29, 31), (5, -17), (32, 32), (63, 2)]


@pytest.mark.parametrize("options", [{}, {"canonical": True}, {"blur": True}])
def test_distance_is_exactly_zero(options):
    distance, spread = largest_distance(encoder(**options), digits_in_a_box(20), SOME_SHIFTS)
    assert distance == 0.0
    assert spread > 1e-4  # the features do tell digits apart


def test_control_with_max_pooling_is_not_invariant():
    distance, spread = largest_distance(control(), digits_in_a_box(20), SOME_SHIFTS)
    assert distance > 0.01 * spread


def test_noise_images_need_the_canonical_frame_for_the_last_bit():
    """Without blank surroundings a convolution's blocking shows in the last bit; the frame removes it."""
    images = np.random.default_rng(0).normal(size=(7, 32, 32, 1)).astype("float32")
    shifts = [(0, 1), (7, 20), (31, 30), (16, 15), (3, 3), (29, 1)]
    distance, spread = largest_distance(encoder(32, canonical=True), images, shifts)
    assert distance == 0.0
    distance, spread = largest_distance(encoder(32), images, shifts)
    assert distance < 1e-6 * max(1.0, spread)


@pytest.mark.slow
@pytest.mark.parametrize("rows", range(0, 64, 4))
def test_all_shifts_of_a_hundred_digits(rows):
    """All 64×64 cyclic shifts of 100 digits, four rows of shifts at a time."""
    shifts = [(y, x) for y in range(rows, rows + 4) for x in range(64)]
    distance, spread = largest_distance(encoder(canonical=True), digits_in_a_box(100), shifts)
    assert distance == 0.0 and spread > 1e-4


def test_3d_layers_are_invariant():
    inputs = keras.Input((8, 8, 8, 1))
    x = layers.CyclicConv3D(4, 3)(inputs)
    x = layers.AdaptivePolyphase3D()(keras_layers.LeakyReLU(0.2)(x))
    model = keras.Model(inputs, layers.InvariantGlobalPooling3D()(x))
    volume = np.zeros((1, 8, 8, 8, 1), "float32")
    volume[:, 2:5, 3:6, 2:6, 0] = np.random.default_rng(0).normal(size=(1, 3, 3, 4))
    reference = ops.convert_to_numpy(model(volume))
    for shift in [(1, 0, 0), (0, 3, 1), (7, 5, 2)]:
        shifted = ops.convert_to_numpy(model(np.roll(volume, shift, (1, 2, 3))))
        np.testing.assert_allclose(shifted, reference, atol=1e-7)
