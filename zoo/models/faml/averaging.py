"""Subtomogram averaging and classification as a Keras model: base of ``faml`` and ``fa``."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from zoo.errors import ZooError
from zoo.models.base import EpochModel, StartsFromMaps
from zoo.models.endpoint import Endpoint, Input
from zoo.models.faml import config as settings
from zoo.models.faml import figures
from zoo.models.faml.found import results_of
from zoo.models.faml.half_sets import HalfSets, are_enough, half_sets_of
from zoo.models.faml.posing import Posing
from zoo.models.faml.update import AverageUpdate
from zoo.models.given_poses import ANGLES, ORIGINS, require_poses
from zoo.models.preview import Curve, Maps
from zoo.ops import fourier
from zoo.ops.matching import expectation, maximisation, view_coverage, voronoi
from zoo.ops.matching.half_space import HalfBall
from zoo.ops.matching.match_settings import MatchSettings
from zoo.ops.rotations import euler_to_matrix

_WORTH_COMPILING = 500  # records
_POSE = (*ANGLES, *ORIGINS, "shift_z_angstrom")


class AveragingModel(Posing, EpochModel, StartsFromMaps):
    """EM over classes and poses (Zhao et al., FAML): ``e_step`` sums over batches, ``m_step`` ends an epoch.

    All state are weights that no gradient moves: averages on a half ball of frequencies (of independent half
    sets each one's ``references`` too), shares α, noise σ² per shell, spread of shifts ζ, and the sums of the
    running epoch for each half set. Epoch 0 only starts: every subtomogram is turned at random and put into
    an even split of classes. A batch is a dict of ``volume (b, n, n, n, 1)``, ``wedge (b, n, n, n)``,
    ``weight (b,)`` and ``index (b,)``; ``random_subset (b,)`` where half sets are known, else ``uid (b,)``
    decides them.
    """

    starts_apart = True
    no_warm_start = "starts from maps; give --set references=A.mrc,B.mrc"
    single_best = False

    def __init__(self, voxel_size_angstrom=10.0, seed=0, name=None, **config):
        super().__init__(name=name, seed=seed)
        config["voxel_size_angstrom"] = voxel_size_angstrom
        self.config = settings.FamlConfig.of(config, type(self).__name__).resolved()
        self.box, self.classes = self.config["box"], self.config["classes"]
        self.voxel_size_angstrom = self.config["voxel_size_angstrom"]
        self.ball = HalfBall(self.box, self.config["max_radius"])
        self.update = AverageUpdate(self.ball, self.config)
        self.half_sets = HalfSets(self.ball, self.config)
        self.match_settings = MatchSettings(
            box=self.box,
            mode=self.config["mode"],
            candidates=self.config["candidates"],
            max_shift_voxels=self.config["max_shift_voxels"],
            step_deg=self.config["step_deg"],
            refine_radius=min(self.config["max_radius"], 12),
        )
        radius = np.sqrt((fourier.frequency_grid_3d(self.box).astype("float64") ** 2).sum(-1)) * self.box
        self._shell_volume = np.minimum(np.rint(radius), self.ball.radius).astype("int32")
        self.given_maps = {name: self.config[name] for name in ("mask", "references")}
        self.points = voronoi.monte_carlo_points()
        self.refilled = None  # (empty, largest) class of the last update
        self._add_state()
        self.built = True

    def _add_state(self):
        k, j, s = self.classes, len(self.ball), self.ball.shells

        def state(name, shape, initializer="zeros", dtype="float32"):
            return self.add_weight(
                name=name, shape=shape, initializer=initializer, dtype=dtype, trainable=False
            )

        self.iteration = state("iteration", (), dtype="int32")
        self.started = state("has_references", (), dtype="int32")
        self.average = [state(f"average_{part}", (k, j)) for part in ("re", "im")]
        self.halves = [state(f"half_{part}", (2, k, j)) for part in ("re", "im")]
        if self.half_sets.independent:
            self.references = [state(f"reference_{part}", (2, k, j)) for part in ("re", "im")]
        self.density = state("density", (k, j), "ones")
        self.alpha = state("alpha", (k,), keras.initializers.Constant(1.0 / k))
        self.sigma2 = state("sigma2", (s,), "ones")
        self.zeta = state("zeta", (), keras.initializers.Constant(float(self.box)))
        self.fsc = state("fsc", (k, s))
        self.log_likelihood = state("log_likelihood", ())
        self.mask = state("mask", (self.box,) * 3, "ones")
        shapes = {
            "re": (2, k, j),
            "im": (2, k, j),
            "weights": (2, k, j),
            "transfers": (2, k, s),
            "members": (2, k),
            "residuals": (s,),
            "seen": (s,),
            "squares": (),
            "likelihood": (),
            "count": (),
        }
        self.sums = {name: state(f"sum_{name}", shape) for name, shape in shapes.items()}

    @classmethod
    def settled(cls, info, values):
        """``half_sets=auto`` as the number of subtomograms decides it."""
        if info is not None and values["half_sets"] == "auto":
            enough = are_enough(info.count, values["classes"])
            return {**values, "half_sets": "independent" if enough else "shared"}
        return values

    @classmethod
    def check_data(cls, info, values):
        """No more classes than subtomograms, poses where they are asked for, two half sets."""
        if info is not None and values["classes"] > info.count:
            raise ZooError(
                f"{info.path}: holds {info.count} subtomograms, too few for classes={values['classes']}; "
                f"set classes to {info.count} or less"
            )
        if info is not None and values.get("start") == "poses":
            columns = info.load_table()
            poses = np.stack([columns[name] for name in _POSE], axis=1)
            require_poses(info, poses, "start=poses")
        if info is not None and values["regularise"] != "none":
            _check_half_sets(info, values)

    def set_mask(self, mask):
        """Multiply every new average with ``mask (n, n, n)``."""
        self.mask.assign(mask)

    def set_references(self, maps):
        """Start from ``maps (k, n, n, n)`` instead of subtomograms turned at random.

        Independent half sets start from them without what lies beyond ``common_radius``.
        """
        parts = self.ball.of_maps(maps)
        for variable, value in zip(self.average, parts, strict=True):
            variable.assign(value)
        if self.half_sets.independent:
            for variable, value in zip(self.references, self.half_sets.low_passed(parts), strict=True):
                variable.assign(ops.stack([value, value]))
        self.started.assign(1)

    def get_config(self):
        """Everything ``__init__`` takes."""
        return {**self.config, "seed": self.seed}

    def compiles_expectation(self, examples):
        """XLA takes half a minute to compile a step and then does it in two thirds of the time."""
        return {"on": True, "off": False}.get(self.config["jit_compile"], examples >= _WORTH_COMPILING)

    def average_maps(self):
        """Averages as real maps ``(k, n, n, n)``."""
        return self.ball.to_maps(*(ops.convert_to_tensor(part) for part in self.average))

    def half_maps(self):
        """Averages of the two half sets ``(2, k, n, n, n)``."""
        n, j = self.box, len(self.ball)
        parts = [ops.reshape(ops.convert_to_tensor(part), (-1, j)) for part in self.halves]
        return ops.reshape(self.ball.to_maps(*parts), (2, self.classes, n, n, n))

    def e_step(self, batch, prepared):
        """The sums of one batch, by the names of ``self.sums``; nothing is assigned."""
        near = self._near(batch)
        half = self.half_of(batch) if self.half_sets.independent else None
        found = self.poses(batch["volume"], batch["wedge"], prepared, learning=True, near=near, half=half)
        weights = found["weights"] * batch["weight"][:, None, None]
        residuals = ops.sum(found["residuals"] * weights[..., None], axis=(1, 2))
        return self._sums(batch, found, weights, residuals, found["log_likelihood"])

    def start_step(self, batch):
        """The sums of one batch of epoch 0: each subtomogram in one class, turned at random or as stated."""
        found = self._observation(batch["volume"], batch["wedge"])
        index = ops.cast(batch["index"], "int32")
        shape = (ops.shape(index)[0], self.classes, 1)
        if self.config["start"] == "poses":
            rotations = euler_to_matrix(batch["euler_deg"])
            shifts = -batch["shift_angstrom"] / self.voxel_size_angstrom
        else:
            turn = ops.mod(index + 7919 * self.seed, len(self.points[0]))
            rotations = ops.take(ops.convert_to_tensor(self.points[0]), turn, axis=0)
            shifts = ops.zeros((shape[0], 3))
        found["rotations"] = ops.broadcast_to(rotations[:, None, None], (*shape, 3, 3))
        found["shifts"] = ops.broadcast_to(shifts[:, None, None], (*shape, 3))
        classes = ops.one_hot(ops.mod(index, self.classes), self.classes, dtype="float32")
        weights = (classes * batch["weight"][:, None])[..., None]
        x_re, x_im = found["ball"]
        power = (x_re**2 + x_im**2) * found["seen"] * batch["weight"][:, None]
        return self._sums(batch, found, weights, power, ops.zeros_like(batch["weight"]))

    def half_of(self, batch):
        """Half set of each subtomogram, 1 or 2, ``(b,)``: ``random_subset`` where the batch knows it.

        Else, of independent half sets, by seed and ``uid``; of others every second of ``index``, so that both
        begin with all classes.
        """
        if self.half_sets.independent and "uid" in batch:
            half = half_sets_of(batch["uid"], self.seed)
        else:
            half = ops.mod(ops.cast(batch["index"], "int32") // self.classes, 2) + 1
        if "random_subset" not in batch:
            return half
        stated = ops.cast(batch["random_subset"], "int32")
        return ops.where((stated == 1) | (stated == 2), stated, half)

    def _sums(self, batch, found, weights, residuals, likelihood):
        classes = self.classes
        count = weights.shape[-1] * classes
        rotations = ops.reshape(found["rotations"], (-1, count, 3, 3))
        shifts = ops.reshape(found["shifts"], (-1, count, 3))
        flat = ops.reshape(weights, (-1, count))
        parts = expectation.back_rotated(self.ball, found["ft"], found["wedges"], rotations, shifts, flat)
        half = ops.one_hot(self.half_of(batch) - 1, 2, dtype="float32")
        share = half[:, :, None, None] * weights[:, None]  # (b, 2, k, c)
        share = ops.reshape(share, (-1, 2, classes, count // classes))
        back = {}
        for name, part in zip(("re", "im", "weights"), parts, strict=True):
            part = ops.reshape(part, (-1, classes, count // classes, len(self.ball)))
            back[name] = ops.einsum("bhkc,bkcj->hkj", share, part)
        weight = batch["weight"]
        members = ops.sum(weights, axis=2)
        return {
            **back,
            "transfers": ops.einsum(
                "bh,bk,bs->hks", half, members, ops.matmul(found["wedge"] ** 2, self.ball.shell_table)
            ),
            "members": ops.einsum("bh,bk->hk", half, members),
            "residuals": ops.sum(ops.matmul(residuals, self.ball.shell_table), axis=0),
            "seen": ops.sum(ops.matmul(found["seen"] * weight[:, None], self.ball.shell_table), axis=0),
            "squares": ops.sum(weights * ops.sum(found["shifts"] ** 2, axis=-1)),
            "likelihood": ops.sum(likelihood * weight),
            "count": ops.sum(weight),
        }

    def m_step(self):
        """New averages, α, σ², ζ and FSC from the epoch's sums, which are emptied (equations 10–13)."""
        total = {name: ops.convert_to_tensor(variable) for name, variable in self.sums.items()}
        epoch = int(ops.convert_to_numpy(self.iteration))
        first, per_shell = epoch == 0, self.ball.per_shell
        members = ops.sum(total["members"], axis=0)
        self._update_averages(total, epoch)
        self.sigma2.assign(
            maximisation.noise_variance(
                total["residuals"],
                total["seen"],
                total["count"],
                ops.convert_to_tensor(self.sigma2) * (0.0 if first else 1.0),
                per_shell if not first else total["seen"] / ops.maximum(total["count"], 1.0),
                self.config["noise"] == "white",
            )
        )
        if not first:
            if self.refilled:
                members = maximisation.split_members(members, *self.refilled)
            self.alpha.assign(maximisation.class_shares(members))
            self.zeta.assign(maximisation.shift_spread(total["squares"], total["count"]))
        self.log_likelihood.assign(total["likelihood"] / ops.maximum(total["count"], 1.0))
        self.iteration.assign(self.iteration + 1)
        for variable in self.sums.values():
            variable.assign(ops.zeros_like(variable))

    def _update_averages(self, total, epoch):
        """Averages, those of the half sets, and their FSC, from all sums of an epoch."""
        first, table = epoch == 0, self.ball.shell_table
        mask = ops.convert_to_tensor(self.mask)
        total = {**total, **self.update.completed(total)}
        halves = self.update.halves(total, mask)
        apart = self.half_sets.are_apart(epoch)
        if apart and not first:
            fsc = maximisation.shell_correlation(*halves, table)
            total = self.half_sets.in_one_frame(total, halves, fsc)
            halves = self.update.halves(total, mask)
        self.fsc.assign(maximisation.shell_correlation(*halves, table))
        for variable, *parts in zip(self.halves, *halves, strict=True):
            variable.assign(ops.stack(parts))
        self.refilled = None
        if first and int(ops.convert_to_numpy(self.started)):
            return
        names = ("re", "im", "weights")
        if apart:
            self._update_references(total, epoch, mask)
        else:
            self.refilled = self.update.lost_class(ops.sum(total["members"], axis=0), epoch)
        if self.refilled:
            total, whole = self.update.refilled(total, self.refilled)
        else:
            whole = {name: ops.sum(total[name], axis=0) for name in names}
        self.density.assign(view_coverage.relative_density(whole["weights"], table, self.ball.per_shell))
        whole, members = self.update.held_together(whole, ops.sum(total["members"], axis=0), epoch)
        new = self.update.averages(total, whole, self._current(self.average, first), members, mask)
        for variable, value in zip(self.average, new, strict=True):
            variable.assign(value)
        if self.half_sets.independent and not apart:
            new = self.half_sets.low_passed(new) if self.half_sets.part_after(epoch) else new
            for variable, value in zip(self.references, new, strict=True):
                variable.assign(ops.stack([value, value]))

    def _update_references(self, total, epoch, mask):
        """What each half set is aligned to next: its own average, filtered by the FSC of both."""
        found, weights = [], ops.sum(total["weights"], axis=0)
        for half in (0, 1):
            own = {name: total[name][half] for name in ("re", "im", "weights")}
            own, members = self.update.held_together(own, total["members"][half], epoch)
            current = self._current([part[half] for part in self.references], epoch == 0)
            found.append(self.update.averages(total, own, current, members, mask, weights))
        for variable, *parts in zip(self.references, *found, strict=True):
            variable.assign(ops.stack(parts))

    @staticmethod
    def _current(parts, first):
        """Averages so far; nothing before there are any."""
        return [ops.convert_to_tensor(part) * (0.0 if first else 1.0) for part in parts]

    def figures(self):
        """The state in numbers, by name: what metrics.csv holds."""
        return figures.figures(self)

    def notices(self):
        """One line for each class that has lost nearly all its subtomograms."""
        return figures.notices(self)

    def preview(self, batch):
        """Averages and FSC curves for the run folder's samples."""
        curves = ops.convert_to_numpy(self.fsc).T
        maps = ops.convert_to_numpy(self.average_maps())
        kind = figures.fsc_name(self)
        return {"map": Maps(maps), kind: Curve(np.arange(self.ball.shells), curves)}

    def results(self, batches, apply):
        """Averages, half maps and curves of the classes, and the pose and class of each subtomogram."""
        return results_of(self, batches, lambda batch: apply(self.verb, batch))

    def call(self, inputs):
        """Class posteriors ``(b, k)`` of a batch dict."""
        return self.align(inputs)["posterior"]

    def endpoints(self):
        """``align`` and ``averages`` for a SavedModel."""
        n = self.box

        def averages():
            return {"averages": self.average_maps(), "halves": self.half_maps()}

        inputs = {"volume": Input((None, n, n, n, 1)), "wedge": Input((None, n, n, n))}
        return {
            "align": Endpoint(lambda **batch: self.align(batch), inputs),
            "averages": Endpoint(averages, {}),
        }


def _check_half_sets(info, values):
    """Raise ZooError where the file leaves a half set empty: there is no FSC then to filter averages by."""
    stated = info.load_table().get("random_subset")
    if stated is None or not np.isin(stated, (1, 2)).all():
        return
    for half in (1, 2):
        count = int((stated == half).sum())
        if count < values["classes"]:
            raise ZooError(
                f"{info.path}: half set {half} of rlnRandomSubset has {count} of {info.count} subtomograms, "
                f"too few for classes={values['classes']}; pack again without that column, or both half sets"
            )
