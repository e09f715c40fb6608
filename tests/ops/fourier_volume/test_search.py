"""Search against brute force, and draws against the posterior they come from."""

import numpy as np
import pytest

from zoo.ops.fourier_volume import FourierGrid, decode, search, shift_grid, slice_bank, view_frames


@pytest.fixture(scope="module")
def problem(blobs, plane):
    rng = np.random.default_rng(2)
    volume = blobs.volume()
    grids = np.stack([FourierGrid(blobs.box).transform(v) for v in (volume, volume[::-1])])
    frames, shifts = view_frames(20, 6, rng), shift_grid(1.0, 1.0)
    bank = slice_bank(grids, frames, plane, 5)
    weights = np.linspace(1.0, 0.3, len(bank.points))
    ctf = rng.uniform(-1, 1, (6, len(plane))).astype("f4")
    truth = rng.integers(0, bank.values.shape[1], 6)
    half = len(bank.points)
    signal = (bank.values[:half] + 1j * bank.values[half:]).T[truth]
    values = np.zeros((6, len(plane)), np.complex64)
    values[:, 1 : half + 1] = signal * ctf[:, 1 : half + 1]
    noise = rng.normal(size=(2, 6, half)) * 4.0
    values[:, 1 : half + 1] += noise[0] + 1j * noise[1]
    return bank, values, ctf, weights / 32.0, shifts, blobs.box, truth


def brute_force(bank, values, ctf, weights, shifts, box):
    """Log likelihood ratios (b, shifts · poses), one by one."""
    half = len(bank.points)
    slices = (bank.values[:half].astype(complex) + 1j * bank.values[half:]).T
    table = np.empty((len(values), len(shifts), len(slices)))
    for s, shift in enumerate(shifts):
        moved = slices * np.exp(-2j * np.pi / box * (bank.points @ shift))
        for i in range(len(values)):
            x, c = values[i, 1 : half + 1], ctf[i, 1 : half + 1]
            table[i, s] = (weights * (np.abs(x) ** 2 - np.abs(x - c * moved) ** 2)).sum(1)
    return table.reshape(len(values), -1)


def test_search_is_the_brute_force_posterior(problem):
    *given, truth = problem
    bank, values, ctf, weights, shifts, box = given
    table = brute_force(*given)
    found = search(bank, values, ctf, weights, shifts, box, 4, np.full(6, 0.5))
    np.testing.assert_array_equal(found.best, table.argmax(1))
    top = table.max(1)
    expected = top + np.log(np.exp(table - top[:, None]).mean(1))
    np.testing.assert_allclose(found.evidence, expected, atol=1e-3)


def test_draws_follow_the_posterior(problem):
    *given, _ = problem
    bank, values, ctf, weights, shifts, box = given
    weights = weights / 30  # so broad that many poses count
    table = brute_force(bank, values, ctf, weights, shifts, box)
    posterior = np.exp(table - table.max(1, keepdims=True))
    posterior /= posterior.sum(1, keepdims=True)
    draws = 400
    found = search(bank, values, ctf, weights, shifts, box, draws, np.random.default_rng(0).random(6))
    assert (posterior.max(1) < 0.5).all()
    for i in range(6):
        counts = np.bincount(found.drawn[i], minlength=table.shape[1])
        cumulated = np.abs(np.cumsum(counts) / draws - np.cumsum(posterior[i]))
        assert cumulated.max() < 2 / draws  # systematic resampling is off by one draw at most


def test_numbers_of_poses_are_decoded(problem):
    bank, _, _, _, shifts, *_ = problem
    number = np.array([[0, 130], [3 * 240 + 125, 8 * 240 + 239]])
    which, frames, moved = decode(bank, shifts, number)
    np.testing.assert_array_equal(which, [[0, 1], [1, 1]])
    np.testing.assert_array_equal(frames[1, 0], bank.frames[5])
    np.testing.assert_array_equal(moved[1], shifts[[3, 8]])


def test_the_same_image_draws_the_same_in_any_batch(problem):
    *given, _ = problem
    bank, values, ctf, weights, shifts, box = given
    u = np.linspace(0.1, 0.9, 6)
    whole = search(bank, values, ctf, weights, shifts, box, 8, u)
    part = search(bank, values[2:4], ctf[2:4], weights, shifts, box, 8, u[2:4])
    np.testing.assert_array_equal(part.drawn, whole.drawn[2:4])


def test_views_and_turns_cover_the_rotations():
    frames = view_frames(300, 24, np.random.default_rng(0)).astype(float)
    np.testing.assert_allclose(
        np.einsum("nij,nkj->nik", frames, frames), np.eye(2)[None].repeat(7200, 0), atol=1e-6
    )
    matrices = np.concatenate([frames, np.cross(frames[:, 0], frames[:, 1])[:, None]], 1)
    wanted = np.linalg.qr(np.random.default_rng(1).normal(size=(200, 3, 3)))[0]
    wanted *= np.linalg.det(wanted)[:, None, None]
    cosine = (np.einsum("nij,mij->nm", wanted, matrices).max(1) - 1) / 2
    # spacing 11.7 and 15 degrees: nothing is farther than half of each
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 13.5


def test_shift_grid_is_a_square_about_nothing():
    grid = shift_grid(0.5, 1.2)
    assert len(grid) == 25 and np.abs(grid).max() == 1.0 and (grid == 0).all(1).sum() == 1
