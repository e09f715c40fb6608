"""A subtomogram of tilts: its geometry, its weight and its noise, against a map known in closed form."""

import numpy as np
import pytest
import tilt_sets as sets

from zoo.data.formats.fourier_weights import half_of, whole_of
from zoo.data.tilts.backproject import TiltBackprojector

N = sets.N
RADIUS = np.sqrt(sum(axis**2 for axis in np.meshgrid(*[np.arange(N) - N // 2] * 3)))


@pytest.fixture(scope="module")
def backproject():
    return TiltBackprojector(N)


def agreement(volume, weight, truth):
    """Correlation of a volume with weight × truth below Nyquist, in Fourier space."""
    ours, expected = sets.spectrum(volume), sets.spectrum(truth) * whole_of(weight)
    inside = RADIUS < N // 2 - 1
    ours, expected = ours[inside], expected[inside]
    return (ours * expected.conj()).sum().real / np.linalg.norm(ours) / np.linalg.norm(expected)


def reconstructed(backproject, matrices, images):
    lines = backproject.lines(images)
    return backproject.volume(lines, np.ones(lines.shape), matrices)


def test_tilts_of_a_map_without_symmetry_become_that_map(backproject):
    matrices = sets.projection_matrices(sets.tilt_angles())
    volume, weight = reconstructed(backproject, matrices, sets.projections(matrices))
    truth = sets.known_map()
    assert volume.dtype == weight.dtype == np.float32
    assert weight.shape == (N, N, N // 2 + 1)
    assert agreement(volume, weight, truth) > 0.985
    inside = RADIUS < N // 2 - 1
    ours, expected = sets.spectrum(volume)[inside], (sets.spectrum(truth) * whole_of(weight))[inside]
    assert (ours * expected.conj()).sum().real / (abs(expected) ** 2).sum() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda angles: sets.projection_matrices(angles * [1, -1, 1]),  # the sign of the tilts
        lambda angles: sets.projection_matrices(angles * [1, 1, -1]),  # the sign of the axis
        lambda angles: sets.projection_matrices(angles).transpose(0, 2, 1),  # the other way round
        lambda angles: sets.projection_matrices(angles) * [[1], [-1], [1]],  # the hand: y upside down
        lambda angles: sets.projection_matrices(angles[::-1]),  # the order of the tilts
    ],
    ids=["sign of tilt", "sign of axis", "transposed", "hand", "order"],
)
def test_no_other_geometry_gives_the_map(backproject, wrong):
    angles = sets.tilt_angles()
    images = sets.projections(sets.projection_matrices(angles))
    volume, weight = reconstructed(backproject, wrong(angles), images)
    assert agreement(volume, weight, sets.known_map()) < 0.85


def test_noise_is_white_and_what_no_tilt_measures_is_nothing(backproject):
    matrices = sets.projection_matrices(sets.tilt_angles())
    generator, powers = np.random.default_rng(0), 0
    for _ in range(6):
        volume, weight = reconstructed(backproject, matrices, generator.normal(size=(len(matrices), N, N)))
        powers = powers + abs(sets.spectrum(volume)) ** 2
    weight = whole_of(weight)
    z, y, x = np.meshgrid(*[np.arange(N) - N // 2] * 3, indexing="ij")
    distance = np.min([abs(a * x + b * y + c * z) for a, b, c in matrices[:, 2]], axis=0)
    measured = (distance < 1) & (RADIUS < N / 2)
    measured &= np.roll(measured[::-1, ::-1, ::-1], 1, axis=(0, 1, 2))  # -N/2 has no partner
    assert not powers[(distance >= 1.01) & (RADIUS > 0)].max() > 1e-6 * powers.max()
    assert weight[(distance >= 1.01) | (RADIUS >= N / 2)].max() == 0
    assert 0.5 < measured.mean() / (RADIUS < N / 2).mean() < 0.95
    level = powers[measured].mean()
    for low in range(1, N // 2 - 1, 2):
        shell = measured & (RADIUS >= low) & (RADIUS < low + 2)
        assert powers[shell].mean() / level == pytest.approx(1, abs=0.2), f"shell {low}"


def test_a_weight_counts_the_tilts(backproject):
    line = np.zeros((1, backproject.frequency.shape[1]))
    flat = np.eye(3)[None]
    weight = whole_of(backproject.volume(line, line + 1, flat)[1])
    k = np.arange(3, N - 2)
    assert weight[N // 2, 12, 14:20] == pytest.approx(1, abs=0.02)
    assert weight[N // 2 + 1, k, N // 2].max() == 0  # a voxel off the plane
    pair = [np.repeat(values, 2, axis=0) for values in (line, line + 1, flat)]
    twice = whole_of(backproject.volume(*pair)[1])
    assert twice[N // 2, 12, 14:20] == pytest.approx(np.sqrt(2), abs=0.03)
    half = whole_of(backproject.volume(line, line + 0.5, flat)[1])
    assert half[N // 2, 12, 14:20] == pytest.approx(0.5, abs=0.01)


def test_the_half_form_is_that_of_an_even_weight(backproject):
    matrices = sets.projection_matrices(sets.tilt_angles(7))
    weight = reconstructed(backproject, matrices, sets.projections(matrices))[1]
    np.testing.assert_allclose(half_of(whole_of(weight)), weight, atol=1e-4)
