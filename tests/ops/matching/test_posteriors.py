"""Equations 14 and 15 against plain exponentials in float64."""

import numpy as np

from zoo.ops.matching.posteriors import best_only, log_evidence, posterior_weights


def small_case(rng, offset=0.0):
    residuals = rng.uniform(0, 6, (3, 2, 4)) + offset
    shifts = rng.normal(0, 2, (3, 2, 4, 3))
    alpha, zeta = np.array([0.3, 0.7]), 2.5
    voronoi = rng.dirichlet(np.ones(4), (3, 2))
    return residuals, shifts, alpha, zeta, voronoi


def test_posteriors_equal_equations_14_and_15():
    residuals, shifts, alpha, zeta, voronoi = small_case(np.random.default_rng(1))
    e = alpha[None, :, None] * np.exp(residuals / -2 + (shifts**2).sum(-1) / (-2 * zeta**2))
    total = (e * voronoi).sum((1, 2))
    expected = e / total[:, None, None] * voronoi
    log_e = log_evidence(*(np.float32(x) for x in (residuals, shifts, alpha, zeta)))
    weights, likelihood = posterior_weights(log_e, np.float32(voronoi))
    np.testing.assert_allclose(np.asarray(weights), expected, rtol=2e-5)
    np.testing.assert_allclose(np.asarray(likelihood), np.log(total), rtol=1e-5)


def test_large_residuals_do_not_underflow():
    case = small_case(np.random.default_rng(2))
    far = small_case(np.random.default_rng(2), offset=4096.0)
    weights = [
        np.asarray(posterior_weights(log_evidence(*(np.float32(x) for x in c[:4])), np.float32(c[4]))[0])
        for c in (case, far)
    ]
    assert np.isfinite(weights[1]).all()
    np.testing.assert_allclose(weights[1].sum((1, 2)), 1.0, rtol=1e-5)
    np.testing.assert_allclose(weights[1], weights[0], atol=2e-3)


def test_unused_candidates_and_empty_classes_have_no_weight():
    residuals, shifts, _, zeta, voronoi = small_case(np.random.default_rng(3))
    voronoi[:, 1, 2] = 0.0
    alpha = np.float32([0.0, 1.0])
    log_e = log_evidence(np.float32(residuals), np.float32(shifts), alpha, np.float32(zeta))
    weights = np.asarray(posterior_weights(log_e, np.float32(voronoi))[0])
    assert weights[:, 0].sum() == 0.0
    assert weights[:, 1, 2].sum() == 0.0
    np.testing.assert_allclose(weights.sum((1, 2)), 1.0, rtol=1e-5)


def test_best_only_marks_the_largest_score():
    scores = np.random.default_rng(4).normal(size=(5, 2, 3)).astype("float32")
    chosen = np.asarray(best_only(scores))
    assert chosen.sum() == 5
    np.testing.assert_array_equal((chosen * scores).sum((1, 2)), scores.max((1, 2)))
