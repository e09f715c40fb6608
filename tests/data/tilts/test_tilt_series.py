"""Dose weights and the transfer of a tilt, against published formulas."""

import numpy as np
import pytest
import tilt_sets as sets

from zoo.data.tilts.tilt_series import TiltSeries, dose_weight


def test_dose_weight_is_that_of_grant_and_grigorieff():
    # critical doses of their figure 3 and equation 3, worked out by hand: k in 1/Å → e/Å²
    for spacing, critical in ((3.0, 4.336), (5.0, 6.383), (10.0, 14.14), (30.0, 73.33)):
        expected = np.exp(-20 / (2 * critical))
        weight = dose_weight(np.array([20.0]), np.array([1 / spacing]))[0, 0]
        assert weight == pytest.approx(expected, rel=2e-3), spacing
    assert dose_weight(np.array([0.0, 50.0]), np.array([0.0]))[:, 0] == pytest.approx([1, 1])
    assert dose_weight(np.array([0.0]), np.linspace(0, 0.5, 5))[0] == pytest.approx(np.ones(5))


def series(**changes):
    count = 5
    angles = sets.tilt_angles(count)
    ctf = np.tile([25000.0, 25000, 0, sets.VOLTAGE, sets.CS, sets.CONTRAST, 0, 0, 1], (count, 1))
    known = {
        "name": "TS", "matrices": sets.projection_matrices(angles), "ctf": ctf,
        "dose": 10.0 * np.arange(count), "pixel_size_angstrom": 2.0,
    }  # fmt: skip
    return TiltSeries(**(known | changes))


def grid(n=48):
    k = (np.arange(n) - n // 2) / (n * sets.PIXEL)
    return np.stack(np.meshgrid(k, k, indexing="xy")).reshape(2, -1)


@pytest.mark.parametrize("hand", [-1.0, 1.0])
def test_defocus_follows_the_height_of_the_particle(hand):
    one, position = series(hand=hand, defocus_slope=0.9), np.array([500.0, -300, 2000])
    tilts = np.array([1, 4])
    depth = one.matrices[tilts, 2] @ position
    expected = [
        sets.transfer_of(25000 + hand * 0.9 * height, 10.0 * tilt, 1.0).ravel()
        for tilt, height in zip(tilts, depth, strict=True)
    ]
    np.testing.assert_allclose(one.transfer(tilts, position, grid()), expected, atol=1e-9)
    assert abs(depth).min() > 500


def test_a_b_factor_per_dose_replaces_the_dose_weight():
    one = series(bfactor_per_dose=4.0)
    frequency, tilts = grid(), np.arange(5)
    ctf = series(dose=np.zeros(5)).transfer(tilts, np.zeros(3), frequency)
    weight = np.exp(-4.0 * one.dose[:, None] / 4 * (frequency**2).sum(0))
    np.testing.assert_allclose(one.transfer(tilts, np.zeros(3), frequency), ctf * weight, atol=1e-12)
