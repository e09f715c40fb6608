"""Adaptive polyphase sampling: the largest component, exactly shift-equivariant, also where energies tie."""

import numpy as np
import pytest
from keras import ops

from zoo.ops import polyphase


def numpy(x):
    return ops.convert_to_numpy(x)


def reference(x):
    """Plain NumPy, one image: all offsets in order, the largest L2 norm."""
    rank = x.ndim - 1
    parts = [x[tuple(slice(o, None, 2) for o in offset)] for offset in np.ndindex(*(2,) * rank)]
    return parts[int(np.argmax([(p.astype("float64") ** 2).sum() for p in parts]))]


@pytest.mark.parametrize("shape", [(6, 8, 10, 3), (5, 4, 6, 8, 2)])
def test_keeps_the_component_of_largest_norm(shape):
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    found, choice = polyphase.adaptive_polyphase(x, return_choice=True)
    for image, kept, index in zip(x, numpy(found), numpy(choice), strict=True):
        np.testing.assert_array_equal(kept, reference(image))
        offset = polyphase.phase_offsets(x.ndim - 2)[int(index)]
        np.testing.assert_array_equal(kept, image[tuple(slice(o, None, 2) for o in offset)])


def is_cyclic_shift(a, b):
    axes = tuple(range(a.ndim - 1))
    return any(np.array_equal(np.roll(a, s, axes), b) for s in np.ndindex(*a.shape[:-1]))


def tied_images():
    rng = np.random.default_rng(1)
    mirrored = rng.integers(0, 3, (8, 4, 2))
    near = rng.normal(size=(8, 8, 2)).astype("float32")
    near[:, 1::2] = np.roll(near[:, ::2], (1, 2), (0, 1))  # equal energy, other order: rounding would decide
    return {
        "zero": np.zeros((8, 8, 2)),
        "constant": np.ones((8, 8, 2)),
        "one pixel": np.eye(64)[9].reshape(8, 8, 1),
        "mirror symmetric": np.concatenate([mirrored, mirrored[:, ::-1]], axis=1),
        "checkerboard": np.indices((8, 8)).sum(0)[..., None] % 2,
        "equal energies in another order": near,
        "binary": rng.integers(0, 2, (8, 8, 1)),
    }


@pytest.mark.parametrize("name", tied_images())
def test_every_shift_gives_a_shifted_result(name):
    image = tied_images()[name].astype("float32")
    shifts = list(np.ndindex(8, 8))
    shifted = np.stack([np.roll(image, s, (0, 1)) for s in shifts])
    found = numpy(polyphase.adaptive_polyphase(shifted))
    for result in found:
        assert is_cyclic_shift(found[0], result)


def test_random_images_are_equivariant_in_3d():
    rng = np.random.default_rng(2)
    volume = rng.normal(size=(6, 4, 8, 3)).astype("float32")
    shifted = np.stack([np.roll(volume, s, (0, 1, 2)) for s in np.ndindex(6, 4, 8)])
    found = numpy(polyphase.adaptive_polyphase(shifted))
    for result in found[::7]:
        assert is_cyclic_shift(found[0], result)


def test_plain_strided_sampling_is_not_equivariant():
    image = np.random.default_rng(2).normal(size=(8, 8, 2))
    assert not is_cyclic_shift(image[::2, ::2], np.roll(image, 1, 0)[::2, ::2])


def test_blur_is_the_cyclic_binomial_filter():
    x = np.random.default_rng(3).normal(size=(2, 6, 8, 3)).astype("float32")
    expected = x
    for axis in (1, 2):
        expected = 0.25 * np.roll(expected, 1, axis) + 0.5 * expected + 0.25 * np.roll(expected, -1, axis)
    np.testing.assert_allclose(numpy(polyphase.binomial_blur(x)), expected, atol=1e-6)


def test_gradient_reaches_exactly_the_kept_pixels(gradients):
    x = np.random.default_rng(4).normal(size=(3, 4, 4, 2)).astype("float32")
    (gradient,), _ = gradients(lambda t: ops.sum(polyphase.adaptive_polyphase(t)), [x])
    for image, g in zip(x, gradient, strict=True):
        assert set(np.unique(g)) == {0.0, 1.0}
        np.testing.assert_array_equal(image[g == 1.0].ravel(), reference(image).ravel())


def test_gradient_is_finite_for_a_zero_image(gradients):
    (gradient,), _ = gradients(lambda t: ops.sum(polyphase.adaptive_polyphase(t)), [np.zeros((1, 4, 4, 1))])
    assert np.isfinite(gradient).all() and gradient.sum() == 4.0


def test_odd_size_is_refused():
    with pytest.raises(ValueError, match="even size"):
        polyphase.adaptive_polyphase(np.zeros((1, 5, 4, 1)))
