"""Latents that belong to a complex are told from the prior's, in few directions and not in a hundred."""

import numpy as np
import pytest
from scipy import stats
from sklearn.neighbors import KernelDensity

from zoo.analysis.matching.latent_density import LatentDensity
from zoo.errors import ZooError

DIM = 100


def latents_of_turns(count, seed=0, own=4, length=8.0):
    """Latents that move with the turn on a curved sheet in a few of 100 dimensions, as a regressor's do."""
    rng = np.random.default_rng(1)
    basis = np.linalg.qr(rng.normal(size=(DIM, own)))[0]
    rng = np.random.default_rng([seed, 5])
    angle = rng.uniform(0, 2 * np.pi, (count, own // 2))
    sheet = np.concatenate([np.cos(angle), np.sin(angle)], axis=1) * length / np.sqrt(own // 2)
    return sheet @ basis.T + 0.2 * rng.normal(size=(count, DIM))


def test_held_out_turns_belong_and_draws_of_the_prior_do_not():
    density = LatentDensity.of(latents_of_turns(300))
    assert density.meaningful and min(density.gain) > 1
    assert density.belongs(latents_of_turns(200, seed=1)).mean() > 0.95
    assert density.belongs(np.random.default_rng(0).normal(size=(2000, DIM))).mean() < 0.01


def test_in_all_directions_the_same_density_knows_nothing():
    """Why not 100: among directions that say nothing of C, C's own turns look like any sample."""

    def noisy(count, seed):
        return latents_of_turns(count, seed, length=6.0) + 0.9 * np.random.default_rng([2, seed]).normal(
            size=(count, DIM)
        )

    few, all_of_them = (LatentDensity.of(noisy(300, 0), directions) for directions in (None, DIM))
    assert few.belongs(noisy(200, 1)).mean() > 0.8 > 0.1 > all_of_them.belongs(noisy(200, 1)).mean()
    assert few.meaningful and not all_of_them.meaningful


def test_latents_like_the_priors_reject_nothing_much():
    """A regressor that tells turns of C nothing from samples: nearly all draws stay."""
    density = LatentDensity.of(np.random.default_rng(0).normal(size=(300, DIM)))
    assert density.belongs(np.random.default_rng(1).normal(size=(2000, DIM))).mean() < 0.02


def test_density_and_bandwidth_are_those_of_sklearn():
    density = LatentDensity.of(latents_of_turns(120))
    points = latents_of_turns(30, seed=4)
    theirs = KernelDensity(bandwidth=density.bandwidth).fit(density.points)
    np.testing.assert_allclose(density.log_density(points), theirs.score_samples(points @ density.directions))
    top = density.curve[1].argmax()
    assert 0 < top < density.curve.shape[1] - 1 and density.curve[0, top] == density.bandwidth


def test_the_boundary_is_that_of_the_formula():
    """One direction, worked out by hand: N(v) < pi·E(v)."""
    latents = np.zeros((60, 3))
    latents[:, 1] = np.linspace(2.5, 3.5, 60)
    density = LatentDensity.of(latents, directions=1)
    v = np.stack([np.zeros(50), np.linspace(-4, 6, 50), np.zeros(50)], axis=1)
    kernel = np.exp(-((v[:, 1:2] - latents[None, :, 1]) ** 2) / (2 * density.bandwidth**2)).mean(1) / (
        density.bandwidth * np.sqrt(2 * np.pi)
    )
    np.testing.assert_array_equal(density.belongs(v, 0.1), stats.norm.pdf(v[:, 1]) < 0.1 * kernel)
    assert density.belongs(v, 0.1).any() and not density.belongs(v, 0.1).all()


@pytest.mark.parametrize("latents", [np.zeros((5, 3)), np.full((300, 3), np.nan)])
def test_latents_that_make_no_density_are_refused(latents):
    with pytest.raises(ZooError, match="latents"):
        LatentDensity.of(latents)


def test_a_prior_that_is_none_is_refused():
    with pytest.raises(ZooError, match="prior"):
        LatentDensity.of(latents_of_turns(60)).belongs(np.zeros((1, DIM)), 0)
