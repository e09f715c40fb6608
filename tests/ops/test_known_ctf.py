"""One rule of what a known CTF is, the same for NumPy and for tensors."""

import numpy as np
import pytest
from keras import ops

from zoo.ops.known_ctf import CTF_COLUMNS, is_known

GOOD = [12000.0, 11000.0, 30.0, 300.0, 2.7, 0.1, 0.0, 0.0, 1.0]


def rows():
    table = [GOOD, [-2000.0, -2000.0, *GOOD[2:]], [0.0, 0.0, *GOOD[2:]]]
    for column in range(len(CTF_COLUMNS)):
        for value in (np.nan, np.inf, -np.inf):
            table.append([*GOOD[:column], value, *GOOD[column + 1 :]])
    table += [[*GOOD[:3], voltage, *GOOD[4:]] for voltage in (0.0, -300.0)]
    return np.array(table, "float32")


@pytest.mark.parametrize("convert", [np.asarray, ops.convert_to_tensor], ids=["numpy", "tensors"])
def test_all_nine_finite_and_a_voltage(convert):
    known = np.asarray(ops.convert_to_numpy(is_known(convert(rows()))))
    np.testing.assert_array_equal(known, [True] * 3 + [False] * (len(rows()) - 3))
    assert is_known(convert(rows()[None]))[0, 0]
