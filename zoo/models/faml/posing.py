"""Where subtomograms lie in averages, and how probable that is: the expectation of ``faml`` and ``fa``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from keras import ops

from zoo.models.capabilities import Aligns
from zoo.models.faml.update import fading
from zoo.ops import fourier
from zoo.ops.matching import expectation, posteriors, view_coverage, voronoi
from zoo.ops.matching.rotational_matching import UNUSED_SCORE, match, prepare_templates
from zoo.ops.rotations import euler_to_matrix, matrix_to_euler

_LEAST_WEDGE = 0.1  # a smaller factor is not divided by
_SEEN = 1e-4


class Posing(Aligns):
    """Poses of a batch under the state of an `AveragingModel`, which has all that is named here."""

    also_reads: ClassVar[Mapping[str, tuple[str, ...]]] = {"align": ("half_set", "euler_deg")}

    def prepare(self):
        """What all batches of an epoch share: templates to match and tables to sample averages from.

        Of independent half sets those of both, the first half set's before the second's.
        """
        return self._prepared(self.references if self.half_sets.independent else self.average)

    def prepare_alignment(self, features=()):
        """The same for ``align``: averages of all, but of the half sets where a batch has ``half_set``."""
        return self.prepare() if "half_set" in features else self._prepared(self.average)

    def _prepared(self, averages):
        parts = [ops.reshape(ops.convert_to_tensor(part), (-1, len(self.ball))) for part in averages]
        prepared = {
            "match": prepare_templates(self.match_settings, self.ball.to_volume(*parts)),
            "zoomed": self.ball.zoomed(self.ball.to_maps(*parts)),
        }
        # poses that are given need not be spread over the views
        if self.config["coverage"] and self.config["start"] != "poses":
            density = ops.convert_to_tensor(self.density)
            prepared["density"] = self.ball.to_volume(density, ops.zeros_like(density))[0]
            epoch = ops.cast(ops.convert_to_tensor(self.iteration), "float32")
            left = fading(epoch, self.config["coverage_epochs"])
            prepared["coverage"] = self.config["coverage"] * left
        return prepared

    def poses(self, volumes, wedges, prepared, learning=False, near=None, half=None):
        """Candidates of a batch and how probable they are; with ``learning`` as ``coverage`` prefers them.

        They are looked for about the rotations ``near (b, 3, 3)`` where these are given, and in the averages
        of the half set ``half (b,)``, 1 or 2, where ``prepared`` has those of both.

        Returns a dict: rotations ``(b, k, c, 3, 3)``, shifts ``(b, k, c, 3)`` in voxels, scores and weights
        P·ν ``(b, k, c)``, residuals ``(b, k, c, j)``, log_likelihood ``(b,)``, observed, wedge and seen.
        """
        observed = self._observation(volumes, wedges)
        own = None if half is None else ops.cast(half, "int32") - 1
        rotations, shifts, scores = self._candidates(observed, prepared, near, own)
        templates = expectation.turned_templates(self.ball, prepared["zoomed"], rotations, shifts, own)
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

    def align(self, batch, prepared=None):
        """``volume (b, n, n, n, 1)`` and ``wedge (b, n, n, n)`` of a batch → where they lie, what they are.

        posterior ``(b, k)``, class ``(b,)`` int32 from 0, euler_deg and origin_angstrom ``(b, 3)`` as
        RELION's, rotation ``(b, 3, 3)``, shift_voxels ``(b, 3)`` and score ``(b,)`` of the best pose. Where
        the half sets are independent and the batch has ``half_set (b,)``, 1 or 2, it is laid into the average
        of its own; prepared: of ``prepare_alignment`` for these features.
        """
        prepared = self.prepare_alignment(batch) if prepared is None else prepared
        half = batch.get("half_set") if self.half_sets.independent else None
        found = self.poses(batch["volume"], batch["wedge"], prepared, near=self._near(batch), half=half)
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

    def _candidates(self, observed, prepared, near=None, own=None):
        """Matching against data divided by their transfer, weighted by transfer over noise."""
        (re, im), wedges = observed["ft"], observed["wedges"]
        divisor = ops.maximum(wedges, _LEAST_WEDGE)
        sigma = ops.sqrt(ops.convert_to_tensor(self.sigma2))
        sigma = ops.where(ops.arange(self.ball.shells) == 0, sigma[1], sigma)
        quiet = ops.min(sigma) / ops.take(sigma, self._shell_volume)
        whitened, weights = (re / divisor, im / divisor), wedges * quiet
        where = (near, self.config["range_deg"])
        return match(self.match_settings, whitened, weights, prepared["match"], *where, own)
