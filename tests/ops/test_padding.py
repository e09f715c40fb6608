"""Cyclic padding against NumPy's wrap."""

import numpy as np
import pytest
from keras import ops

from zoo.ops.padding import cyclic_pad, same_widths

WIDTHS = [((1, 1), (2, 3)), ((0, 0), (0, 1)), ((5, 0), (6, 14)), ((10, 13), (0, 7))]


@pytest.mark.parametrize("widths", WIDTHS)
def test_is_numpys_wrap_in_2d(widths):
    x = np.random.default_rng(0).normal(size=(2, 5, 7, 3)).astype("float32")
    expected = np.pad(x, ((0, 0), *widths, (0, 0)), "wrap")
    np.testing.assert_array_equal(ops.convert_to_numpy(cyclic_pad(x, widths)), expected)


def test_is_numpys_wrap_in_3d():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 2)).astype("float32")
    widths = ((1, 2), (0, 3), (7, 1))
    expected = np.pad(x, ((0, 0), *widths, (0, 0)), "wrap")
    np.testing.assert_array_equal(ops.convert_to_numpy(cyclic_pad(x, widths)), expected)


def test_negative_width_is_refused():
    with pytest.raises(ValueError, match="0 or more"):
        cyclic_pad(np.zeros((1, 4, 4, 1)), ((-1, 0), (0, 0)))


def test_same_widths_keep_the_size():
    assert same_widths((3, 4, 1)) == ((1, 1), (1, 2), (0, 0))
