"""A canonical frame for cyclic shifts: every shifted copy of an image is rolled to the same array."""

import numpy as np
from keras import ops

# Any numbers without a relation to each other do; these are square roots of primes, brought to [0, 1).
_WEIGHTS = tuple(float(w) for w in np.sqrt([2, 3, 5, 7, 11, 13, 17, 19, 23]) % 1.0)


def reference_pixel(x):
    """``(b, y, x, c)`` → int32 ``(b, 2)``, a pixel (y, x) that moves with the image's content.

    It is the maximum of a field that mixes each pixel's whole (cyclic) surroundings. The field is made of
    shifts, products and sums of two arrays only, in a fixed order per pixel, so that a shift of the
    image shifts it bit for bit. Two pixels tie only if the image repeats itself.
    """
    x = ops.stop_gradient(ops.cast(x, "float32"))
    height, width = x.shape[1:3]
    field = x[..., 0]
    for channel in range(1, x.shape[-1]):
        field = field + _WEIGHTS[channel % 9] * x[..., channel] * (1.0 + 0.01 * channel)
    reach = 1
    while reach < max(height, width):
        field = _mixed(field, reach)
        reach *= 3
    flat = ops.argmax(ops.reshape(field, (-1, height * width)), axis=-1)
    flat = ops.cast(flat, "int32")
    return ops.stack([flat // width, flat % width], axis=-1)


def roll_each(x, shift_yx):
    """Roll image i of ``(b, y, x, c)`` by ``shift_yx[i]`` pixels ``(b, 2)`` int32, cyclically."""
    height, width = x.shape[1:3]
    row = ops.mod(ops.arange(height, dtype="int32")[None] - shift_yx[:, :1], height)
    column = ops.mod(ops.arange(width, dtype="int32")[None] - shift_yx[:, 1:], width)
    index = row[:, :, None] * width + column[:, None, :]
    flat = ops.reshape(x, (-1, height * width, x.shape[-1]))
    batch = ops.arange(ops.shape(index)[0], dtype="int32")[:, None] * (height * width)
    pixels = ops.reshape(flat, (-1, x.shape[-1]))
    taken = ops.take(pixels, ops.reshape(index, (-1, height * width)) + batch, axis=0)
    return ops.reshape(taken, (-1, height, width, x.shape[-1]))


def canonical_shift(x):
    """Roll every image of ``(b, y, x, c)`` so that its reference pixel comes to (0, 0)."""
    return roll_each(x, -reference_pixel(x))


def _mixed(field, step):
    total = _WEIGHTS[0] * field
    offsets = [(dy, dx) for dy in (-step, 0, step) for dx in (-step, 0, step) if (dy, dx) != (0, 0)]
    for weight, offset in zip(_WEIGHTS[1:], offsets, strict=True):
        total = total + weight * ops.roll(field, offset, axis=(1, 2))
    return total
