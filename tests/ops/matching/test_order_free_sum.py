"""Sums that do not depend on the order of their terms."""

import math

import numpy as np
import pytest
from keras import ops

from zoo.ops.matching.order_free_sum import exact_mean, limb_sums


def numpy(x):
    return ops.convert_to_numpy(x)


@pytest.mark.parametrize("count", [16, 5000, 300000])
def test_limbs_hold_the_exact_integer_sum(count):
    x = np.random.default_rng(0).uniform(-1, 1, (2, count)).astype("float32")
    limbs, weights = limb_sums(ops.convert_to_tensor(x), (1,), count)
    fixed = np.round(x.astype("float64") * 2**24).astype("int64").sum(1)
    total = sum(numpy(limb).astype("int64") * int(w * 2**24) for limb, w in zip(limbs, weights, strict=True))
    np.testing.assert_array_equal(total, fixed)


@pytest.mark.parametrize("shape", [(3, 8, 8, 5), (2, 32, 32, 4)])
def test_mean_is_the_mean_and_bitwise_the_same_in_any_order(shape):
    rng = np.random.default_rng(1)
    x = (rng.normal(size=shape) * rng.uniform(0.01, 1e4, shape[-1])).astype("float32")
    found = numpy(exact_mean(x, (1, 2)))
    largest = np.abs(x).max((1, 2))
    assert (np.abs(found - x.astype("float64").mean((1, 2))) < 2e-7 * largest).all()
    for _ in range(5):
        order = rng.permutation(math.prod(shape[1:3]))
        permuted = x.reshape(shape[0], -1, shape[-1])[:, order].reshape(shape)
        np.testing.assert_array_equal(numpy(exact_mean(permuted, (1, 2))), found)


def test_float_mean_does_depend_on_the_order():
    x = np.random.default_rng(1).normal(size=(40, 32 * 32)).astype("float32")
    plain = [numpy(ops.mean(np.roll(x, s, axis=1), axis=1)) for s in range(8)]
    assert any(not np.array_equal(plain[0], other) for other in plain)


def test_gradient_is_that_of_the_mean(gradients):
    x = np.random.default_rng(2).normal(size=(2, 4, 4, 3)).astype("float32")
    (gradient,), _ = gradients(lambda t: ops.sum(exact_mean(t, (1, 2))), [x])
    np.testing.assert_allclose(gradient, 1 / 16)


def test_zeros_stay_zero_with_a_finite_gradient(gradients):
    x = np.zeros((1, 4, 4, 1), "float32")
    assert numpy(exact_mean(x, (1, 2))) == 0.0
    (gradient,), _ = gradients(lambda t: ops.sum(exact_mean(t, (1, 2))), [x])
    assert np.isfinite(gradient).all()
