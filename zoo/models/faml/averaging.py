"""Subtomogram averaging and classification as a Keras model: base of ``faml`` and ``fa``."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from zoo.errors import ZooError
from zoo.models.base import EpochModel, StartsFromMaps
from zoo.models.capabilities import Aligns
from zoo.models.endpoint import Endpoint, Input
from zoo.models.faml import config as settings
from zoo.models.faml import figures
from zoo.models.faml.found import results_of
from zoo.models.faml.update import AverageUpdate, fading
from zoo.models.preview import Curve, Maps
from zoo.ops import fourier
from zoo.ops.matching import expectation, maximisation, posteriors, view_coverage, voronoi
from zoo.ops.matching.half_space import HalfBall
from zoo.ops.matching.match_settings import MatchSettings
from zoo.ops.matching.rotational_matching import UNUSED_SCORE, match, prepare_templates
from zoo.ops.rotations import euler_to_matrix, matrix_to_euler

_LEAST_WEDGE = 0.1  # a smaller factor is not divided by
_SEEN = 1e-4
_WORTH_COMPILING = 500  # records
_POSE = ("rot_deg", "tilt_deg", "psi_deg", "shift_x_angstrom", "shift_y_angstrom", "shift_z_angstrom")


class AveragingModel(EpochModel, StartsFromMaps, Aligns):
    """EM over classes and poses (Zhao et al., FAML): ``e_step`` sums over batches, ``m_step`` ends an epoch.

    All state are weights that no gradient moves: averages on a half ball of frequencies, shares α, noise σ²
    per shell, spread of shifts ζ, and the sums of the running epoch for each half set. Epoch 0 only starts:
    every subtomogram is turned at random and put into an even split of classes. A batch is a dict of
    ``volume (b, n, n, n, 1)``, ``wedge (b, n, n, n)``, ``weight (b,)`` and ``index (b,)``;
    ``random_subset (b,)`` where half sets are known.
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
            "members": (k,),
            "residuals": (s,),
            "seen": (s,),
            "squares": (),
            "likelihood": (),
            "count": (),
        }
        self.sums = {name: state(f"sum_{name}", shape) for name, shape in shapes.items()}

    @classmethod
    def check_data(cls, info, values):
        """No more classes than subtomograms."""
        if info is not None and values["classes"] > info.count:
            raise ZooError(
                f"{info.path}: holds {info.count} subtomograms, too few for classes={values['classes']}; "
                f"set classes to {info.count} or less"
            )
        if info is not None and values.get("start") == "poses":
            columns = info.load_table()
            poses = np.stack([columns[name] for name in _POSE], axis=1)
            unknown = np.flatnonzero(~np.isfinite(poses).all(axis=1))
            if unknown.size:
                row = int(columns["source_row"][unknown[0]]) + 1
                raise ZooError(
                    f"{info.path}: row {row} of its source has no pose (rlnAngleRot, Tilt, Psi and origins), "
                    f"nor have {unknown.size - 1} others; start=poses needs all, leave it out"
                )

    def set_mask(self, mask):
        """Multiply every new average with ``mask (n, n, n)``."""
        self.mask.assign(mask)

    def set_references(self, maps):
        """Start from ``maps (k, n, n, n)`` instead of subtomograms turned at random."""
        for variable, value in zip(self.average, self.ball.of_maps(maps), strict=True):
            variable.assign(value)
        self.started.assign(1)

    def get_config(self):
        """Everything ``__init__`` takes."""
        return {**self.config, "seed": self.seed}

    def compiles_expectation(self, examples):
        """XLA takes half a minute to compile a step and then does it in two thirds of the time."""
        return {"on": True, "off": False}.get(self.config["jit_compile"], examples >= _WORTH_COMPILING)

    def prepare(self):
        """What all batches of an epoch share: templates to match and tables to sample averages from."""
        maps = self.average_maps()
        re, im = self.ball.to_volume(*(ops.convert_to_tensor(part) for part in self.average))
        prepared = {
            "match": prepare_templates(self.match_settings, (re, im)),
            "zoomed": self.ball.zoomed(maps),
        }
        # poses that are given need not be spread over the views
        if self.config["coverage"] and self.config["start"] != "poses":
            density = ops.convert_to_tensor(self.density)
            prepared["density"] = self.ball.to_volume(density, ops.zeros_like(density))[0]
            epoch = ops.cast(ops.convert_to_tensor(self.iteration), "float32")
            left = fading(epoch, self.config["coverage_epochs"])
            prepared["coverage"] = self.config["coverage"] * left
        return prepared

    def average_maps(self):
        """Averages as real maps ``(k, n, n, n)``."""
        return self.ball.to_maps(*(ops.convert_to_tensor(part) for part in self.average))

    def half_maps(self):
        """Averages of the two half sets ``(2, k, n, n, n)``."""
        n, j = self.box, len(self.ball)
        parts = [ops.reshape(ops.convert_to_tensor(part), (-1, j)) for part in self.halves]
        return ops.reshape(self.ball.to_maps(*parts), (2, self.classes, n, n, n))

    def poses(self, volumes, wedges, prepared, learning=False, near=None):
        """Candidates of a batch and how probable they are; with ``learning`` as ``coverage`` prefers them.

        They are looked for about the rotations ``near (b, 3, 3)`` where these are given.

        Returns a dict: rotations ``(b, k, c, 3, 3)``, shifts ``(b, k, c, 3)`` in voxels, scores and weights
        P·ν ``(b, k, c)``, residuals ``(b, k, c, j)``, log_likelihood ``(b,)``, observed, wedge and seen.
        """
        observed = self._observation(volumes, wedges)
        rotations, shifts, scores = self._candidates(observed, prepared, near)
        templates = expectation.turned_templates(self.ball, prepared["zoomed"], rotations, shifts)
        residuals = expectation.squared_residuals(
            templates, observed["ball"], observed["wedge"], observed["seen"]
        )
        variance = ops.take(ops.convert_to_tensor(self.sigma2), self.ball.shell)
        # |X|² is common to all poses: without it the sum is small and exact. Each frequency of the half ball
        # stands for its partner −k too.
        x_re, x_im = observed["ball"]
        power = (x_re**2 + x_im**2) * observed["seen"]
        distance = 2.0 * ops.sum((residuals - power[:, None, None]) / variance, axis=-1)
        evidence = posteriors.log_evidence(
            distance, shifts, ops.convert_to_tensor(self.alpha), ops.convert_to_tensor(self.zeta)
        )
        if learning and "density" in prepared:
            # In units of what the best pose explains: by as much the poses that others took are favoured.
            explained = ops.maximum(-0.5 * ops.min(distance, axis=(1, 2), keepdims=True), 0.0)
            radius = self.match_settings.refine_radius
            seen = view_coverage.seen_before(
                self.ball, prepared["density"], observed["wedge"], rotations, radius
            )
            evidence = evidence - prepared["coverage"] * explained * (seen - 1.0)
        used = scores > 0.5 * UNUSED_SCORE
        shares = voronoi.voronoi_weights(rotations, shifts, used, self.points)
        weights, likelihood = posteriors.posterior_weights(evidence, shares)
        if self.single_best:
            weights = posteriors.best_only(scores)
        found = {"rotations": rotations, "shifts": shifts, "scores": scores, "weights": weights}
        # What all poses share: the power of the data and the normaliser of complex Gaussian noise.
        constant = power / variance + observed["seen"] * ops.log(np.pi * variance)
        likelihood = likelihood - ops.sum(constant, axis=-1)
        return {**found, **observed, "residuals": residuals, "log_likelihood": likelihood}

    def e_step(self, batch, prepared):
        """The sums of one batch, by the names of ``self.sums``; nothing is assigned."""
        near = self._near(batch)
        found = self.poses(batch["volume"], batch["wedge"], prepared, learning=True, near=near)
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

        Else every second of ``index``, so that both halves begin with all classes.
        """
        half = ops.mod(ops.cast(batch["index"], "int32") // self.classes, 2) + 1
        if "random_subset" not in batch:
            return half
        stated = ops.cast(batch["random_subset"], "int32")
        return ops.where((stated == 1) | (stated == 2), stated, half)

    def _observation(self, volumes, wedges):
        wedges = ops.cast(wedges, "float32")
        re, im = fourier.fft3(volumes[..., 0] / self.box**1.5)
        wedge = self.ball.take(wedges)
        seen = ops.cast(wedge > _SEEN, "float32")
        ball = (self.ball.take(re), self.ball.take(im))
        return {"ft": (re, im), "wedges": wedges, "ball": ball, "wedge": wedge, "seen": seen}

    def _near(self, batch):
        """The rotations of a batch's file ``(b, 3, 3)`` where the search is one about them; else None."""
        local = self.config["range_deg"] > 0 and "euler_deg" in batch
        return euler_to_matrix(batch["euler_deg"]) if local else None

    def _candidates(self, observed, prepared, near=None):
        """Matching against data divided by their transfer, weighted by transfer over noise."""
        (re, im), wedges = observed["ft"], observed["wedges"]
        divisor = ops.maximum(wedges, _LEAST_WEDGE)
        sigma = ops.sqrt(ops.convert_to_tensor(self.sigma2))
        sigma = ops.where(ops.arange(self.ball.shells) == 0, sigma[1], sigma)
        quiet = ops.min(sigma) / ops.take(sigma, self._shell_volume)
        whitened, weights = (re / divisor, im / divisor), wedges * quiet
        where = (near, self.config["range_deg"])
        return match(self.match_settings, whitened, weights, prepared["match"], *where)

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
            "members": ops.sum(members, axis=0),
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
        first, table, per_shell = epoch == 0, self.ball.shell_table, self.ball.per_shell
        mask = ops.convert_to_tensor(self.mask)
        total.update(self.update.completed(total))
        halves = self.update.halves(total, mask)
        self.fsc.assign(maximisation.shell_correlation(*halves, table))
        for variable, *parts in zip(self.halves, *halves, strict=True):
            variable.assign(ops.stack(parts))
        if not (first and int(ops.convert_to_numpy(self.started))):
            whole = {name: ops.sum(total[name], axis=0) for name in ("re", "im", "weights")}
            self.refilled = self.update.lost_class(total["members"], epoch)
            if self.refilled:
                total, whole = self.update.refilled(total, self.refilled)
            self.density.assign(view_coverage.relative_density(whole["weights"], table, per_shell))
            whole, members = self.update.held_together(whole, total["members"], epoch)
            current = [ops.convert_to_tensor(part) * (0.0 if first else 1.0) for part in self.average]
            average = self.update.averages(total, whole, current, members, mask)
            for variable, value in zip(self.average, average, strict=True):
                variable.assign(value)
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
            self.alpha.assign(maximisation.class_shares(total["members"]))
            self.zeta.assign(maximisation.shift_spread(total["squares"], total["count"]))
        self.log_likelihood.assign(total["likelihood"] / ops.maximum(total["count"], 1.0))
        self.iteration.assign(self.iteration + 1)
        for variable in self.sums.values():
            variable.assign(ops.zeros_like(variable))

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
        return {"map": Maps(maps), "fsc": Curve(np.arange(self.ball.shells), curves)}

    def align(self, batch, prepared=None):
        """``volume (b, n, n, n, 1)`` and ``wedge (b, n, n, n)`` of a batch → where they lie, what they are.

        posterior ``(b, k)``, class ``(b,)`` int32 from 0, euler_deg and origin_angstrom ``(b, 3)`` as
        RELION's, rotation ``(b, 3, 3)``, shift_voxels ``(b, 3)`` and score ``(b,)`` of the best pose.
        """
        prepared = self.prepare() if prepared is None else prepared
        found = self.poses(batch["volume"], batch["wedge"], prepared, near=self._near(batch))
        classes, candidates = found["weights"].shape[1:]
        flat = ops.reshape(found["weights"], (-1, classes * candidates))
        best = ops.argmax(flat, axis=-1)

        def chosen(x):
            x = ops.reshape(x, (-1, classes * candidates, int(np.prod(x.shape[3:]))))
            return ops.take_along_axis(x, best[:, None, None], axis=1)[:, 0]

        rotation = ops.reshape(chosen(found["rotations"]), (-1, 3, 3))
        shift = chosen(found["shifts"])
        return {
            "posterior": ops.sum(found["weights"], axis=-1),
            "class": ops.cast(best // candidates, "int32"),
            "rotation": rotation,
            "euler_deg": matrix_to_euler(rotation),
            "shift_voxels": shift,
            "origin_angstrom": -shift * self.voxel_size_angstrom,
            "score": chosen(found["scores"])[:, 0],
            "log_likelihood": found["log_likelihood"],
        }

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
