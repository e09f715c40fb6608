"""How particles of one reconstruction vary: principal components of the density, and each one's place there.

Probabilistic principal components (Tipping & Bishop 1999) of maps that are seen through projections and CTFs,
found by expectation and maximisation, as in 3D variability analysis (Punjani & Fleet 2021):
image i = CTF · slice of (V_0 + Σ_k z_ik V_k) + noise, with z_ik normal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

from zoo.analysis.reconstruction.images import ParticleImages
from zoo.analysis.reconstruction.noise_groups import NoiseGroups
from zoo.analysis.reconstruction.volume import Poses
from zoo.metrics.fsc import fsc
from zoo.metrics.mask import sphere_mask
from zoo.ops.fourier_volume import PAD, FourierGrid, HalfGrid, central_slices, generator

_STREAM = 43
_LEAST_DENSITY = 1e-3  # of a shell's mean, where hardly any image saw a cell
_LEAST_SIGNAL = 1e-6  # of the mean's power in a shell: the prior of a component never is nothing
_FIRST_POWER = 0.1  # of the mean's
_SETTLED = 1e-4  # change of the log likelihood's gain from one round to the next


@dataclass
class Basis:
    """``maps`` ``(1 + k, n, n, n)``: the mean and the change for one standard deviation along each component;
    ``power`` ``(k, shells)``: prior variance of the components' coefficients."""

    maps: np.ndarray
    power: np.ndarray


@dataclass
class Varied:
    """What was found: ``basis`` of all images; ``z`` ``(n, k)`` of every particle with covariance
    ``(n, k, k)``; ``agreement`` ``(k, shells)``: FSC of each component between bases of the half sets, found
    apart; ``gain``: mean log likelihood of an image over that under the mean alone."""

    basis: Basis
    z: np.ndarray
    covariance: np.ndarray
    agreement: np.ndarray
    gain: float
    rounds: int


