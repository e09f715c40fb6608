"""The E-steps where poses are known: classes alone are open, and what a pose may move within a range."""

from __future__ import annotations

import numpy as np

from zoo.models.abinitio3d.config import Config
from zoo.models.abinitio3d.expectation import Expectation
from zoo.models.abinitio3d.observed import Candidates, Observed
from zoo.models.abinitio3d.state import FULL_PASSES, Phase
from zoo.ops import fourier_volume as fv

_NEAR = 5  # stream of random numbers
_LEAST_CHANCE = 4.0  # standard errors by which known poses are better than those of other particles
_ENOUGH = 100  # images, to tell whether their poses are at chance


class KnownPoses(Expectation):
    """`Expectation` with the poses of ``table_given_frame`` and ``table_given_shift``.

    Where those of the other draw class and pose of an image, here each class has its share of the image at
    the one pose. Full passes refine it, if `Config.pose_range_deg` or ``pose_range_angstrom`` let them, from
    the pose given and some about it; what leaves the range is brought back to its edge.
    """

    def __init__(self, config: Config):
        super().__init__(config)
        self.range_rad = np.radians(config.pose_range_deg)
        self.range_px = config.pose_range_angstrom / config.voxel_size_angstrom
        self.fixed = not (self.range_rad or self.range_px)
        self.largest_shift = np.inf  # the range bounds it

    def prepare(self, state) -> dict:
        """Grids of the present maps; nothing is searched."""
        phase = Phase(int(state["phase"]))
        if int(state["waiting"]) or phase in (Phase.MEASURE, Phase.DONE):
            return {}
        if phase in FULL_PASSES:
            return {"half_grids": self._half_grids(state)}
        number = self.band_number(phase, int(state["update"]))
        open_classes = np.flatnonzero(state["placed"] == 0)
        asked = min(self.config.count, self.config.measured_images)
        prepared = {}
        if phase == Phase.START and state["sum_chance"][0] < asked:
            prepared["consensus"] = np.stack([self.full.transform(half[0]) for half in state["half_maps"]])
        return {
            **prepared,
            "grids": np.stack([self.small.transform(volume) for volume in state["small_maps"]]),
            "band": self.config.bands[number],
            "bank": None,
            "banks": dict.fromkeys(open_classes if phase in (Phase.RESEED, Phase.SHARES) else ()),
        }

    def look(self, state, batch) -> Observed:
        """The batch with poses as given."""
        seen = super().look(state, batch)
        frames, shifts = (state[f"table_given_{name}"][seen.index] for name in ("frame", "shift"))
        return seen._replace(frames=frames, shifts=shifts)

    def _measure(self, state, seen):
        """All images in one map of each half set, too."""
        sums = {**super()._measure(state, seen), **self._zeros("sum_small")}
        self._insert(sums["sum_small"], *self._one_class(seen), seen, self.config.bands[-1] + 1)
        return sums

    def _random(self, state, seen, prepared):
        """Each image in a random class."""
        sums = self._zeros("sum_small")
        candidates, weights = self._one_class(seen)
        step = int(state["step"]) - int(state["batch"])
        candidates = candidates._replace(group=self._random_classes(step, seen))
        self._insert(sums["sum_small"], candidates, weights, seen, self.config.bands[0] + 1)
        return {**sums, **self._chance(state, seen, prepared)}

    def _together(self, state, seen, prepared):
        return {**super()._together(state, seen, prepared), **self._chance(state, seen, prepared)}

    def _chance(self, state, seen, prepared):
        """How much better than another image's pose does its own explain an image, under the one map of the
        half set that it is not in? Number, sum and sum of squares."""
        if "consensus" not in prepared:
            return {}
        candidates, _ = self._one_class(seen)
        noise = np.stack([state["signal_power"]] * 2)
        losses = []
        for frames in (seen.frames, np.roll(seen.frames, 1, axis=0)):
            tried = candidates._replace(frames=frames)
            found = self._refined(
                prepared["consensus"], 1 - seen.half, tried, seen, noise, self.config.bands[-1], 0
            )
            losses.append(found.loss)
        better = losses[1] - losses[0]
        return {"sum_chance": np.array([len(better), better.sum(), (better**2).sum()], np.float32)}

    def _one_class(self, seen):
        count = len(seen.index)
        nobody = np.zeros(count, np.int64)
        return Candidates(np.arange(count), nobody, seen.frames, seen.shifts), np.ones(count, np.float32)

    def _draw(self, state, seen, rows, prepared, bank, grids, noise, sums, group=None):
        """Insert images into all maps by their posterior; the residual of the best teaches the noise."""
        maps, band = len(grids), prepared["band"]
        image, which = np.repeat(rows, maps), np.tile(np.arange(maps), len(rows))
        every = Candidates(image, which, seen.frames[image], seen.shifts[image])
        found = self._refined(grids, which, every, seen, noise, band, 0)
        loss = found.loss.reshape(-1, maps)
        weights = np.exp(loss.min(1, keepdims=True) - loss)
        gain = (self._power(seen.values[rows])[:, 1 : band + 1] / noise[0, 1 : band + 1]).sum(1)
        evidence = gain - loss.min(1) + np.log(weights.mean(1))
        weights /= weights.sum(1, keepdims=True)
        best = loss.argmin(1)
        own = best if group is None else np.full(len(rows), group)
        residual = found.residual.reshape(len(rows), maps, -1)[np.arange(len(rows)), best]
        np.add.at(sums["sum_residual"], own, residual)
        np.add.at(sums["sum_count"], own, 1)
        every = every._replace(
            group=self._parted(state, seen, every) if group is None else every.group + group
        )
        self._insert(sums["sum_small"], every, weights.ravel().astype(np.float32), seen, band + 1)
        return np.float32(evidence.sum())

    def _explained(self, state, seen, rows, prepared, bank, k, sums):
        """Power of images and of what one map leaves of them at their poses."""
        here = Candidates(rows, np.zeros(len(rows), np.int64), seen.frames[rows], seen.shifts[rows])
        found = self._refined(
            prepared["grids"][[k]], here.group, here, seen, state["noise"][[k]], prepared["band"], 0
        )
        sums["sum_residual"][k] += found.residual.sum(0)
        sums["sum_power"][k] += self._power(seen.values[rows]).sum(0)
        sums["sum_count"][k] += len(rows)

    def _candidates(self, state, seen, prepared, phase):
        """Every class at the pose: that given, and if it may move some about it; later the one found."""
        count, active = len(seen.index), np.flatnonzero(state["active"])
        first = phase == Phase.SURVEY or (phase == Phase.FINISH and int(state["update"]) == 0)
        frames, shifts = seen.frames[:, None], seen.shifts[:, None]
        if not (first or self.fixed):
            frames, shifts = (state[f"table_{name}"][seen.index, :1] for name in ("frame", "shift"))
        elif not self.fixed:
            near = [self._near(seen, draw) for draw in range(self.config.survey_draws)]
            frames = np.concatenate([frames, *(frame[:, None] for frame, _ in near)], axis=1)
            shifts = np.concatenate([shifts, *(shift[:, None] for _, shift in near)], axis=1)
        tries = frames.shape[1]
        image = np.repeat(np.arange(count), tries * len(active))
        group = np.tile(np.repeat(active, tries), count)
        place = np.tile(np.arange(tries), count * len(active))
        return Candidates(image, group, frames[image, place], shifts[image, place])

    def _near(self, seen, draw):
        """Poses drawn from the range about those given: frames ``(b, 2, 3)``, shifts ``(b, 2)``."""
        numbers = range(6 * draw, 6 * draw + 6)
        uniform = [fv.uniforms(self.config.seed, _NEAR, number, seen.index) for number in numbers]
        return fv.poses_near(
            seen.frames, seen.shifts, np.stack(uniform, axis=1), self.range_rad, self.range_px
        )

    def _refined(self, grids, which, candidates, seen, noise, band, steps):
        if self.fixed or steps == 0:
            return super()._refined(grids, which, candidates, seen, noise, band, 0)
        found = super()._refined(grids, which, candidates, seen, noise, band, steps)
        given = seen.frames[candidates.image], seen.shifts[candidates.image]
        frames, shifts, beyond = fv.poses_within(
            found.frames, found.shifts, *given, self.range_rad, self.range_px
        )
        rows = np.flatnonzero(beyond)
        if len(rows):
            at = Candidates(candidates.image[rows], candidates.group[rows], frames[rows], shifts[rows])
            again = super()._refined(grids, which[rows], at, seen, noise, band, 0)
            for name in ("frames", "shifts", "loss", "residual"):
                getattr(found, name)[rows] = getattr(again, name)
        return found


def chance_level(sums: np.ndarray) -> float | None:
    """Standard errors by which poses are better than others', from their number, sum and sum of squares; None
    for too few to tell."""
    count, total, squares = (float(value) for value in sums)
    if count < _ENOUGH:
        return None
    mean = total / count
    variance = max(squares / count - mean**2, 0.0) * count / (count - 1)
    return mean / np.sqrt(variance / count) if variance > 0 else 0.0


def is_at_chance(sums: np.ndarray) -> bool:
    """Whether poses are no better than those of other particles; False for too few to tell."""
    chance = chance_level(sums)
    return chance is not None and chance < _LEAST_CHANCE


def chance_in_words(sums: np.ndarray) -> str:
    """How good known poses are, as one line."""
    chance = chance_level(sums)
    if chance is None:
        return "too few particles to tell whether the poses of the file are at chance"
    words = f"{chance:.1f} standard errors better than those of other particles"
    if not is_at_chance(sums):
        return f"the poses of the file explain the images {words}"
    return (
        f"the poses of the file are at chance, so there are no maps: they explain the images {words}, "
        f"{_LEAST_CHANCE:g} expected; are they of these images, and is there a particle in them?"
    )
