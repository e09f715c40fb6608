"""Correlation over all rotations: brute force on the same grid, and what a rotation does to it."""

import numpy as np
import pytest
from keras import ops
from scipy.spatial.transform import Rotation

from zoo.ops.matching import so3, spherical

BANDWIDTH, SIZE = 4, 10
RNG = np.random.default_rng(4)


def real_function(even):
    """A random real band-limited function: points → values."""
    count = len(spherical.degrees_and_orders(BANDWIDTH, even)[0])
    weights = RNG.normal(size=count) + 1j * RNG.normal(size=count)
    return lambda points: (spherical.harmonics(points, BANDWIDTH, even) @ weights).real


def coefficients(functions, even, turn=None):
    points, _ = spherical.sphere_grid(BANDWIDTH, even)
    at = points if turn is None else points @ turn  # rows of R⁻¹x
    matrix = spherical.analysis_matrix(BANDWIDTH, even)
    values = np.array([[shell(at) for shell in shells] for shells in functions]) @ matrix
    return values.real.astype("float32"), values.imag.astype("float32")


@pytest.mark.parametrize("even", [False, True])
def test_equals_brute_force_over_the_grid(even):
    first = [[real_function(even) for _ in range(3)] for _ in range(2)]
    second = [[real_function(even) for _ in range(3)] for _ in range(3)]
    p, q = coefficients(first, even), coefficients(second, even)
    doubled = tuple(2 * part[::-1] for part in p)
    found = so3.correlate_rotations([p, doubled], [q, q], BANDWIDTH, SIZE, even)
    found, other = (ops.convert_to_numpy(part) for part in found)
    np.testing.assert_allclose(other, 2 * found[::-1], atol=1e-4)
    points, weights = spherical.sphere_grid(BANDWIDTH, even)
    half = found[..., : so3.unique_betas(SIZE), :].reshape(2, 3, -1)
    for index in range(0, half.shape[-1], 53):
        turned = points @ so3.grid_rotations(SIZE)[index]
        for b, k in np.ndindex(2, 3):
            pairs = zip(first[b], second[k], strict=True)
            expected = sum((f(points) * g(turned) * weights).sum() for f, g in pairs)
            assert half[b, k, index] == pytest.approx(expected, abs=2e-4)


def test_maximum_follows_the_rotation():
    shells = [[real_function(False) for _ in range(3)]]
    template = coefficients(shells, False)
    for vector in ([0.0, 0.0, 0.0], [0.9, -0.4, 1.7], [0.0, 3.0, 0.3]):
        rotation = Rotation.from_rotvec(vector)
        turned = coefficients(shells, False, rotation.as_matrix())
        (found,) = so3.correlate_rotations([turned], [template], BANDWIDTH, 36)
        values, matrices = so3.local_maxima(found, 5)
        best = Rotation.from_matrix(ops.convert_to_numpy(matrices)[0, 0, 0])
        assert np.rad2deg((best * rotation.inv()).magnitude()) < 10.0  # the grid's step
        power = (template[0] ** 2 + template[1] ** 2).sum()
        assert float(values[0, 0, 0]) == pytest.approx(power, rel=0.05)


def test_local_maxima_are_the_highest_of_their_surroundings():
    correlation = np.zeros((1, 1, 8, 8, 8), "float32")
    for place, height in {(0, 0, 0): 3.0, (7, 0, 7): 2.0, (3, 2, 5): 1.0, (4, 7, 4): 9.0}.items():
        correlation[(0, 0, *place)] = height
    values, rotations = (ops.convert_to_numpy(part) for part in so3.local_maxima(correlation, 2))
    # (7, 0, 7) touches (0, 0, 0) around the edge; beta 7 repeats a rotation of the other half
    np.testing.assert_allclose(values[0, 0], [3.0, 1.0])
    expected = Rotation.from_euler("ZYZ", np.array([3, 2, 5]) * 45, degrees=True).as_matrix()
    np.testing.assert_allclose(rotations[0, 0, 1], expected, atol=1e-6)


def test_too_small_a_grid_is_refused():
    with pytest.raises(ValueError, match="8 angles cannot hold bandwidth 4"):
        so3.correlate_rotations([], [], 4, 8)