def vary(
    images: ParticleImages,
    poses: Poses,
    noise: np.ndarray,
    components: int,
    band: int,
    rounds: int = 25,
    mask: np.ndarray | None = None,
    seed: int = 0,
    tell: Callable[[int, int, str], None] = lambda done, total, words: None,
) -> Varied:
    """Mean and ``components`` principal components up to shell ``band`` of the box of ``images``.

    ``noise`` ``(groups, radius + 1)`` is the variance by optics group and shell, ``mask`` ``(n, n, n)`` holds
    what may vary (a sphere by default). The half sets are analysed apart first, from different random starts:
    what they agree in is no accident; then both together, from what they share.
    """
    space = _Space(images, poses, noise, components, band, mask)
    halves = []
    for half in (1, 2):
        rows = poses.half == half
        basis = space.start(rows, generator(seed, _STREAM, half))
        halves.append(space.climb(basis, rows, rounds, tell, f"half set {half}")[0])
    second = _laid_onto(halves[1], halves[0])
    everyone = np.ones(len(images), bool)
    shared = Basis((halves[0].maps + second.maps) / 2, (halves[0].power + second.power) / 2)
    basis, done = space.climb(shared, everyone, max(2, rounds // 4), tell, "all")
    z, covariance, gain = space.place(basis)
    basis, z, covariance, turn = _principal(basis, z, covariance)
    first = _turned(_laid_onto(halves[0], shared), turn)
    other = _turned(second, turn)
    agreement = np.stack([fsc(a, b) for a, b in zip(first.maps[1:], other.maps[1:], strict=True)])
    return Varied(basis, z, covariance, agreement, gain, done)


class _Space:
    """Images up to a band, their poses, and the sums that a round makes of them."""

    def __init__(self, images, poses, noise, components, band, mask):
        self.images, self.poses, self.noise, self.band = images, poses, noise, band
        self.groups = NoiseGroups(images)
        self.box, self.components = images.box, components
        self.count = images.plane.up_to(band)
        self.points = np.ascontiguousarray(images.plane.points[: self.count])
        self.grid = FourierGrid(self.box)
        self.half_grid = HalfGrid(self.box, band)
        self.mask = sphere_mask(self.box) if mask is None else mask
        self.pairs = list(combinations_with_replacement(range(components + 1), 2))
        axis = np.arange(-self.half_grid.reach, self.half_grid.reach)
        radius = np.sqrt(
            axis[:, None, None] ** 2.0 + axis[:, None] ** 2 + np.arange(self.half_grid.reach) ** 2
        )
        self.cells = np.rint(radius / PAD) <= band
        self.shell = np.rint(radius / PAD).astype(int)[self.cells]

    def start(self, rows, rng) -> Basis:
        """The mean, and what random coordinates make of the images: random mixtures of all that varies."""
        z = rng.normal(size=(len(self.images), self.components))
        spread = np.eye(self.components)
        sums = self._empty()
        for batch, values, ctf in self._batches():
            mine = rows[batch.rows]
            chosen = batch.rows[mine]
            self._insert(sums, chosen, values[mine], ctf[mine], z[chosen], spread)
        return self._solve(sums, None)

    def climb(self, basis, rows, rounds, tell, words):
        """Rounds of expectation and maximisation on particles where ``rows``; the basis and their number."""
        before = -np.inf
        number = 0
        for number in range(1, rounds + 1):
            sums, gain, seen = self._empty(), 0.0, 0
            grids = self._grids(basis)
            for batch, values, ctf in self._batches():
                mine = rows[batch.rows]
                seen_of = batch.rows[mine], values[mine], ctf[mine]
                z, covariance, gains = self._expect(grids, *seen_of)
                self._insert(sums, *seen_of, z, covariance)
                gain += gains.sum()
                seen += len(batch.rows)
                tell(seen, len(self.images), f"{words}, round {number}")
            gain /= max(rows.sum(), 1)
            basis = self._solve(sums, basis.power)
            if number > 2 and gain - before < _SETTLED * max(abs(gain), 1e-3):
                break
            before = gain
        return basis, number

    def place(self, basis):
        """Coordinates, their covariance, and mean gain in log likelihood over the mean alone."""
        k = self.components
        z, covariance = np.zeros((len(self.images), k)), np.zeros((len(self.images), k, k))
        total, grids = 0.0, self._grids(basis)
        for batch, values, ctf in self._batches():
            z[batch.rows], covariance[batch.rows], gains = self._expect(grids, batch.rows, values, ctf)
            total += gains.sum()
        return z, covariance, total / len(self.images)

    # ---- a batch

    def _batches(self):
        turn = np.float32(2 * np.pi / self.box)
        for batch in self.images.batches():
            values, ctf = self.groups.whitened(batch, self.noise)
            values, ctf = values[:, : self.count], np.ascontiguousarray(ctf[:, : self.count])
            angle = turn * (self.poses.shifts[batch.rows] @ self.points.T)
            yield batch, np.ascontiguousarray(values * np.exp(1j * angle).astype(np.complex64)), ctf

    def _grids(self, basis):
        return [self.grid.transform(volume * self.mask) for volume in basis.maps]

    def _expect(self, grids, rows, values, ctf):
        """Mean and covariance of the coordinates, and what they add to the log likelihood."""
        slices = []
        for grid in grids:
            parts = central_slices(grid, self.poses.frames[rows], self.points)
            slices.append((parts[:, : self.count] + 1j * parts[:, self.count :]) * ctf)
        left = values - slices[0]
        # the origin is the images' mean grey value, which normalising took away
        changes = np.stack(slices[1:], axis=1)[:, :, 1:]
        precision = 2 * np.einsum("nkm,nlm->nkl", changes, changes.conj(), optimize=True).real
        precision += np.eye(self.components)
        match = 2 * np.einsum("nkm,nm->nk", changes.conj(), left[:, 1:], optimize=True).real
        covariance = np.linalg.inv(precision)
        z = np.einsum("nkl,nl->nk", covariance, match)
        gain = 0.5 * (z * match).sum(1) - 0.5 * np.linalg.slogdet(precision)[1]
        return z, covariance, gain

    # ---- sums

    def _empty(self):
        return [self.half_grid.new_sums() for _ in self.pairs]

    def _insert(self, sums, rows, values, ctf, z, covariance):
        """Σ w z_a z_b CTF² for every pair of components (0 is the mean, z_0 = 1); of (0, b) Σ w z_b CTF X.

        ``values``, ``ctf``, ``z`` and ``covariance`` are those of ``rows``.
        """
        still = np.zeros((len(rows), 2), np.float32)  # the images have been moved already
        full = np.concatenate([np.ones((len(rows), 1)), z], axis=1)
        moments = full[:, :, None] * full[:, None]
        moments[:, 1:, 1:] += covariance
        for total, (a, b) in zip(sums, self.pairs, strict=True):
            weights = (self.poses.weights[rows] * moments[:, a, b]).astype(np.float32)
            self.half_grid.insert(total, self.poses.frames[rows], still, weights, values, ctf, self.points)

    def _solve(self, sums, power) -> Basis:
        """The maps that explain the images best, given the prior power of the components' coefficients.

        None: nothing is known of it, and it counts as a tenth of the mean's.
        """
        size = self.components + 1
        normal = np.empty((int(self.cells.sum()), size, size))
        right = np.empty((len(normal), size), complex)
        for total, (a, b) in zip(sums, self.pairs, strict=True):
            # what an image says of a coefficient is spread over the cells that padding adds beside it
            cells = PAD**3 * self.half_grid.complete(total)[self.cells].astype(np.float64)
            normal[:, a, b] = normal[:, b, a] = cells[:, 2]
            if a == 0:
                right[:, b] = cells[:, 0] + 1j * cells[:, 1]
        density = self._shell_means(normal[:, 0, 0])
        normal[:, 0, 0] += _LEAST_DENSITY * density[self.shell] + 1e-30
        mean = right[:, 0] / normal[:, 0, 0]
        mean_power = self._shell_means(np.abs(mean) ** 2)
        if power is None:
            power = np.tile(_FIRST_POWER * mean_power, (self.components, 1))
        power = np.maximum(power, _LEAST_SIGNAL * mean_power + 1e-30)
        for k in range(self.components):
            normal[:, k + 1, k + 1] += 1 / power[k][self.shell]
        inverse = np.linalg.inv(normal)
        solved = np.einsum("cab,cb->ca", inverse, right)
        maps = np.stack([self._map(solved[:, a]) for a in range(size)])
        variance = np.diagonal(inverse, axis1=1, axis2=2)
        moments = (np.abs(solved) ** 2 + variance)[:, 1:]
        found = np.stack([self._shell_means(moments[:, k]) for k in range(self.components)])
        return Basis(maps, found)

    def _map(self, coefficients):
        sums = self.half_grid.new_sums()
        whole = np.zeros((len(coefficients), 3), np.float32)
        whole[:, 0], whole[:, 1], whole[:, 2] = coefficients.real, coefficients.imag, 1
        sums[self.cells] = whole
        return self.half_grid.solve(sums, np.zeros(self.band + 1), self.band) * self.mask

    def _shell_means(self, values):
        total = np.bincount(self.shell, values, minlength=self.band + 1)
        return (total / np.maximum(np.bincount(self.shell, minlength=self.band + 1), 1))[: self.band + 1]


def _flat(basis: Basis) -> np.ndarray:
    return basis.maps[1:].reshape(len(basis.maps) - 1, -1).astype(np.float64)


def _laid_onto(basis: Basis, other: Basis) -> Basis:
    """The basis turned (an orthogonal matrix over its components) to be as near as can be to another one."""
    left, _, right = np.linalg.svd(_flat(other) @ _flat(basis).T)
    return _turned(basis, left @ right)


def _turned(basis: Basis, turn: np.ndarray) -> Basis:
    components = np.einsum("ab,bzyx->azyx", turn, basis.maps[1:].astype(np.float64))
    return Basis(
        np.concatenate([basis.maps[:1], components.astype(np.float32)]), np.square(turn) @ basis.power
    )


def _principal(basis: Basis, z: np.ndarray, covariance: np.ndarray):
    """Components of falling variance, orthogonal, whose coordinates have mean 0 and are uncorrelated with
    variance 1 (that of the posterior included); what this does is V' = T V, z' = T⁻ᵀ (z − mean)."""
    middle = z.mean(0)
    second = np.cov(z.T, bias=True).reshape(len(middle), -1) + covariance.mean(0)
    root = np.linalg.cholesky(second)
    flat = root.T @ _flat(basis)
    values, vectors = np.linalg.eigh(flat @ flat.T)
    order = np.argsort(-values)
    vectors = vectors[:, order].T
    components = vectors @ flat
    sign = np.sign(components[np.arange(len(order)), np.abs(components).argmax(1)])
    turn = sign[:, None] * vectors
    back = turn @ np.linalg.inv(root)
    maps = basis.maps.copy()
    maps[0] += np.tensordot(middle, basis.maps[1:], 1)
    maps[1:] = (turn @ flat).reshape(basis.maps[1:].shape)
    whole = turn @ root.T
    power = np.square(whole) @ basis.power
    return Basis(maps, power), (z - middle) @ back.T, back @ covariance @ back.T, whole
