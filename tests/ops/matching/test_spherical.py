"""The spherical harmonic transform: exact on its grid, for all and for even functions."""

import numpy as np
import pytest

from zoo.ops.matching import spherical


@pytest.mark.parametrize(("bandwidth", "even"), [(2, True), (3, False), (14, False), (32, True)])
def test_analysis_recovers_every_coefficient(bandwidth, even):
    points, weights = spherical.sphere_grid(bandwidth, even)
    assert weights.sum() == pytest.approx(4 * np.pi, rel=1e-12)
    harmonics = spherical.harmonics(points, bandwidth, even)
    found = harmonics.T @ spherical.analysis_matrix(bandwidth, even)
    np.testing.assert_allclose(found, np.eye(len(found)), atol=1e-11)


def test_first_harmonics_are_the_analytic_ones():
    points, _ = spherical.sphere_grid(4)
    x, y, z = points.T
    columns = [np.full(len(points), 0.5 / np.sqrt(np.pi)) + 0j]
    c = np.sqrt(3 / (8 * np.pi))
    columns += [c * (x - 1j * y), np.sqrt(3 / (4 * np.pi)) * z, -c * (x + 1j * y)]
    np.testing.assert_allclose(spherical.harmonics(points, 1), np.stack(columns, axis=1), atol=1e-14)
    degree, order = spherical.degrees_and_orders(4, even=True)
    assert set(degree) == {0, 2, 4} and len(order) == 1 + 5 + 9
