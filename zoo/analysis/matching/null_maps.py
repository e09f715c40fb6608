"""Where the maps of the null come from: a person's own, composites of these, or a generator's samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from zoo.analysis.matching.latent_density import LatentDensity
from zoo.errors import ZooError

_TURNS = 300


class NullMaps(Protocol):
    """Draw number i is always the same map, so that draws are made once for all templates.

    ``words`` says what they are, ``count`` how many there can be (None: any number). ``by_latents``:
    `away_from` decides by latents; else the correlation with the template does.
    """

    words: str
    count: int | None
    by_latents: bool

    def maps(self, start: int, stop: int) -> np.ndarray:
        """Draws ``start`` to ``stop`` (k, n, n, n)."""
        ...

    def away_from(self, template: np.ndarray, start: int, stop: int) -> np.ndarray:
        """Which of the draws do not stand for the template (n, n, n) itself, (k,) bool."""
        ...

    def made_of(self, number: int) -> tuple[int, ...]:
        """Other draws that hold this one's parts, () where it has none: with a part that is the template no
        draw stands against it."""
        ...

    def facts(self) -> dict[str, float]:
        """What a person should know of how `away_from` decided the last time; empty where nothing."""
        ...


class OwnMaps:
    """Maps (m, n, n, n) of a person's own, and beyond these ``composites`` of two or three of them.

    A composite is the sum of maps that are turned at random, moved up to a sixth of the box, stretched or
    shrunk along each axis by up to a quarter, and cut by a plane each: no structure that anybody knows, of
    matter like theirs.
    """

    by_latents = False

    def __init__(self, maps: np.ndarray, words: str, seed: int = 0, composites: bool = True):
        self._maps, self._seed = maps, seed
        self.count = None if composites and len(maps) > 1 else len(maps)
        self.words = words

    def maps(self, start: int, stop: int) -> np.ndarray:
        """Draws ``start`` to ``stop`` (k, n, n, n); the first are the maps as they are."""
        return np.stack([self._one(number) for number in range(start, stop)])

    def away_from(self, template: np.ndarray, start: int, stop: int) -> np.ndarray:
        """All: their correlation with the template is what tells."""
        return np.ones(stop - start, bool)

    def made_of(self, number: int) -> tuple[int, ...]:
        """Which of the maps, the first draws, a composite is made of."""
        return () if number < len(self._maps) else tuple(self._parts_of(number)[0])

    def facts(self) -> dict[str, float]:
        """Nothing."""
        return {}

    def _parts_of(self, number: int):
        rng = np.random.default_rng([self._seed, 17, number])
        size = min(int(rng.integers(2, 4)), len(self._maps))
        return rng.choice(len(self._maps), size=size, replace=False).tolist(), rng

    def _one(self, number: int) -> np.ndarray:
        if number < len(self._maps):
            return np.asarray(self._maps[number], np.float32)
        which, rng = self._parts_of(number)
        return np.sum([self._part(np.asarray(self._maps[each], np.float32), rng) for each in which], axis=0)

    def _part(self, density: np.ndarray, rng) -> np.ndarray:
        n = density.shape[-1]
        turn = Rotation.random(rng=rng).as_matrix() @ np.diag(np.exp(rng.uniform(-0.22, 0.22, 3)))
        middle = np.full(3, n // 2)
        place = middle + rng.uniform(-n / 6, n / 6, 3)
        out = ndimage.affine_transform(density, turn, middle - turn @ place, order=1)
        normal = rng.normal(size=3)
        normal /= np.linalg.norm(normal)
        axes = np.meshgrid(*(np.arange(n, dtype=np.float32),) * 3, indexing="ij")
        along = sum((axis - at) * each for axis, at, each in zip(axes, place, normal, strict=True))
        kept = np.clip(along + rng.uniform(0, n / 8) + 0.5, 0.0, 1.0)  # a plane with a soft edge
        return (out * kept / max(float(out.std()), 1e-12)).astype(np.float32)


class GeneratedMaps:
    """Samples of a generator: ``generate`` makes maps (k, n, n, n) of normal latents (k, d).

    ``encode`` makes latents (k, d) of maps (k, n, n, n), where there is an inverse generator: draws whose
    latents belong to the template (`LatentDensity` of its turns) are then left out for it. Without it all
    draws are compared with the template itself.
    """

    count = None

    def __init__(
        self,
        generate: Callable[[np.ndarray], np.ndarray],
        latent_dim: int,
        words: str,
        encode: Callable[[np.ndarray], np.ndarray] | None = None,
        seed: int = 0,
        prior: float = 0.01,
    ):
        self._generate, self._encode = generate, encode
        self._dim, self._seed, self._prior = latent_dim, seed, prior
        self.words, self.by_latents = words, encode is not None
        self.density: LatentDensity | None = None  # of the template asked for last

    def latents(self, start: int, stop: int) -> np.ndarray:
        """Latents (k, d) of the draws, standard normal."""
        return np.stack(
            [
                np.random.default_rng([self._seed, 23, number]).standard_normal(self._dim).astype(np.float32)
                for number in range(start, stop)
            ]
        )

    def maps(self, start: int, stop: int) -> np.ndarray:
        """Draws ``start`` to ``stop`` (k, n, n, n)."""
        return self._generate(self.latents(start, stop))

    def away_from(self, template: np.ndarray, start: int, stop: int) -> np.ndarray:
        """Which latents are likelier those of a sample than of the template, (k,) bool."""
        if self._encode is None:
            return np.ones(stop - start, bool)
        self.density = LatentDensity.of(self._encode_turns(template))
        return ~self.density.belongs(self.latents(start, stop), self._prior)

    def made_of(self, number: int) -> tuple[int, ...]:
        """Of nothing that is known."""
        return ()

    def facts(self) -> dict[str, float]:
        """Directions, bandwidth and gains of the density of the template's latents (`LatentDensity`)."""
        if self.density is None:
            return {}
        over_prior, over_normal = self.density.gain
        return {
            "directions": float(self.density.directions.shape[1]),
            "bandwidth": self.density.bandwidth,
            "gain_over_prior": over_prior,
            "gain_over_one_normal": over_normal,
            "meaningful": float(self.density.meaningful),
        }

    def _encode_turns(self, template: np.ndarray) -> np.ndarray:
        assert self._encode is not None  # its callers ask
        turns = Rotation.random(_TURNS, rng=np.random.default_rng([self._seed, 29])).as_matrix()
        middle = np.full(3, template.shape[-1] // 2)
        parts = []
        for start in range(0, _TURNS, 30):
            turned = [
                ndimage.affine_transform(template, turn, middle - turn @ middle, order=1)
                for turn in turns[start : start + 30]
            ]
            parts.append(np.asarray(self._encode(np.stack(turned).astype(np.float32))))
        return np.concatenate(parts)


def check_count(count: int, source: NullMaps) -> None:
    """Raise ZooError for a number of draws that cannot be."""
    if count < 1:
        raise ZooError(f"--count {count}: expected 1 or more; without nulls there is no p-value")
    if source.count is not None and count > source.count:
        raise ZooError(
            f"--count {count}: {source.words} are {source.count} maps; give a smaller --count, or more maps"
        )
