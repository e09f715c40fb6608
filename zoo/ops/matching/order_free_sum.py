"""Sums that do not depend on the order of their terms: fixed-point arithmetic in int32.

A cyclic shift permutes pixels, and a float sum changes in its last bits when its terms are permuted.
Here terms are first rounded to 24 bits relative to a scale that is itself independent of the order
(a maximum), cut into limbs, and summed as integers: the result is the same, bit for bit, for
every order, backend and device.
"""

import math

from keras import ops

# float32 holds no more.
BITS = 24


def limb_sums(fractions, axes, count):
    """Values in [−1, 1] → int32 sums of their 24-bit fixed-point form over ``axes``, most significant first.

    count: number of terms. Returns (limbs, weights): the sum is Σ limbs·weights; after the carry all limbs
    but the first are in [0, 2^bits), so that limbs compare like digits.
    """
    bits = min(BITS, 30 - max(0, math.ceil(math.log2(max(count, 1)))))
    if bits < 1:
        raise ValueError(f"an exact sum holds at most 2^29 terms, got {count}")
    fixed = ops.cast(ops.round(fractions * float(2**BITS)), "int32")
    pieces = math.ceil(BITS / bits)
    sums = []
    for _ in range(pieces - 1):
        sums.append(ops.sum(ops.bitwise_and(fixed, 2**bits - 1), axis=axes))
        fixed = ops.right_shift(fixed, bits)
    sums.append(ops.sum(fixed, axis=axes))
    for i in range(pieces - 1):
        sums[i + 1] = sums[i + 1] + ops.right_shift(sums[i], bits)
        sums[i] = ops.bitwise_and(sums[i], 2**bits - 1)
    weights = [2.0 ** (bits * i - BITS) for i in range(pieces)]
    return sums[::-1], weights[::-1]


def exact_mean(x, axes):
    """Mean of ``x`` over ``axes``, independent of the order of the terms; gradient of the plain mean.

    Accurate to 2^−25 of the largest |x| of each mean, about float32's own rounding.
    """
    x = ops.cast(x, "float32")
    count = math.prod(x.shape[axis] for axis in axes)
    largest = ops.stop_gradient(ops.max(ops.abs(x), axis=axes, keepdims=True))
    scale = ops.maximum(largest, 1e-30)
    limbs, weights = limb_sums(ops.stop_gradient(x) / scale, axes, count)
    total = sum(ops.cast(limb, "float32") * weight for limb, weight in zip(limbs, weights, strict=True))
    exact = ops.stop_gradient(total * ops.squeeze(scale, axis=axes) / count)
    plain = ops.mean(x, axis=axes)
    # The difference is exactly 0; only its gradient remains.
    return exact + (plain - ops.stop_gradient(plain))
