"""Equations 10–13 against loops over subtomograms, classes, poses and frequencies in float64."""

import numpy as np
import pytest
from keras import ops

from zoo.ops.matching import maximisation

N, K, PHI, J = 5, 2, 3, 7


@pytest.fixture
def case():
    rng = np.random.default_rng(5)
    posterior = rng.dirichlet(np.ones(K * PHI), N).reshape(N, K, PHI)  # P·ν
    back_w = rng.integers(0, 2, (N, K, PHI, J)).astype(float)
    back_x = (rng.normal(size=(N, K, PHI, J)) + 1j * rng.normal(size=(N, K, PHI, J))) * back_w
    current = rng.normal(size=(K, J)) + 1j * rng.normal(size=(K, J))
    shifts = rng.normal(size=(N, K, PHI, 3))
    return posterior, back_w, back_x, current, shifts


def test_equation_10(case):
    posterior, back_w, back_x, current, _ = case
    alpha = posterior.sum((0, 2)) / N
    expected = np.zeros((K, J), complex)
    for k in range(K):
        for i in range(N):
            for phi in range(PHI):
                for j in range(J):
                    w = back_w[i, k, phi, j]
                    brace = w * back_x[i, k, phi, j] + (1 - w) * current[k, j]
                    expected[k, j] += posterior[i, k, phi] * brace
        expected[k] /= N * alpha[k]
    sums = np.einsum("ikp,ikpj->kj", posterior, back_x)
    weights = np.einsum("ikp,ikpj->kj", posterior, back_w)
    for part in ("real", "imag"):
        found = maximisation.filled_averages(
            *(np.float32(x) for x in (getattr(sums, part), weights, getattr(current, part), N * alpha))
        )
        np.testing.assert_allclose(np.asarray(found), getattr(expected, part), rtol=1e-4, atol=1e-6)


def test_a_class_without_members_keeps_its_average(case):
    current = np.float32(case[3].real)
    zeros = np.zeros((K, J), "float32")
    found = maximisation.filled_averages(zeros, zeros, current, np.float32([0.0, 2.0]))
    np.testing.assert_array_equal(np.asarray(found)[0], current[0])
    # Two members that observed nothing change nothing either.
    np.testing.assert_allclose(np.asarray(found)[1], current[1], rtol=1e-6)


def test_equation_11(case):
    posterior = case[0]
    found = np.asarray(maximisation.class_shares(np.float32(posterior.sum((0, 2)))))
    np.testing.assert_allclose(found, [posterior[:, k].sum() / N for k in range(K)], rtol=1e-6)


def test_equation_12(case):
    posterior, _, _, current, _ = case
    rng = np.random.default_rng(6)
    w = rng.integers(0, 2, (N, J)).astype(float)
    x = (rng.normal(size=(N, J)) + 1j * rng.normal(size=(N, J))) * w
    turned = rng.normal(size=(N, K, PHI, J)) + 1j * rng.normal(size=(N, K, PHI, J))
    old, total = 1.7, 0.0
    for i in range(N):
        for j in range(J):
            for k in range(K):
                for phi in range(PHI):
                    brace = w[i, j] * abs(turned[i, k, phi, j] - x[i, j]) ** 2 + (1 - w[i, j]) * old
                    total += posterior[i, k, phi] * brace
    shell = np.array([0, 0, 1, 1, 1, 2, 2])
    square = w[:, None, None] * abs(turned - x[:, None, None]) ** 2
    per_frequency = np.einsum("ikp,ikpj->j", posterior, square)
    residuals, seen, per_shell = (
        np.float32(np.bincount(shell, values)) for values in (per_frequency, w.sum(0), np.ones(J))
    )
    found = maximisation.noise_variance(
        residuals, seen, np.float32(N), np.full(3, old, "float32"), per_shell, white=True
    )
    np.testing.assert_allclose(np.asarray(found), total / (N * J), rtol=1e-5)
    shells = np.asarray(
        maximisation.noise_variance(
            residuals, seen, np.float32(N), np.full(3, old, "float32"), per_shell, white=False
        )
    )
    assert np.average(shells, weights=per_shell) == pytest.approx(total / (N * J), rel=1e-5)
    assert np.ptp(shells) > 0.01


def test_equation_13_and_its_floor(case):
    posterior, shifts = case[0], case[4]
    total = sum(
        posterior[i, k, phi] * (shifts[i, k, phi] ** 2).sum()
        for i in range(N)
        for k in range(K)
        for phi in range(PHI)
    )
    found = float(maximisation.shift_spread(np.float32(100 * total), np.float32(N)))
    assert found == pytest.approx(np.sqrt(100 * total / (3 * N)), rel=1e-5)
    assert float(maximisation.shift_spread(np.float32(0.0), np.float32(N))) == maximisation.ZETA_FLOOR


def test_wiener_filter_leaves_strong_shells_and_empties_those_of_noise():
    table = np.eye(2, dtype="float32")[[0, 0, 1, 1]]
    sums, weights = np.float32([[8, 8, 8, 8]]), np.float32([[4, 4, 4, 4]])
    ratio = maximisation.wiener_weights(np.float32([[0.8, 0.0]]), weights, table, table.sum(0))
    found = np.asarray(maximisation.weighted_averages(sums, weights, table, table.sum(0), np.asarray(ratio)))[
        0
    ]
    # Signal over noise of the whole is 2·0.8/0.2 = 8: the mean 2 is kept to 8/9.
    np.testing.assert_allclose(found[:2], 2 * 8 / 9, rtol=1e-5)
    assert found[2:].max() < 1e-3


