"""p-values by ranks and by the tail of a null: against counting, and calibrated where the null is known."""

import numpy as np
import pytest
from scipy import stats

from zoo.errors import ZooError
from zoo.metrics.p_values import (
    fit_tail,
    of_best,
    p_value,
    q_values,
    rank_p_values,
    smaller_than_uniform,
)

NULLS = {"normal": stats.norm(), "exponential": stats.expon(), "beta": stats.beta(4, 8), "t5": stats.t(5),
         "uniform": stats.uniform()}  # fmt: skip


def test_ranks_are_counts():
    rng = np.random.default_rng(0)
    nulls, scores = rng.integers(0, 30, 200) / 30, rng.integers(0, 30, 50) / 30  # with ties
    rank, share = rank_p_values(scores, nulls)
    for value, p, paper in zip(scores, rank, share, strict=True):
        reached = sum(null >= value for null in nulls)
        assert p == (1 + reached) / 201 and paper == reached / 200


@pytest.mark.parametrize("name", NULLS)
@pytest.mark.parametrize("seed", range(3))
def test_p_values_of_nulls_are_not_smaller_than_uniform(name, seed):
    """Each score against a null of its own: the p-values of a calibrated test are uniform."""
    rng = np.random.default_rng([seed, len(name)])
    found = [p_value(float(NULLS[name].rvs(random_state=rng)), NULLS[name].rvs(985, random_state=rng)).p
             for _ in range(500)]  # fmt: skip
    assert smaller_than_uniform(found) > 0.01
    assert stats.kstest(found, "uniform", alternative="less").pvalue > 1e-3  # nor all large


@pytest.mark.parametrize(("name", "most"), [("normal", 8.0), ("exponential", 4.0)])
def test_far_scores_get_a_p_value_of_their_size(name, most):
    """Where ranks end: the median over nulls of p at a score of 1e-5 lies near it, and not below a third."""
    score = float(NULLS[name].isf(1e-5))
    found, ways = [], []
    for seed in range(60):
        p = p_value(score, NULLS[name].rvs(985, random_state=np.random.default_rng(seed)))
        found.append(p.p)
        ways.append(p.model)
    assert 1e-5 / 3 < np.median(found) < most * 1e-5 * 3, np.median(found)
    assert np.mean([way != "ranks" for way in ways]) > 0.8


def test_a_tail_that_is_none_is_left_to_ranks():
    rng = np.random.default_rng(3)
    two_lumps = np.concatenate([rng.normal(0, 0.01, 940), rng.normal(1, 0.001, 25), rng.normal(3, 0.001, 25)])
    assert fit_tail(two_lumps).model == "ranks"
    assert fit_tail(np.repeat(rng.normal(size=100), 10)).model == "ranks"  # copies
    assert fit_tail(rng.normal(size=300)).model == "ranks"  # 15 excesses
    got = p_value(9.0, two_lumps)
    assert (got.p, got.model) == (1 / 991, "ranks")


def test_the_tests_of_fit_keep_their_level():
    """Exponential nulls are refused as such in about a twentieth of the cases, others more often."""
    refused = {
        name: np.mean(
            [
                fit_tail(NULLS[name].rvs(985, random_state=np.random.default_rng(seed))).model
                != "exponential"
                for seed in range(200)
            ]
        )
        for name in ("exponential", "t5")
    }
    assert refused["exponential"] < 0.12 < refused["t5"], refused


def test_decoys_count_and_leave_the_tail_alone():
    nulls = np.random.default_rng(1).exponential(size=985)
    without, with_two = p_value(15.0, nulls), p_value(15.0, nulls, decoys=[14.0, 16.0, 17.0])
    assert with_two.model == without.model == "exponential"
    assert with_two.p == pytest.approx(without.p + 2 / 989)
    assert with_two.reached == 2 and with_two.rank == 3 / 989


def test_the_best_of_several_is_judged_as_one():
    assert of_best(0.01, 1) == pytest.approx(0.01)
    assert of_best(1e-12, 15) == pytest.approx(15e-12)
    assert of_best(np.array([0.0, 1.0]), 15) == pytest.approx([0.0, 1.0])
    rng = np.random.default_rng(5)
    best = 1 - rng.random((4000, 15)).max(axis=1)  # p of the best of 15 draws
    assert smaller_than_uniform(best) < 1e-10
    assert smaller_than_uniform(of_best(best, 15)) > 0.01


def test_false_discoveries_stay_at_the_rate():
    """Over seeds: a tenth of what is called at 10 % is false, at most."""
    shares = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        p = np.concatenate([rng.random(400), stats.norm.sf(rng.normal(3.5, 1, 100))])
        called = np.flatnonzero(q_values(p) <= 0.1)
        shares.append((called < 400).sum() / max(len(called), 1))
    assert np.mean(shares) < 0.1
    order = np.sort(p)
    by_hand = np.minimum.accumulate((order * len(p) / np.arange(1, len(p) + 1))[::-1])[::-1]
    np.testing.assert_allclose(np.sort(q_values(p)), np.minimum(by_hand, 1), rtol=1e-12)


@pytest.mark.parametrize("nulls", [[], [0.1, np.nan]])
def test_nulls_that_say_nothing_are_refused(nulls):
    with pytest.raises(ZooError, match="null"):
        rank_p_values(0.5, nulls)


def test_p_values_beyond_one_are_refused():
    with pytest.raises(ZooError, match="0 to 1"):
        q_values([0.1, 1.2])
    with pytest.raises(ZooError, match="NaN"):
        rank_p_values(np.nan, [0.1])
