"""The corrected FSC against its definition, and sharpening of a map whose B-factor is known."""

import numpy as np
import pytest

from zoo.metrics.corrected_fsc import corrected_fsc, guinier_fit, sharpened, with_random_phases
from zoo.metrics.fsc import fsc, shell_index
from zoo.metrics.mask import sphere_mask

BOX = 32


def filtered(volume, weight):
    return np.fft.irfftn(np.fft.rfftn(volume) * weight, volume.shape, axes=(0, 1, 2))


@pytest.fixture(scope="module")
def halves():
    rng = np.random.default_rng(0)
    signal = np.fft.irfftn(
        np.fft.rfftn(rng.normal(size=(BOX,) * 3)) * np.exp(-shell_index(BOX) / 3.0),
        (BOX,) * 3,
        axes=(0, 1, 2),
    )
    signal *= sphere_mask(BOX, 9)
    noise = rng.normal(size=(2, BOX, BOX, BOX)) * signal.std()
    return signal + noise


def test_random_phases_keep_amplitudes_and_low_shells(halves):
    changed = with_random_phases(halves[0], 6, np.random.default_rng(1))
    shell = shell_index(BOX)
    before, after = np.fft.rfftn(halves[0]), np.fft.rfftn(changed)
    np.testing.assert_allclose(after[shell < 6], before[shell < 6], atol=1e-9)
    inside = (shell >= 7) & (np.arange(BOX // 2 + 1) % (BOX // 2) > 0)
    np.testing.assert_allclose(np.abs(after[inside]), np.abs(before[inside]), rtol=1e-9)
    assert abs(fsc(changed, halves[0])[8:].mean()) < 0.1


def test_mask_of_noise_alone_is_corrected_away():
    """A tight mask correlates neighbours, but not the halves: what it adds beyond the signal is taken off."""
    rng = np.random.default_rng(3)
    noise = rng.normal(size=(2, BOX, BOX, BOX))
    mask = sphere_mask(BOX, 5, 2)
    # of a signal in the first shells alone: the mask spreads it over many
    signal = 30 * filtered(rng.normal(size=(BOX,) * 3), shell_index(BOX) <= 3)
    found = corrected_fsc(*(noise + signal), mask)
    far = slice(found.random_from + 2, BOX // 2)
    assert found.masked[far].max() > 0.3
    assert np.abs(found.corrected[far]).mean() < 0.15


def test_curves_are_those_of_the_definition(halves):
    mask = sphere_mask(BOX, 10)
    found = corrected_fsc(*halves, mask)
    np.testing.assert_allclose(found.unmasked, fsc(*halves))
    np.testing.assert_allclose(found.masked, fsc(*halves, mask))
    assert found.unmasked[found.random_from] < 0.8 <= found.unmasked[1 : found.random_from].min()
    for shell in range(BOX // 2 + 1):
        t, n = found.masked[shell], found.random[shell]
        wanted = t if shell < found.random_from + 2 else 0 if n > t else (t - n) / (1 - n)
        assert found.corrected[shell] == pytest.approx(wanted)


def test_guinier_fit_finds_the_b_factor_and_sharpening_undoes_it():
    rng = np.random.default_rng(0)
    white, voxel, bfactor = rng.normal(size=(BOX,) * 3), 1.5, 60.0
    square = (shell_index(BOX) / (BOX * voxel)) ** 2
    fallen = filtered(white, np.exp(-bfactor / 4 * square))
    plot = guinier_fit(fallen, voxel, 10.0, 3.2)
    assert plot.bfactor_angstrom2 == pytest.approx(-bfactor, abs=3)
    ones = np.ones(BOX // 2 + 1)
    again = guinier_fit(sharpened(fallen, ones, voxel, -bfactor, 3.1), voxel, 10.0, 3.6)
    assert again.bfactor_angstrom2 == pytest.approx(0, abs=3)
    assert guinier_fit(fallen, voxel, 3.3, 3.2) is None