def test_shell_correlation_equals_numpy():
    rng = np.random.default_rng(7)
    a, b = (rng.normal(size=(1, 6)) + 1j * rng.normal(size=(1, 6)) for _ in range(2))
    shell = np.array([0, 0, 0, 1, 1, 1])
    found = np.asarray(
        maximisation.shell_correlation(
            *((np.float32(x.real), np.float32(x.imag)) for x in (a, b)), np.eye(2, dtype="float32")[shell]
        )
    )[0]
    for s in (0, 1):
        x, y = a[0, shell == s], b[0, shell == s]
        expected = (x @ y.conj()).real / np.sqrt((abs(x) ** 2).sum() * (abs(y) ** 2).sum())
        assert found[s] == pytest.approx(expected, abs=1e-5)


def half_sums(rng, weights, signal):
    """Sums and weights of two half sets whose noise has the variance 1 at weight 1."""
    shape = (2, 1, weights.size)
    noise = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    sums = weights * signal * (1 + 0j) + np.sqrt(weights / 2) * noise
    parts = {"re": sums.real, "im": sums.imag, "weights": np.broadcast_to(weights, shape)}
    return {name: np.float32(part) for name, part in parts.items()}


def test_the_fsc_of_the_filter_is_not_that_of_the_frequencies_seen_least():
    rng = np.random.default_rng(8)
    weights = np.where(np.arange(4000) % 20 == 0, 0.02, 4.0)
    table = np.ones((4000, 1), "float32")
    sums = half_sums(rng, weights, 1.0)
    found = float(maximisation.reliable_fsc(sums, table, table.sum(0))[0, 0])
    # Signal over noise of a frequency is its weight: on the whole 3.8 with the floor of a tenth of the mean.
    root = np.sqrt(np.maximum(weights, 0.1 * weights.mean()))
    ssnr = ((weights / root) ** 2).mean() / (weights / root**2).mean()
    expected = ssnr / (1 + ssnr)
    assert found == pytest.approx(expected - (1 - expected**2) / np.sqrt(4000), abs=0.02)
    averages = [[sums[part][half] / weights for part in ("re", "im")] for half in (0, 1)]
    averages = [[np.float32(part) for part in half] for half in averages]
    assert float(maximisation.shell_correlation(*averages, table)[0, 0]) < 0.5 * found


def test_shells_of_noise_are_left_out_of_the_filter_as_a_rule():
    rng = np.random.default_rng(9)
    table = np.eye(200, dtype="float32")[np.arange(20000) % 200]
    sums = half_sums(rng, np.ones(20000), 0.0)
    found = np.asarray(maximisation.reliable_fsc(sums, table, table.sum(0)))[0]
    assert 0.04 < (found > 0).mean() < 0.12  # beyond 1.4 standard errors lie 8 %; above 0 half


def test_leftovers_beside_the_wedge_are_not_blown_up():
    table = np.ones((4, 1), "float32")
    sums, weights = np.float32([[4, 4, 4, 0.2]]), np.float32([[4, 4, 4, 1e-4]])
    found = np.asarray(maximisation.weighted_averages(sums, weights, table, table.sum(0)))[0]
    np.testing.assert_allclose(found, [1, 1, 1, 0.2 / (0.1 * weights.mean())], rtol=1e-5)


def test_shells_take_the_sums_expected_of_them_and_keep_their_shape():
    table = np.eye(3, dtype="float32")[[0, 0, 1, 1, 2]]
    weights = np.float32([[[1, 3, 2, 2, 0]]])
    found = np.asarray(maximisation.with_shell_sums(weights, np.float32([[[8, 1, 5]]]), table))
    # Nothing was seen of the last shell: there is nothing to scale.
    np.testing.assert_allclose(found, [[[2, 6, 0.5, 0.5, 0]]], rtol=1e-6)


def test_pooled_sums_hold_classes_together():
    rng = np.random.default_rng(2)
    sums, weights = rng.normal(size=(3, 7)), rng.uniform(1.0, 2.0, (3, 7))
    members = np.array([6.0, 3.0, 1.0])
    mixed = ops.convert_to_numpy(maximisation.pooled(sums.astype("float32"), members.astype("float32"), 0.5))
    for k in range(3):
        np.testing.assert_allclose(mixed[k], sums[k] + 0.05 * members[k] * sums.sum(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(maximisation.pooled(sums, members, 0.0), sums)
    strong = [maximisation.pooled(x, members, 1e6) for x in (sums, weights)]
    averages = ops.convert_to_numpy(strong[0] / strong[1])
    np.testing.assert_allclose(averages, np.broadcast_to(averages[:1], averages.shape), atol=1e-4)


def test_a_class_that_lost_its_members_shares_those_of_the_largest():
    rng = np.random.default_rng(4)
    sums, members = rng.normal(size=(2, 3, 5)).astype("float32"), np.float32([0.5, 30.0, 9.5])
    halves, whole = (ops.convert_to_numpy(x) for x in maximisation.split_class(sums, 0, 1))
    np.testing.assert_array_equal(halves[:, 0], sums[:, 1])
    np.testing.assert_array_equal(halves[:, 1:], sums[:, 1:])
    np.testing.assert_allclose(whole, [sums[1, 1], sums[0, 1], sums[0, 2] + sums[1, 2]], rtol=1e-6)
    shared = ops.convert_to_numpy(maximisation.split_members(members, 0, 1))
    np.testing.assert_allclose(shared, [15.25, 15.25, 9.5])
