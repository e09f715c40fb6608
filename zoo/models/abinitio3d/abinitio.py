"""The run as a sequence of steps: which phase follows which, and what a run has found."""

from __future__ import annotations

from collections.abc import MutableMapping

import numpy as np

from zoo.errors import ZooError
from zoo.models.abinitio3d.classes import lay_halves_together, merge, same_classes, unify
from zoo.models.abinitio3d.config import AGAIN_ROUNDS, SPLIT_UPDATES, SPLITS, Config
from zoo.models.abinitio3d.expectation import SMALL_POOL, Expectation
from zoo.models.abinitio3d.known_poses import KnownPoses, chance_in_words, is_at_chance
from zoo.models.abinitio3d.maximisation import Maximisation
from zoo.models.abinitio3d.results import Result, result_of
from zoo.models.abinitio3d.splitting import gain_of_members, has_few, spare_classes, split, worth_splitting
from zoo.models.abinitio3d.state import FULL_PASSES, Phase
from zoo.ops import fourier_volume as fv

_SUMS = (
    "sum_small",
    "sum_full",
    "sum_residual",
    "sum_power",
    "sum_count",
    "sum_evidence",
    "sum_corner",
    "sum_background",
    "sum_cross",
)
_SURVEY_BAND = 6
_SETTLED = 2  # full passes without more shells, and the halves have settled
_LEAST_GAIN = 0.005  # of the worst class's share, for another attempt


