"""How often chance does as well: p-values of a score among those of a null, its tail, false discoveries.

Ranks alone cannot say less than 1 / (1 + B). Beyond the 95th percentile the excesses over it follow a
generalised Pareto distribution (Pickands 1975; for p-values Knijnenburg et al. 2009), whose fit is tested
before it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

from zoo.errors import ZooError

MODELS = ("ranks", "exponential", "pareto")
TAIL_SHARE = 0.05  # what lies beyond the percentile that the tail begins at
LEAST_EXCESSES = 20
ENOUGH_RANKS = 10  # as many nulls at or above a score, and ranks say it well enough
FIT_LEVEL = 0.05  # a tail whose test of fit says less is not used
_DRAWS = 999
_SEED = 95
# Heavier tails than the last have no moments to fit by; below the first the density rises towards its end,
# and nulls lie beyond it.
_SHAPES = (-1.0, 0.45)


@dataclass(frozen=True)
class Tail:
    """What the null is like beyond ``threshold``: excesses of a share ``share`` of all, with a fitted model.

    ``model`` is one of ``MODELS``; "ranks" where no fit holds. ``shape`` and ``scale`` are those of
    `scipy.stats.genpareto`, ``fit_p`` the p-value of the Anderson-Darling test of the model chosen (of the
    best that was refused, where none holds).
    """

    model: str
    threshold: float
    share: float
    count: int
    shape: float
    scale: float
    fit_p: float

    def survival(self, scores):
        """Probability that a null reaches ``scores``, above the threshold; NaN below it and for ranks.

        A shape below 0 would say that nothing can lie beyond a certain score, which some fifty excesses
        cannot know: 0 is taken there, with the scale as it is. 1/count is added to the shape: the predictive
        distribution of an exponential whose mean was estimated from ``count`` values is Pareto's of that
        shape.
        """
        scores = np.asarray(scores, float)
        if self.model == "ranks":
            return np.full(scores.shape, np.nan)
        shape = max(self.shape, 0.0) + 1.0 / self.count
        beyond = self.share * stats.genpareto.sf(scores - self.threshold, shape, scale=self.scale)
        return np.where(scores >= self.threshold, beyond, np.nan)


@dataclass(frozen=True)
class PValue:
    """``p`` and what it comes from; ``rank`` is (1 + #{c0 >= c}) / (1 + B), ``share`` #{c0 >= c} / B."""

    p: float
    rank: float
    share: float
    model: str
    reached: int


def rank_p_values(scores, nulls):
    """(1 + #{c0 >= c}) / (1 + B) of each score, and the share #{c0 >= c} / B (Wang et al. 2018, section 2.3).

    scores (...), nulls (B,). The share is 0 for a score above all nulls, which no experiment can know: the
    other form is never 0 and its test keeps its level (Davison & Hinkley 1997, section 4.2). Raises ZooError
    without nulls and for values that are not finite.
    """
    scores, nulls = np.asarray(scores, float), _checked(nulls)
    if not np.isfinite(scores).all():
        raise ZooError("a score is NaN or infinite; a p-value needs a number")
    reached = len(nulls) - np.searchsorted(np.sort(nulls), scores, side="left")
    return (1.0 + reached) / (1.0 + len(nulls)), reached / len(nulls)


def fit_tail(nulls) -> Tail:
    """The tail of nulls (B,) beyond their 95th percentile: exponential if that fits, else Pareto, else ranks.

    The exponential is the generalised Pareto of shape 0; scale and shape are found by probability-weighted
    moments (Hosking & Wallis 1987) and tested by Anderson-Darling's statistic against draws of the fitted
    model that are fitted themselves. Fewer than 20 excesses are left to ranks. Raises ZooError as
    `rank_p_values`.
    """
    nulls = np.sort(_checked(nulls))
    count = int(np.ceil(TAIL_SHARE * len(nulls)))
    threshold = float(nulls[-count - 1]) if count < len(nulls) else float(nulls[0])
    excess = nulls[-count:] - threshold
    none = Tail("ranks", threshold, count / len(nulls), count, np.nan, np.nan, 0.0)
    # Ties say that the values are not drawn from a continuum: copies, or a bound that was reached.
    if count < LEAST_EXCESSES or not excess[0] > 0 or len(np.unique(excess)) < 0.9 * count:
        return none
    mean = float(excess.mean())
    found = _anderson(np.sort(-np.expm1(-excess / mean))[None])[0]
    p_exponential = (1 + (_exponential_null(count) >= found).sum()) / (1 + _DRAWS)
    if p_exponential > FIT_LEVEL:
        return Tail("exponential", threshold, count / len(nulls), count, 0.0, mean, float(p_exponential))
    shape, scale = (float(part[0]) for part in _moments(excess[None]))
    found = _anderson(stats.genpareto.cdf(excess, shape, scale=scale)[None])[0]
    p_pareto = float((1 + (_pareto_null(count, round(shape, 2)) >= found).sum()) / (1 + _DRAWS))
    if p_pareto > FIT_LEVEL and _SHAPES[0] < shape < _SHAPES[1]:
        return Tail("pareto", threshold, count / len(nulls), count, shape, scale, p_pareto)
    return Tail("ranks", threshold, count / len(nulls), count, shape, scale, p_pareto)


def p_value(score: float, nulls, tail: Tail | None = None, decoys=()) -> PValue:
    """How probable a null is that scores as high: by ranks where these say it, else by the tail.

    Ranks are taken where ten nulls or more reach the score, and where no tail fits (``tail`` as `fit_tail`
    says, None: it is asked). ``decoys`` are further null scores that are few and no draws, copies of the
    candidate among them: they count in all ranks, and leave the tail as it is.
    """
    nulls, decoys = _checked(nulls), np.asarray(decoys, float)
    everything = np.concatenate([nulls, decoys])
    rank, share = (float(part) for part in rank_p_values(score, everything))
    reached = int((everything >= score).sum())
    if int((nulls >= score).sum()) >= ENOUGH_RANKS:
        return PValue(rank, rank, share, "ranks", reached)
    tail = fit_tail(nulls) if tail is None else tail
    beyond = float(tail.survival(score))
    if not np.isfinite(beyond):
        return PValue(rank, rank, share, "ranks", reached)
    beaten = int((decoys >= score).sum()) / (1.0 + len(everything))
    return PValue(min(beyond + beaten, 1.0), rank, share, tail.model, reached)


def of_best(p, count: int):
    """p-values of a best of ``count``: 1 - (1 - p)^count, the chance that one of so many does so (Sidak).

    The best of several templates scores high by having been chosen. Exact for independent ones, too large
    where they are alike.
    """
    if count < 1:
        raise ZooError(f"the best of {count}: expected 1 or more")
    return -np.expm1(count * np.log1p(-np.minimum(np.asarray(p, float), 1.0 - 1e-16)))


def q_values(p):
    """Least false discovery rate at which each of p (n,) is called (Benjamini & Hochberg 1995)."""
    p = np.asarray(p, float)
    if p.ndim != 1 or not len(p) or not ((p >= 0) & (p <= 1)).all():
        raise ZooError("q-values need one or more p-values from 0 to 1")
    return stats.false_discovery_control(p, method="bh")


def smaller_than_uniform(p) -> float:
    """p-value of the one-sided Kolmogorov-Smirnov test that p (n,) are smaller than uniform ones."""
    return float(stats.kstest(np.asarray(p, float), "uniform", alternative="greater").pvalue)


def _checked(nulls):
    nulls = np.asarray(nulls, float).ravel()
    if not len(nulls):
        raise ZooError("no scores of a null: a p-value needs at least one")
    if not np.isfinite(nulls).all():
        raise ZooError("a score of the null is NaN or infinite; a p-value needs numbers")
    return nulls


def _moments(excess):
    """Shape and scale of `scipy.stats.genpareto` from sorted excesses (b, m), each (b,)."""
    count = excess.shape[1]
    first = excess.mean(axis=1)
    upper = 1.0 - (np.arange(1, count + 1) - 0.35) / count
    second = (upper * excess).mean(axis=1)
    bound = np.maximum(first - 2.0 * second, 1e-9 * first)
    return 2.0 - first / bound, 2.0 * first * second / bound


def _anderson(probability):
    """Anderson and Darling's A² of sorted probabilities (b, m) against the uniform distribution, (b,)."""
    count = probability.shape[1]
    inside = np.clip(probability, 1e-12, 1.0 - 1e-12)
    weight = (2.0 * np.arange(1, count + 1) - 1.0) / count
    return -count - (weight * (np.log(inside) + np.log1p(-inside[:, ::-1]))).sum(axis=1)


@lru_cache(maxsize=64)
def _exponential_null(count):
    """A² of draws of an exponential with their own mean, (draws,): no scale changes it."""
    draws = np.sort(np.random.default_rng([_SEED, count]).exponential(size=(_DRAWS, count)), axis=1)
    return _anderson(-np.expm1(-draws / draws.mean(axis=1, keepdims=True)))


@lru_cache(maxsize=256)
def _pareto_null(count, shape):
    """A² of draws of a generalised Pareto that are fitted themselves, (draws,)."""
    rng = np.random.default_rng([_SEED, count, round(100 * shape) + 10_000])
    draws = np.sort(stats.genpareto.rvs(shape, size=(_DRAWS, count), random_state=rng), axis=1)
    shapes, scales = _moments(draws)
    return _anderson(np.sort(stats.genpareto.cdf(draws, shapes[:, None], scale=scales[:, None]), axis=1))
