"""The E-steps: what one batch of images adds to the sums of an update, and to the table of particles."""

from __future__ import annotations

import numpy as np

from zoo.models.abinitio3d.again import VIEWS_STREAM, half_banks, searched_again
from zoo.models.abinitio3d.config import Config
from zoo.models.abinitio3d.observed import Candidates, Observed
from zoo.models.abinitio3d.state import FULL_PASSES, Phase
from zoo.ops import fourier_volume as fv

_RANDOM, _DRAWS, _CLASS = 0, 1, 3  # streams of random numbers
_KEPT = {Phase.SURVEY: 4, Phase.POLISH: 2, Phase.FINISH: 2, Phase.AGAIN: 2}
_LEAST_WEIGHT = 0.02
_INSERTED = 8
"""Shells beyond the band that full passes insert: those whose FSC may raise the band."""
_COARSE_BAND, _COARSE_STEPS, _HOPELESS = 10, 2, 30.0
"""Candidates that lose as much log likelihood at the coarse band are not refined at a finer one."""
_UNKNOWN = 50.0  # what an image is held to lose under a class that it was not tried in
SMALL_POOL = 200
"""A class with fewer images than this starts again with all images."""


class Expectation:
    """E-steps of all phases on a state (a mapping name → array) that they only read."""

    def __init__(self, config: Config):
        self.config = config
        self.plane = fv.HalfPlane(config.box, config.radius)
        self.small, self.full = fv.FourierGrid(config.small_box), fv.FourierGrid(config.map_box)
        unit = config.box / 32  # shifts are searched as finely as the bands can tell
        self.shifts = fv.shift_grid(unit, min(max(config.max_shift * config.box, unit), config.box / 8))
        self.largest_shift = max(2 * config.max_shift * config.box, 3 * unit)
        self.factor = (config.small_box / config.map_box) ** 2
        """Densities of a small map over those of a map with the same Fourier coefficients."""

    def inserted(self, band: int) -> int:
        """Last shell that a full pass at ``band`` inserts."""
        return min(self.config.radius, band + _INSERTED)

    # ---- what the batches of an update share

    def prepare(self, state) -> dict:
        """Grids and banks of slices of the present maps."""
        phase = Phase(int(state["phase"]))
        if int(state["waiting"]) or phase in (Phase.MEASURE, Phase.DONE):
            return {}
        if phase == Phase.START and int(state["update"]) == 0:
            return {}
        prepared: dict = {}
        if phase == Phase.AGAIN:
            prepared["half_grids"] = self._half_grids(state)
            if int(state["update"]) == 0:
                prepared["half_banks"] = half_banks(self, state, prepared["half_grids"])
            return prepared
        if phase != Phase.POLISH and not (phase == Phase.FINISH and int(state["update"]) > 0):
            number = self.band_number(phase, int(state["update"]))
            grids = np.stack([self.small.transform(volume) for volume in state["small_maps"]])
            rng = fv.generator(self.config.seed, VIEWS_STREAM, int(state["step"]) - int(state["batch"]))
            frames = fv.view_frames(self.config.views[number], self.config.turns[number], rng)
            prepared.update(grids=grids, frames=frames, band=self.config.bands[number], banks={})
            if phase in (Phase.RESEED, Phase.SHARES, Phase.FINISH):
                chosen = state["active"] == 1 if phase == Phase.FINISH else state["placed"] == 0
                for k in np.flatnonzero(chosen):
                    prepared["banks"][k] = fv.slice_bank(grids[[k]], frames, self.plane, prepared["band"])
            else:
                prepared["bank"] = fv.slice_bank(grids, frames, self.plane, prepared["band"])
        if phase in FULL_PASSES:
            prepared["half_grids"] = self._half_grids(state)
        return prepared

    def _half_grids(self, state):
        """Transforms of the maps of half set 1, then of half set 2, class by class."""
        halves = state["half_maps"]
        return np.stack([self.full.transform(volume) for volume in halves.reshape(-1, *halves.shape[2:])])

    def band_number(self, phase, update):
        """Which of the bands the update of a phase works on."""
        updates = {
            Phase.START: self.config.start_updates,
            Phase.RESEED: self.config.reseed_updates,
            Phase.JOINT: self.config.joint_updates,
        }.get(phase)
        if updates is None:
            return len(self.config.bands) - 1
        return int(min(np.searchsorted(np.cumsum(updates), update, side="right"), len(updates) - 1))

    # ---- one batch

    def observe(self, batch) -> Observed:
        """The batch on the half plane; examples of weight 0 (padding) are left out."""
        images, index = np.asarray(batch["image"]), np.asarray(batch["index"])
        images = images[..., 0] if images.ndim == 4 else images
        ctf, pixels = np.asarray(batch["ctf"]), np.asarray(batch["pixel_size_angstrom"])
        pixels = np.broadcast_to(pixels, index.shape)
        if "weight" in batch and (used := np.asarray(batch["weight"]) > 0) is not None:
            images, index, ctf, pixels = images[used], index[used], ctf[used], pixels[used]
        values, corner = self.plane.transform(images)
        known = np.isfinite(ctf).all(axis=1)
        transfer = np.ones(values.shape, np.float32)
        transfer[known] = self.plane.ctf(ctf[known], pixels[known])
        return Observed(values, transfer, corner, self.plane.background(images), index)

    def look(self, state, batch) -> Observed:
        """The batch as the present phase sees it: a full pass counts each particle once."""
        seen = self.observe(batch)
        seen = seen._replace(half=state["table_half"][seen.index])
        if Phase(int(state["phase"])) in FULL_PASSES:
            # where epochs follow each other without a gap, a batch may hold particles of two
            first = np.unique(seen.index, return_index=True)[1]
            new = np.sort(first[state["table_pass"][seen.index[first]] != int(state["pass"])])
            seen = seen.chosen(new)
        return seen

    def e_step(self, state, batch, prepared) -> dict:
        """Sums by name, and ``rows``: name of a table → values of the batch's particles (with ``index``).

        Sums that are 0 are left out, and nothing is returned while a full pass waits for its epoch.
        """
        phase = Phase(int(state["phase"]))
        if int(state["waiting"]) or phase == Phase.DONE:
            return {}
        seen = self.look(state, batch)
        if len(seen.index) == 0:
            return {}
        if phase == Phase.MEASURE:
            return self._measure(state, seen)
        if phase == Phase.START and int(state["update"]) == 0:
            return self._random(state, seen, prepared)
        if phase in (Phase.START, Phase.JOINT):
            return self._together(state, seen, prepared)
        if phase in (Phase.RESEED, Phase.SHARES):
            return self._apart(state, seen, prepared, phase)
        return self._finished(state, seen, prepared, self._candidates(state, seen, prepared, phase), phase)

    def _candidates(self, state, seen, prepared, phase):
        """Poses and classes that a full pass refines."""
        if phase == Phase.SURVEY:
            return self.surveyed(state, seen, np.arange(len(seen.index)), prepared["bank"])
        if prepared.get("banks"):
            return self._surveyed_apart(state, seen, prepared["banks"])
        if "half_banks" in prepared:
            return searched_again(self, state, seen, prepared["half_banks"])
        return self.known_poses(state, seen)

    def _zeros(self, *names):
        k, s = self.config.classes, self.config.radius + 1
        shapes = {
            "sum_small": (2, k, *(self.small.side,) * 3, 3),
            "sum_full": (2, k, *(self.full.side,) * 3, 3),
            "sum_residual": (k, s),
            "sum_power": (k, s),
            "sum_count": (k,),
            "sum_cross": (k, k),
        }
        return {name: np.zeros(shapes[name], np.float32) for name in names}

    def _measure(self, state, seen):
        sums = self._zeros("sum_power", "sum_count")
        power = np.abs(seen.values) ** 2
        sums["sum_power"][0] = self.plane.shell_means(power).sum(0)
        sums["sum_count"][0] = len(power)
        sums["sum_corner"] = np.float32(seen.corner.sum())
        return {**sums, "sum_background": np.float32(seen.background.sum())}

    def _random(self, state, seen, prepared):
        """Each image in a random pose of a random class."""
        seed, step = self.config.seed, int(state["step"]) - int(state["batch"])
        uniform = [fv.uniforms(seed, _RANDOM, 3 * step + axis, seen.index) for axis in range(3)]
        frames = fv.frames_of_uniforms(np.stack(uniform, axis=1))
        group = self._random_classes(step, seen)
        images, nothing = np.arange(len(group)), np.zeros((len(group), 2), np.float32)
        candidates = Candidates(images, group, frames, nothing)
        sums = self._zeros("sum_small")
        weights = np.ones(len(group), np.float32)
        self._insert(sums["sum_small"], candidates, weights, seen, self.config.bands[0] + 1)
        return sums

    def _random_classes(self, step, seen):
        uniform = fv.uniforms(self.config.seed, _CLASS, step, seen.index)
        return (uniform * self.config.classes).astype(np.int64)

    def _together(self, state, seen, prepared):
        """Class and pose of each image drawn from their joint posterior."""
        rows = np.arange(len(seen.index))
        sums = self._zeros("sum_small", "sum_residual", "sum_count")
        sums["sum_evidence"] = self._draw(
            state, seen, rows, prepared, prepared["bank"], prepared["grids"], state["noise"], sums
        )
        return sums

    def _apart(self, state, seen, prepared, phase):
        """Each class that starts again sees its own images alone."""
        own, members = state["table_class"][seen.index, 0], state["members"]
        names = ("sum_residual", "sum_count", "sum_power" if phase == Phase.SHARES else "sum_small")
        sums = self._zeros(*names)
        for k, bank in prepared["banks"].items():
            rows = np.flatnonzero(own == k) if members[k] >= SMALL_POOL else np.arange(len(own))
            if len(rows) == 0:
                continue
            if phase == Phase.RESEED:
                grids, noise = prepared["grids"][[k]], state["noise"][[k]]
                self._draw(state, seen, rows, prepared, bank, grids, noise, sums, group=k)
            else:
                self._explained(state, seen, rows, prepared, bank, k, sums)
        return sums

    def _search(self, state, seen, rows, bank, noise, draws):
        """Posterior of some rows of a batch."""
        weights = 1 / noise[self.plane.shell[1 : 1 + len(bank.points)]]
        uniform = fv.uniforms(self.config.seed, _DRAWS, int(state["step"]), seen.index[rows])
        return fv.search(
            bank, seen.values[rows], seen.ctf[rows], weights, self.shifts, self.config.box, draws, uniform
        )

    def _draw(self, state, seen, rows, prepared, bank, grids, noise, sums, group=None):
        """Draw poses and insert them; the residual of the best teaches the noise. Returns the evidence."""
        found = self._search(state, seen, rows, bank, noise[0], self.config.draws)
        which, frames, shifts = fv.decode(bank, self.shifts, found.best)
        best = Candidates(rows, which, frames, shifts)
        residual = self._refined(grids, which, best, seen, noise, prepared["band"], 0).residual
        which, frames, shifts = fv.decode(bank, self.shifts, found.drawn.ravel())
        drawn = Candidates(np.repeat(rows, self.config.draws), which, frames, shifts)
        if group is None:
            drawn = drawn._replace(group=self._parted(state, seen, drawn))
        else:
            best, drawn = best._replace(group=best.group + group), drawn._replace(group=drawn.group + group)
        np.add.at(sums["sum_residual"], best.group, residual)
        np.add.at(sums["sum_count"], best.group, 1)
        weights = np.full(len(drawn.group), 1 / self.config.draws, np.float32)
        self._insert(sums["sum_small"], drawn, weights, seen, prepared["band"] + 1)
        return np.float32(found.evidence.sum())

    def _parted(self, state, seen, drawn):
        """Classes of drawn poses; in the first update after a class was split, each of its images goes to one
        of the parts at random: their maps are still the same."""
        group = drawn.group
        if int(state["phase"]) != Phase.JOINT or int(state["update"]) > 0 or not state["twin"].any():
            return group
        step = int(state["step"]) - int(state["batch"])
        first = (fv.uniforms(self.config.seed, _CLASS, step, seen.index) < 0.5)[drawn.image]
        for k in np.flatnonzero(state["twin"]):
            other = state["twin"][k] - 1
            group = np.where(np.isin(group, (k, other)), np.where(first, k, other), group)
        return group

    def _explained(self, state, seen, rows, prepared, bank, k, sums):
        """Power of images and of what one map leaves of them, poses searched and refined."""
        noise, grids, band = state["noise"][[k]], prepared["grids"][[k]], prepared["band"]
        found = self._search(state, seen, rows, bank, noise[0], 1)
        which, frames, shifts = fv.decode(bank, self.shifts, found.best)
        best = Candidates(rows, which, frames, shifts)
        refined = self._refined(grids, which, best, seen, noise, band, 2)
        sums["sum_residual"][k] += refined.residual.sum(0)
        sums["sum_power"][k] += self._power(seen.values[rows]).sum(0)
        sums["sum_count"][k] += len(rows)

    def _surveyed_apart(self, state, seen, banks):
        """The same of each class for its own images: their old poses are forgotten, not their classes."""
        own, parts = state["table_class"][seen.index, 0], []
        for k, bank in banks.items():
            if len(rows := np.flatnonzero(own == k)):
                found = self.surveyed(state, seen, rows, bank)
                parts.append(found._replace(group=found.group + k))
        return Candidates(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def surveyed(self, state, seen, rows, bank, draws=None):
        """Poses of ``rows`` drawn from the posterior over all maps of a bank, and the best."""
        found = self._search(state, seen, rows, bank, state["noise"][0], draws or self.config.survey_draws)
        numbers = np.concatenate([found.best[:, None], found.drawn], axis=1)
        image = np.repeat(rows, numbers.shape[1])
        # a pose drawn twice is one candidate
        image, number = np.unique(np.stack([image, numbers.ravel()]), axis=1)
        return Candidates(image, *fv.decode(bank, self.shifts, number))

    def known_poses(self, state, seen):
        """Poses of the table, and the best of them in all other classes too."""
        group, frames = state["table_class"][seen.index], state["table_frame"][seen.index]
        shifts = state["table_shift"][seen.index]
        image = np.arange(len(seen.index))
        parts = [Candidates(image, group[:, slot], frames[:, slot], shifts[:, slot]) for slot in (0, 1)]
        active = np.flatnonzero(state["active"])
        place = np.searchsorted(active, group[:, 0])
        for other in range(1, len(active)):
            k = active[(place + other) % len(active)]
            parts.append(Candidates(image, k, frames[:, 0], shifts[:, 0]))
        return Candidates(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def _finished(self, state, seen, prepared, candidates, phase):
        """Refine candidates against the maps of their image's own half, weigh and insert the best of them."""
        k, band, grids = self.config.classes, int(state["band"]), prepared["half_grids"]
        noise = np.concatenate([state["noise"]] * 2)
        coarse = np.full((len(seen.index), k), np.inf)
        if band > _COARSE_BAND:
            candidates = self._promising(candidates, seen, grids, noise, coarse)
        which = seen.half[candidates.image] * k + candidates.group
        refined = self._refined(grids, which, candidates, seen, noise, band, self.config.refine_steps)
        candidates = candidates._replace(frames=refined.frames, shifts=refined.shifts)
        order = np.lexsort((refined.loss, candidates.image))
        candidates, loss = candidates.chosen(order), refined.loss[order]
        first = np.flatnonzero(np.diff(candidates.image, prepend=-1))
        counts = np.diff(np.append(first, len(loss)))
        rank = np.arange(len(loss)) - np.repeat(first, counts)
        least = np.repeat(loss[first], counts)
        weights = np.exp(-np.minimum(loss - least, 50))
        probability = np.zeros((len(seen.index), k))
        np.add.at(probability, (candidates.image, candidates.group), weights)
        probability /= probability.sum(1, keepdims=True)
        sums = self._zeros("sum_full", "sum_residual", "sum_power", "sum_count", "sum_cross")
        weights = np.where((rank < _KEPT[phase]) & (weights > _LEAST_WEIGHT), weights, 0)
        weights /= np.repeat(np.add.reduceat(weights, first), counts)
        self._insert(sums["sum_full"], candidates, weights.astype(np.float32), seen, self.inserted(band))
        best = candidates.chosen(first)
        which = seen.half * k + best.group
        residual = self._refined(grids, which, best, seen, noise, self.config.radius, 0).residual
        power = self._power(seen.values)
        np.add.at(sums["sum_residual"], best.group, residual)
        np.add.at(sums["sum_power"], best.group, power)
        np.add.at(sums["sum_count"], best.group, 1)
        gain = (power[:, 1 : band + 1] / state["noise"][0, 1 : band + 1]).sum(1) - loss[first]
        lost = self._lost_outside(seen, grids, noise, band, candidates, best.group)
        # a class that was dropped early lost at least what it had lost by then
        lost = np.where(np.isfinite(lost), lost, np.where(np.isfinite(coarse), coarse, _UNKNOWN))
        np.add.at(sums["sum_cross"], best.group, lost)
        sums["sum_evidence"] = np.float32(gain.sum())
        second = candidates.chosen(np.where(counts > 1, first + 1, first))
        rows = {
            "index": seen.index,
            "table_pass": np.full(len(seen.index), int(state["pass"])),
            "table_class": np.stack([best.group, second.group], axis=1),
            "table_frame": np.stack([best.frames, second.frames], axis=1),
            "table_shift": np.stack([best.shifts, second.shifts], axis=1),
            "table_probability": probability,
            "table_log_likelihood": gain,
        }
        return {**sums, "rows": rows}

    def _lost_outside(self, seen, grids, noise, band, candidates, own):
        """What images lose under each class beside their own ``(b, K)``, inf where not tried; under
        the maps of the half set that they are not in: in one of few images every image agrees with itself.

        ``candidates`` are refined, and of an image the best comes first.
        """
        k = self.config.classes
        tried = candidates.image * k + candidates.group
        best = candidates.chosen(np.unique(tried, return_index=True)[1])
        which = (1 - seen.half[best.image]) * k + best.group
        loss = np.full((len(seen.index), k), np.inf)
        loss[best.image, best.group] = self._refined(grids, which, best, seen, noise, band, 0).loss
        return loss - loss[np.arange(len(loss)), own][:, None]

    def _promising(self, candidates, seen, grids, noise, lost):
        """Candidates refined at a coarse band, without those that it rules out.

        Fills ``lost (b, K)``: what the best candidate of a class loses at that band.
        """
        which = seen.half[candidates.image] * self.config.classes + candidates.group
        refined = self._refined(grids, which, candidates, seen, noise, _COARSE_BAND, _COARSE_STEPS)
        least = np.full(len(lost), np.inf)
        np.minimum.at(least, candidates.image, refined.loss)
        loss = refined.loss - least[candidates.image]
        np.minimum.at(lost, (candidates.image, candidates.group), loss)
        moved = candidates._replace(frames=refined.frames, shifts=refined.shifts)
        return moved.chosen(loss < _HOPELESS)

    # ---- pieces

    def _refined(self, grids, which, candidates, seen, noise, band, steps):
        return fv.refine_poses(
            grids,
            which,
            candidates.image,
            candidates.frames,
            candidates.shifts,
            seen.values,
            seen.ctf,
            self.plane,
            1 / noise.astype(np.float64),
            band,
            steps,
            self.largest_shift,
        )

    def _insert(self, sums, candidates, weights, seen, band):
        """Into the grid of each candidate's half and class; ``sums (2, K, ...)``."""
        group = seen.half[candidates.image] * self.config.classes + candidates.group
        points = self.plane.points[: self.plane.up_to(min(band, self.config.radius))]
        fv.insert(
            sums.reshape(-1, *sums.shape[2:]),
            group,
            candidates.image,
            candidates.frames,
            candidates.shifts,
            weights,
            seen.values,
            seen.ctf,
            points,
            self.config.box,
        )

    def _power(self, values):
        """Summed power of each shell ``(b, S)``."""
        return self.plane.shell_means(np.abs(values) ** 2) * self.plane.per_shell