class AbInitio:
    """Expectation-maximisation of K maps from particle images, with class and pose of each from nothing.

    ``state`` maps names to arrays (`state_shapes`) and holds all that a run remembers; this object only acts
    on it. A step is one batch: ``add(e_step(batch, prepare()))``, then ``m_step()`` where ``ends_update``
    says so.

    Batches hold ``image (b, y, x[, 1])``, ``ctf (b, 9)``, ``pixel_size_angstrom (b,)``, ``index (b,)``
    (row of the tables) and ``weight (b,)``, 0 for padding. A full pass takes
    ``steps_per_pass`` steps from a multiple of them on and counts each particle once: a stream should hold
    batch s mod ``steps_per_pass`` of an epoch at step s; particles that a pass misses keep what they had.
    """

    def __init__(self, config: Config, state: MutableMapping):
        self.config, self.state = config, state
        self.known = config.poses == "known"
        self.expectation = KnownPoses(config) if self.known else Expectation(config)
        self.maximisation = Maximisation(config, self.expectation)
        self.map_plane = fv.HalfPlane(config.map_box, config.radius)
        self.lines: list[str] = []
        self._notices: list[str] = []

    # ---- the contract

    @property
    def phase(self) -> Phase:
        return Phase(int(self.state["phase"]))

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.phase == Phase.DONE

    @property
    def steps_per_pass(self) -> int:
        """Batches of an epoch."""
        return self.config.steps_per_pass

    def prepare(self) -> dict:
        """What the batches of an update share."""
        if self.known and int(self.state["step"]) == 0 and not self.state["table_given_frame"].any():
            raise ZooError("poses=known: no poses were given; train on records whose source file has them")
        return self.expectation.prepare(self.state)

    def e_step(self, batch, prepared) -> dict:
        """Sums of one batch, and rows of tables; nothing is changed."""
        return self.expectation.e_step(self.state, batch, prepared)

    def add(self, found: dict) -> None:
        """Add the sums of a step and write its rows into the tables."""
        for name, value in found.items():
            if name != "rows":
                self.state[name] = self.state[name] + value
        rows = found.get("rows", {})
        for name, value in rows.items():
            if name != "index":
                table = self.state[name].copy()
                table[rows["index"]] = value
                self.state[name] = table
        self.state["step"] = self.state["step"] + np.int32(1)
        self.state["batch"] = self.state["batch"] + np.int32(1)

    def ends_update(self, step: int) -> bool:
        """Whether the M-step follows step ``step`` (counted from 0): after a few batches, or a whole pass."""
        if self.finished:
            return False
        if self.phase in FULL_PASSES:
            return (step + 1) % self.steps_per_pass == 0
        return int(self.state["batch"]) >= self._batches()

    def m_step(self) -> None:
        """New maps from the sums, which are emptied, and what comes next."""
        state = self.state
        if int(state["waiting"]):
            state["waiting"] = np.int32(0)
        else:
            {
                Phase.MEASURE: self._measured,
                Phase.START: self._started,
                Phase.SURVEY: self._surveyed,
                Phase.POLISH: self._polished,
                Phase.SHARES: self._shared,
                Phase.RESEED: self._reseeded,
                Phase.JOINT: self._joined,
                Phase.FINISH: self._completed,
                Phase.AGAIN: self._completed,
            }[self.phase]()
            for name in _SUMS:
                if np.any(state[name]):
                    state[name] = np.zeros_like(state[name])
        state["batch"] = np.int32(0)

    def notices(self) -> list[str]:
        """What a person should be told since the last call."""
        told, self._notices = self._notices, []
        return told

    def figures(self) -> dict[str, float]:
        """The state in numbers."""
        state = self.state
        figures = {name: float(state[name]) for name in ("phase", "band", "attempt", "evidence")}
        for k in range(self.config.classes):
            figures[f"members_{k + 1}"] = float(state["members"][k])
            figures[f"share_{k + 1}"] = float(state["share"][k])
        return figures

    def results(self) -> Result:
        """What was found."""
        return result_of(self.config, self.state)

    # ---- which phase follows which

    def _batches(self):
        """Batches of an update of the present phase."""
        c, phase, update = self.config, self.phase, int(self.state["update"])
        if phase == Phase.MEASURE:
            return c.batches(c.measured_images)
        if phase == Phase.SHARES:
            return c.batches(c.classes * c.share_images)
        return c.batches(self._images(phase, update))

    def _images(self, phase, update):
        c, number = self.config, self.expectation.band_number(phase, update)
        if phase == Phase.RESEED:
            return c.classes * c.reseed_images[number]
        return (c.start_images if phase == Phase.START else c.joint_images)[number]

    def _enter(self, phase: Phase, **values):
        state = self.state
        state["phase"], state["update"] = np.int32(phase), np.int32(0)
        for name, value in values.items():
            state[name] = np.asarray(value, state[name].dtype)
        if phase in FULL_PASSES:
            state["waiting"] = np.int32(int(state["step"]) % self.steps_per_pass != 0)

    def _next_update(self, count: int) -> bool:
        """Go to the next update of a phase of ``count``; False where that was the last."""
        self.state["update"] = self.state["update"] + np.int32(1)
        return int(self.state["update"]) < count

    def _say(self, line: str, aloud: bool = False):
        self.lines.append(line)
        if aloud:
            self._notices.append(line)

    def _measured(self):
        self.maximisation.measure(self.state)
        excess = self.maximisation.excess(self.state, self.config.bands[-1])
        self._say(f"power over noise, shells 1 to {self.config.bands[-1]}: {excess:.3f}")
        if self.known:
            self.maximisation.consensus(self.state, self.config.bands[-1])
        self._enter(Phase.START)

    def _started(self):
        state, update = self.state, int(self.state["update"])
        number = self.expectation.band_number(Phase.START, update)
        band, usual = self.config.bands[number], self._images(Phase.START, update)
        if update == 0:
            state["small_sums"] = np.zeros_like(state["small_sums"])
        else:
            self.maximisation.noise(state, band)
            self._keep_evidence()
        self.maximisation.small_maps(state, band, usual, range(self.config.classes), first=update < 2)
        if self._next_update(sum(self.config.start_updates)):
            return
        self._say(f"start: evidence {float(state['evidence']):.1f} per image")
        if self.known:
            at_chance = is_at_chance(state["sum_chance"])
            self._say(chance_in_words(state["sum_chance"]), aloud=at_chance)
            if at_chance:
                self._enter(Phase.DONE, found=0)
                return
        elif float(state["evidence"]) < self.config.least_evidence:
            self._nothing(self.maximisation.excess(state, self.config.bands[-1]))
            return
        self._enter_survey(_SURVEY_BAND)

    def _keep_evidence(self):
        count = max(float(self.state["sum_count"].sum()), 1.0)
        self.state["evidence"] = np.float32(self.state["sum_evidence"] / count)

    def _nothing(self, excess):
        self._say(
            "no particle was found in the images, so there are no maps: log evidence for one is "
            f"{float(self.state['evidence']):.1f} per image, {self.config.least_evidence:g} expected, "
            f"and low resolution has {excess:.3f} of the noise's power",
            aloud=True,
        )
        self._enter(Phase.DONE, found=0)

    def _enter_survey(self, band):
        large = self.maximisation.enlarged(self.state["small_maps"])
        self._enter(Phase.SURVEY, half_maps=np.stack([large, large]), band=min(band, self.config.radius))

    def _surveyed(self):
        self._pass("survey")
        self._enter(Phase.POLISH)

    def _pass(self, name, apart=False):
        state = self.state
        state["pass"] = state["pass"] + np.int32(1)
        self.maximisation.full_maps(state, apart)
        self._say(
            f"{name}: members {state['members'].astype(int).tolist()}, explained "
            f"{_rounded(state['share'])}, next band {int(state['band'])}"
        )

    def _polished(self):
        state, c = self.state, self.config
        self._pass("polish")
        again = int(state["reseeded"]) > 0
        if self._next_update(2 if again else 1):
            return
        share = state["share"][~has_few(state, c)]
        if not again and share.max() <= c.start_share and int(state["attempt"]) + 1 < c.attempts:
            self.maximisation.restart_noise(state)
            self._enter(Phase.START, attempt=int(state["attempt"]) + 1)
            return
        whole = share.min() > c.good_share or len(share) == 1
        spare = spare_classes(state, c)
        parting = int(state["split"]) < SPLITS and worth_splitting(state, c, spare)
        # a class that others were started from may hold two states: parting it is surer than starting again
        if not whole and self._worth_reseeding(share.min()) and not (again and parting):
            state["least_share"] = np.float32(share.min())
            nobody = np.zeros(c.classes)
            self._enter(
                Phase.SHARES, reseeded=int(state["reseeded"]) + 1, placed=nobody, best_share=nobody - 1
            )
        elif parting:
            state["split"] = state["split"] + np.int32(1)
            self._split(spare)
        else:
            self._refine_apart()

    def _split(self, spare, only_poor=False):
        """Classes that can be spared part the images of others, and all compete once more."""
        for line in split(self.state, self.config, spare, only_poor):
            self._say(line)
        self._enter(Phase.JOINT)

    def _refine_apart(self):
        """One frame for all maps, and the half sets part."""
        state, c = self.state, self.config
        for k in np.flatnonzero((state["share"] <= c.good_share) & (state["members"] > SMALL_POOL)):
            self._say(
                f"class {k + 1} explains {100 * state['share'][k]:.0f} % of its images' signal: "
                "it may hold several states, or wrong poses",
                aloud=True,
            )
        for line in () if self.known else unify(state, c.box / c.map_box):
            self._say(line)
        self.maximisation.start_apart(state)
        self._enter(Phase.FINISH, band=c.start_shell, still=0)

    def _worth_reseeding(self, least):
        """Whether attempts are left, and the last, if there was one, made the worst map better or another
        settled map is there to start from."""
        done = int(self.state["reseeded"])
        better = least > float(self.state["least_share"]) + _LEAST_GAIN
        another = int((self.state["share"] > self.config.good_share).sum()) > done
        return done < self.config.attempts and (done == 0 or better or another)

    def _shared(self):
        """The class whose map explains most of its images' signal is settled; the others start from it.

        From the second attempt on all good maps are settled, and another one of them each time is what the
        others start from: poses found against one map may be trapped where those against another are not.
        """
        state, c = self.state, self.config
        share = self.maximisation.shares(state, c.bands[-1])
        share = np.where(state["placed"] == 0, share, -1)
        better = (share > state["best_share"]) & (state["placed"] == 0)
        for name, now in (("best_maps", "small_maps"), ("best_noise", "noise"), ("best_share", None)):
            new = share if now is None else state[now]
            pick = better.reshape(-1, *(1,) * (new.ndim - 1))
            state[name] = np.where(pick, new, state[name]).astype(np.float32)
        placed, best = state["placed"].copy(), state["best_share"]
        left = np.flatnonzero(placed == 0)
        first = len(left) == c.classes
        order = left[np.argsort(-best[left], kind="stable")]
        again = int(state["reseeded"]) - 1 if first else 0  # attempts before this one
        settled = [j for j in order if j == order[0] or (best[j] > c.good_share and (again or not first))]
        k = settled[again % len(settled)]
        placed[settled] = 1
        self._say(f"shares {_rounded(share)}, settled {[int(j) + 1 for j in settled]}")
        if placed.all():
            state["placed"] = placed
            state["small_maps"] = state["best_maps"]
            state["noise"] = np.broadcast_to(state["best_noise"].mean(0), state["noise"].shape).astype(
                np.float32
            )
            spare = has_few(state, c) & (state["best_share"] <= c.good_share)
            self._split(spare, only_poor=True)
            return
        maps = state["best_maps"].copy()
        maps[placed == 0] = maps[k]
        state["small_maps"] = maps
        self.maximisation.restart_noise(state, c.reseed_trust)
        # the others start again whatever their own maps explain: those may be trapped
        if first:
            state["best_share"] = np.where(placed == 1, best, -1).astype(np.float32)
        self._enter(Phase.RESEED, placed=placed, source=k)

    def _reseeded(self):
        state, update = self.state, int(self.state["update"])
        number = self.expectation.band_number(Phase.RESEED, update)
        usual = self._images(Phase.RESEED, update)
        groups = np.flatnonzero(state["placed"] == 0)
        band = self.config.bands[number]
        self.maximisation.noise(state, band, together=False)
        self.maximisation.small_maps(
            state, band, usual * len(groups) / self.config.classes, groups, update == 0
        )
        if not self._next_update(sum(self.config.reseed_updates)):
            self._enter(Phase.SHARES)

    def _joined(self):
        state, update = self.state, int(self.state["update"])
        number = self.expectation.band_number(Phase.JOINT, update)
        band, usual = self.config.bands[number], self._images(Phase.JOINT, update)
        self.maximisation.noise(state, band)
        self._keep_evidence()
        self.maximisation.small_maps(state, band, usual, range(self.config.classes), first=update == 0)
        updates = sum(self.config.joint_updates)
        if updates and state["twin"].any():
            updates += SPLIT_UPDATES
        if not self._next_update(updates):
            self._say(f"joint: evidence {float(state['evidence']):.1f} per image")
            self._enter_survey(_SURVEY_BAND + 1)

    def _worth_searching_again(self):
        """Whether so little is known of an image at the bands so far that its pose may not have been among
        those that were tried."""
        return not self.known and float(self.state["evidence"]) < self.config.search_again_below

    def _completed(self):
        state, c = self.state, self.config
        band = int(state["band"])
        again = self.phase == Phase.AGAIN
        self._pass("again" if again else "finish", apart=True)
        if not self.known:  # else both halves lie in the frame of the file
            for line in lay_halves_together(state, self.map_plane, self.expectation.full, c.box / c.map_box):
                self._say(line)
        still = int(state["still"]) + 1 if int(state["band"]) == band else 0
        state["still"] = np.int32(still)
        if self._next_update(AGAIN_ROUNDS if again else c.final_rounds) and (again or still < _SETTLED):
            return
        if not again and self._worth_searching_again():
            self._enter(Phase.AGAIN, still=0)
            return
        if state["active"].all():
            gain = gain_of_members(state, c)
            relative = state["cross"] / np.maximum(gain, 1e-6)[:, None]
            self._say(f"lost of the gain under another map: {_rounded(relative)}")
            target = same_classes(state["cross"], gain, state["members"], c.same_class)
            if (target != np.arange(c.classes)).any():
                merge(state, target)
                self._say(f"merged: class {(np.arange(c.classes) + 1).tolist()} into {(target + 1).tolist()}")
                return  # one more pass, with the classes that are left
        left = int(state["active"].sum())
        if left < c.classes:
            self._say(
                f"{left} states were found: of the {c.classes} classes asked for, {c.classes - left} "
                "had the same map as another, or hardly any images",
                aloud=True,
            )
        self._enter(Phase.DONE, found=1)


def _rounded(values) -> list:
    """Numbers for a line of the log."""
    return np.round(np.asarray(values, np.float64), 3).tolist()
