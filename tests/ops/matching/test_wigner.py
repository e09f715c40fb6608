"""Wigner matrices against analytic forms and against scipy's harmonics turned by scipy's rotations."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zoo.ops.matching import spherical, wigner


@pytest.mark.parametrize("beta", [0.0, 0.7, np.pi / 2, 2.9])
def test_small_d_of_degree_one_is_analytic(beta):
    c, s = np.cos(beta), np.sin(beta) / np.sqrt(2)
    expected = [[(1 + c) / 2, s, (1 - c) / 2], [-s, c, s], [(1 - c) / 2, -s, (1 + c) / 2]]
    np.testing.assert_allclose(wigner.wigner_small_d(1, beta), expected, atol=1e-14)


@pytest.mark.parametrize("degree", [2, 9, 20, 32])
def test_middle_element_is_legendres_polynomial(degree):
    beta = np.linspace(0, np.pi, 7)
    legendre = np.polynomial.legendre.Legendre.basis(degree)(np.cos(beta))
    middle = wigner.wigner_small_d(degree, beta)[:, degree, degree]
    np.testing.assert_allclose(middle, legendre, atol=1e-12)


@pytest.mark.parametrize("degree", [1, 2, 7, 16, 32])
def test_turns_scipys_harmonics_as_scipys_rotation_does(degree):
    rotation = Rotation.from_rotvec([0.4, -1.3, 0.9])
    points = np.random.default_rng(0).normal(size=(60, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    own = slice(degree**2, (degree + 1) ** 2)
    harmonics = spherical.harmonics(points, degree)[:, own]
    turned = spherical.harmonics(rotation.inv().apply(points), degree)[:, own]  # Y(R⁻¹x)
    matrix = wigner.wigner_big_d(degree, *rotation.as_euler("ZYZ"))
    np.testing.assert_allclose(turned, harmonics @ matrix, atol=1e-11)


@pytest.mark.parametrize("degree", [1, 8, 32])
def test_spectrum_from_quarter_turns_gives_every_angle(degree):
    h = m = np.arange(-degree, degree + 1)
    turns = 1j ** ((m[:, None] - m) % 4)
    for beta in (0.3, 1.9, 3.0):
        summed = np.einsum("mhn,h->mn", wigner.small_d_spectrum(degree), np.exp(-1j * h * beta))
        np.testing.assert_allclose(turns * summed, wigner.wigner_small_d(degree, beta), atol=1e-12)
