"""The canonical frame of an image under cyclic shifts."""

import numpy as np
import pytest
from keras import ops

from zoo.ops import cyclic_frame


def numpy(x):
    return ops.convert_to_numpy(x)


@pytest.mark.parametrize("kind", ["normal", "few levels", "one pixel", "blank", "repeating"])
def test_all_shifts_come_to_the_same_array(kind):
    rng = np.random.default_rng(0)
    tile = rng.normal(size=(4, 4, 2))
    image = {
        "normal": rng.normal(size=(12, 16, 3)),
        "few levels": rng.integers(0, 2, (12, 16, 1)),
        "one pixel": np.eye(192)[17].reshape(12, 16, 1),
        "blank": np.zeros((12, 16, 1)),
        "repeating": np.tile(tile, (3, 4, 1)),
    }[kind].astype("float32")
    shifted = np.stack([np.roll(image, s, (0, 1)) for s in np.ndindex(12, 16)])
    frames = numpy(cyclic_frame.canonical_shift(shifted))
    np.testing.assert_array_equal(frames, np.broadcast_to(frames[0], frames.shape))
    assert any(np.array_equal(frames[0], other) for other in shifted)


def test_each_image_is_rolled_by_its_own_shift():
    x = np.random.default_rng(1).normal(size=(3, 5, 7, 2)).astype("float32")
    shifts = np.array([[0, 0], [2, -3], [-9, 20]], "int32")
    expected = np.stack([np.roll(image, tuple(s), (0, 1)) for image, s in zip(x, shifts, strict=True)])
    np.testing.assert_array_equal(numpy(cyclic_frame.roll_each(x, shifts)), expected)


def test_gradient_is_rolled_back(gradients):
    x = np.random.default_rng(2).normal(size=(1, 6, 6, 1)).astype("float32")
    weights = np.random.default_rng(3).normal(size=(1, 6, 6, 1)).astype("float32")
    (gradient,), _ = gradients(lambda t: ops.sum(cyclic_frame.canonical_shift(t) * weights), [x])
    pixel = numpy(cyclic_frame.reference_pixel(x))[0]
    np.testing.assert_array_equal(gradient, np.roll(weights, tuple(pixel), (1, 2)))
