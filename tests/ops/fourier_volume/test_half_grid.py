"""Back-projection into half of the grid is that into the whole grid, and exact sums are brute force's."""

import numpy as np
import pytest

from zoo.ops.fourier_volume import FourierGrid, HalfGrid, insert, shell_correlation, solve
from zoo.ops.fourier_volume import half_grid as module
from zoo.ops.fourier_volume.grid import PAD

COUNT = 40


@pytest.fixture(scope="module")
def given(blobs, plane, poses):
    """Frames, shifts, weights, values and CTFs of some noisy images."""
    rng = np.random.default_rng(2)
    matrices, shifts = (part[:COUNT] for part in poses)
    ctf = rng.uniform(-1, 1, (COUNT, len(plane))).astype("f4")
    values = blobs.coefficients(matrices, shifts, plane.points) * ctf
    values = (values + 0.1 * np.abs(values).std() * rng.normal(size=values.shape)).astype("c8")
    weights = rng.uniform(0.2, 1, COUNT).astype("f4")
    weights[3] = 0
    return matrices[:, :2].astype("f4"), shifts.astype("f4"), weights, values, ctf


def whole_sums(given, plane):
    frames, shifts, weights, values, ctf = given
    sums = np.zeros((1, *(PAD * plane.box,) * 3, 3), "f4")
    order = np.arange(COUNT)
    insert(sums, np.zeros(COUNT, int), order, frames, shifts, weights, values, ctf, plane.points, plane.box)
    return sums[0]


def half_sums(given, plane):
    half = HalfGrid(plane.box, plane.radius)
    sums = half.new_sums()
    half.insert(sums, *given, plane.points)
    return half, half.complete(sums)


def test_sums_are_those_of_the_whole_grid(given, plane):
    whole = whole_sums(given, plane)
    mates = np.roll(whole[::-1, ::-1, ::-1], 1, axis=(0, 1, 2)) * [1, -1, 1]
    half, sums = half_sums(given, plane)
    middle, reach = PAD * plane.box // 2, half.reach
    inside = slice(middle - reach, middle + reach)
    expected = (whole + mates)[inside, inside, middle : middle + reach]
    assert np.abs(sums - expected).max() < 1e-4 * np.abs(expected).max()


def test_sums_are_those_of_a_loop_over_points(given, plane):
    """Brute force in double precision: every point, its mate, eight cells each."""
    frames, shifts, weights, values, ctf = given
    half, sums = half_sums(given, plane)
    expected = np.zeros((2 * half.reach, 2 * half.reach, 2 * half.reach, 3))
    for n in range(6):
        for p, (kx, ky) in enumerate(plane.points.astype(float)):
            turned = np.exp(2j * np.pi / plane.box * (kx * shifts[n, 0] + ky * shifts[n, 1]))
            value = weights[n] * ctf[n, p] * values[n, p] * turned
            weight = weights[n] * ctf[n, p] ** 2
            at = PAD * (kx * frames[n, 0] + ky * frames[n, 1]).astype(float)
            for place, each in ((at, value), (-at, np.conj(value))):
                low = np.floor(place).astype(int)
                for corner in np.ndindex(2, 2, 2):
                    share = np.prod(np.where(corner, place - low, 1 - (place - low)))
                    x, y, z = low + corner + half.reach
                    expected[z, y, x] += np.array([each.real, each.imag, weight]) * share
    few = HalfGrid(plane.box, plane.radius)
    found = few.new_sums()
    few.insert(found, *(part[:6] for part in given), plane.points)
    few.complete(found)
    expected = expected[:, :, half.reach :]
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_solution_is_that_of_the_whole_grid(given, plane):
    grid = FourierGrid(plane.box)
    half, sums = half_sums(given, plane)
    density = half.shell_density(sums)
    whole = whole_sums(given, plane)
    np.testing.assert_allclose(density, 2 * grid.shell_means(whole[..., 2])[: plane.radius + 1], rtol=1e-4)
    added = np.linspace(0.1, 0.5, plane.box + 1) * density.mean()
    band = plane.radius - 2
    expected = solve(grid, whole, added, band, np.ones((plane.box,) * 3, "f4"))
    found = half.solve(sums, added[: plane.radius + 1], band)
    assert np.abs(found - expected).max() < 2e-3 * np.abs(expected).max()
    assert (shell_correlation(found, expected)[1:band] > 0.9999).all()


def test_bits_do_not_depend_on_the_number_of_threads(given, plane, monkeypatch):
    first = half_sums(given, plane)[1]
    monkeypatch.setattr(module, "cores", lambda: 7)
    assert np.array_equal(half_sums(given, plane)[1], first)


def test_noise_free_images_give_the_map_back_in_its_own_units(blobs, plane, poses):
    matrices, shifts = poses
    values = blobs.coefficients(matrices, shifts, plane.points).astype("c8")
    half = HalfGrid(blobs.box, plane.radius)
    sums, ones = half.new_sums(), np.ones(values.shape, "f4")
    half.insert(sums, matrices[:, :2], shifts, np.ones(len(shifts)), values, ones, plane.points)
    found = half.solve(half.complete(sums), np.full(plane.radius + 1, 1e-3))
    truth = blobs.volume()
    assert (shell_correlation(found, truth)[1 : plane.radius - 2] > 0.998).all()
    assert np.vdot(found, truth) / np.vdot(truth, truth) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(("box", "radius", "words"), [(15, 4, "box 15"), (16, 8, "radius 8 in a box of 16")])
def test_refuses_what_cannot_be(box, radius, words):
    with pytest.raises(ValueError, match=words):
        HalfGrid(box, radius)
