"""Scores of maps whose symmetry is known, and axes found again."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zoo.errors import ZooError
from zoo.metrics.alignment import transform_map
from zoo.metrics.symmetry import find_symmetry_axis, symmetry_score

BOX = 32
AXIS = np.arange(BOX) - BOX // 2
Z, Y, X = np.meshgrid(AXIS, AXIS, AXIS, indexing="ij")


def rings(fold, radius=8.0, width=1.8):
    """`fold` rods about z in the upper half and a ball in the lower one, which tells the ends apart."""
    rods = 0.0
    for angle in 2 * np.pi * np.arange(fold) / fold:
        rods = rods + np.exp(
            -((X - radius * np.cos(angle)) ** 2 + (Y - radius * np.sin(angle)) ** 2) / 2 / width**2
        )
    return rods * np.exp(-((Z - 2) ** 2) / 18) + 1.5 * np.exp(-(X**2 + Y**2 + (Z + 6) ** 2) / 12)


@pytest.mark.parametrize("fold", [2, 3, 5, 6, 12])
def test_a_wave_about_the_axis_scores_as_calculated(fold):
    """a + b cos(6 phi): turned by k/n it correlates by (va + vb cos(12 pi k / n)) / (va + vb)."""
    radius, phi = np.hypot(X, Y), np.arctan2(Y, X)
    shell = np.exp(-((radius - 9) ** 2) / 8 - Z**2 / 24)
    wave = 0.6 * shell * np.cos(6 * phi)
    inside = radius**2 + Z**2 < 13**2
    va, vb = shell[inside].var(), wave[inside].var()
    k = np.arange(1, fold)
    expected = (va + vb * np.cos(12 * np.pi * k / fold).mean()) / (va + vb)
    assert symmetry_score(shell + wave, fold, mask=inside) == pytest.approx(expected, abs=0.005)
    assert (expected > 0.999) == (6 % fold == 0)


def test_the_score_is_the_mean_over_all_pairs_of_copies():
    """The paper's words, done literally."""
    volume = np.random.default_rng(0).normal(size=(BOX,) * 3)
    volume = np.fft.ifftn(
        np.fft.fftn(volume) * np.exp(-((np.fft.fftfreq(BOX)[:, None, None] * 12) ** 2))
    ).real
    mask = (X**2 + Y**2 + Z**2 < 14**2).astype(float)
    turns = Rotation.from_rotvec([[0, 0, 2 * np.pi * i / 5] for i in range(5)]).as_matrix()
    copies = [transform_map(volume, turn)[mask > 0] for turn in turns]
    pairs = np.corrcoef(copies)[np.triu_indices(5, 1)]
    assert symmetry_score(volume, 5, mask=mask) == pytest.approx(pairs.mean(), abs=1e-6)


def test_axis_and_place_are_found_again_and_noise_lowers_the_score():
    rotation, shift = Rotation.from_rotvec([0.7, -0.9, 0.3]).as_matrix(), np.array([1.5, -1.0, 0.7])
    turned = transform_map(rings(7), rotation, shift)
    assert symmetry_score(turned, 7) < 0.8
    found = find_symmetry_axis(turned, 7)
    assert abs(found.direction @ rotation[:, 2]) > np.cos(np.radians(1))
    beside = np.cross(found.centre_px - shift, rotation[:, 2])
    assert np.linalg.norm(beside) < 0.2
    assert found.score > 0.99
    k = np.fft.fftfreq(BOX)
    low = k[:, None, None] ** 2 + k[:, None] ** 2 + k**2 < 0.25**2  # splines keep these
    noise = np.fft.ifftn(np.fft.fftn(np.random.default_rng(1).normal(size=turned.shape)) * low).real
    noisy = turned + noise * turned.std() / noise.std()
    inside = X**2 + Y**2 + Z**2 < 13.5**2
    expected = turned[inside].var() / (turned[inside].var() + turned.var())
    assert symmetry_score(noisy, 7, found.direction, found.centre_px) == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize(
    ("volume", "arguments", "words"),
    [
        (np.zeros((8, 8, 9)), {"fold": 3}, "expected a cube"),
        (rings(3), {"fold": 1}, "expected 2 to 360"),
        (rings(3), {"fold": 3, "axis": (0, 0, 0)}, "not all 0"),
        (rings(3), {"fold": 3, "centre_px": (15, 0, 0)}, "centre it"),
        (rings(3), {"fold": 3, "mask": np.ones((8, 8, 8))}, "one box"),
        (np.ones((16, 16, 16)), {"fold": 3}, "constant"),
    ],
)
def test_what_has_no_score_is_refused(volume, arguments, words):
    with pytest.raises(ZooError, match=words):
        symmetry_score(volume, **arguments)


def test_an_axis_is_not_searched_in_a_constant_map():
    with pytest.raises(ZooError, match="constant"):
        find_symmetry_axis(np.ones((16, 16, 16)), 3)
