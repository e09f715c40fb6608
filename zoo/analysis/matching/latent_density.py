"""Which latents are those of a complex C: a density of the latents of its turns, against the normal prior.

Wang et al. 2018, section 2.2: v is left out where N(v) < pi·E(v). In 100 dimensions a kernel density of 300
points is flat or a set of spikes, so that both densities are those in the leading directions of C's latents:
a standard normal seen in some orthonormal directions is a standard normal again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zoo.errors import ZooError

_BANDWIDTHS = np.exp(np.linspace(np.log(0.02), np.log(3.0), 24))
_FOLDS = 3
_SHARE = 0.9  # of the latents' squared length, in the leading directions
_MOST_DIRECTIONS = 8
_SEED = 3


@dataclass(frozen=True)
class LatentDensity:
    """Density of C's latents in ``directions`` (d, q), orthonormal; ``points`` (m, q) are those of its turns.

    ``curve`` (2, b) holds the bandwidths tried and the mean log density of points left out (3-fold
    cross-validation). ``gain``: by how much these are denser under it than under the standard normal and
    under one normal fitted to the others, in natural logarithms (two numbers): a bandwidth means something
    where the curve has its top inside and both are above 0.
    """

    directions: np.ndarray
    points: np.ndarray
    bandwidth: float
    curve: np.ndarray
    gain: tuple[float, float]

    @classmethod
    def of(cls, latents: np.ndarray, directions: int | None = None) -> LatentDensity:
        """From the latents (m, d) of m turns of C.

        ``directions``: how many are looked at (None: 90 % of the latents' squared length, 8 at most).
        Raises ZooError for fewer than 12 turns and latents that are not finite.
        """
        latents = np.asarray(latents, float)
        if latents.ndim != 2 or len(latents) < 4 * _FOLDS or not np.isfinite(latents).all():
            raise ZooError("a density of latents needs a dozen or more of them, (m, d), all finite")
        # about 0, where the prior has its middle: the mean is a direction like the others
        _, length, rows = np.linalg.svd(latents, full_matrices=False)
        if directions is None:
            share = np.cumsum(length**2) / max(float((length**2).sum()), 1e-30)
            directions = min(int(np.searchsorted(share, _SHARE)) + 1, _MOST_DIRECTIONS)
        basis = rows[:directions].T
        points = latents @ basis
        held_out = [_held_out(points, width) for width in _BANDWIDTHS]
        best = int(np.argmax([each.mean() for each in held_out]))
        normal = _log_normal(points).mean()
        curve = np.stack([_BANDWIDTHS, [each.mean() for each in held_out]])
        gain = (float(curve[1, best] - normal), float(curve[1, best] - _one_normal(points).mean()))
        return cls(basis, points, float(_BANDWIDTHS[best]), curve, gain)

    @property
    def meaningful(self) -> bool:
        """Whether the best bandwidth is inside those tried, and its density above the prior's."""
        inside = _BANDWIDTHS[0] < self.bandwidth < _BANDWIDTHS[-1]
        return bool(inside and self.gain[0] > 0)

    def log_density(self, latents: np.ndarray) -> np.ndarray:
        """log E of latents (k, d) in the leading directions, (k,)."""
        return _log_kernel(np.asarray(latents, float) @ self.directions, self.points, self.bandwidth)

    def belongs(self, latents: np.ndarray, prior: float = 0.01) -> np.ndarray:
        """Which latents (k, d) have N(v) < prior·E(v), (k,) bool."""
        if not 0 < prior <= 1:
            raise ZooError(f"a prior of {prior:g}: expected more than 0, at most 1")
        latents = np.asarray(latents, float)
        return _log_normal(latents @ self.directions) < np.log(prior) + self.log_density(latents)


def _log_kernel(at, points, width):
    from scipy.special import logsumexp

    squared = ((at[:, None] - points[None]) ** 2).sum(-1) / (2 * width**2)
    norm = np.log(len(points)) + points.shape[1] * np.log(width * np.sqrt(2 * np.pi))
    return logsumexp(-squared, axis=1) - norm


def _held_out(points, width):
    """Log density of every point under the kernels of the folds that it is not in, (m,)."""
    fold = np.random.default_rng(_SEED).permutation(len(points)) % _FOLDS
    out = np.empty(len(points))
    for each in range(_FOLDS):
        out[fold == each] = _log_kernel(points[fold == each], points[fold != each], width)
    return out


def _one_normal(points):
    from scipy.stats import multivariate_normal

    fold = np.random.default_rng(_SEED).permutation(len(points)) % _FOLDS
    out = np.empty(len(points))
    for each in range(_FOLDS):
        others = points[fold != each]
        spread = np.atleast_2d(np.cov(others.T)) + 1e-6 * np.eye(points.shape[1])
        out[fold == each] = multivariate_normal(others.mean(0), spread).logpdf(points[fold == each])
    return out


def _log_normal(at):
    return -0.5 * (at**2).sum(-1) - 0.5 * at.shape[-1] * np.log(2 * np.pi)
