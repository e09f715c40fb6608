"""The two half sets of subtomograms: who belongs to which, what their FSC is of, and their common frame.

Independent half sets (the gold standard of Scheres & Chen, Nature Methods 9 (2012)) are each aligned to their
own average alone, so that what both show is no noise that one average wrote into all. Started from nothing
they share an average in the first epochs, then go on from it without what lies beyond a low frequency: beyond
that nothing is common to them but the particle.
"""

from __future__ import annotations

import numpy as np
from keras import ops

from zoo.ops.interpolation import sample_trilinear
from zoo.ops.matching import expectation, maximisation
from zoo.ops.matching.rigid_refinement import Observation, refine

ONE_AVERAGE = "half sets aligned to one average"
INDEPENDENT = "independent half sets"
ENOUGH = 100  # subtomograms of a class, from which on half sets are independent if nobody says otherwise
_TRUSTED_FSC = 0.143
_STANDARD_ERRORS = 4.0
_PAD = 2


def are_enough(count: int, classes: int) -> bool:
    """Whether ``count`` subtomograms can be told apart into classes and half sets at once."""
    return count >= ENOUGH * classes


def half_sets_of(uid, seed: int):
    """Half set, 1 or 2, of each 64-bit uid ``(b,)`` int64: alike in any order and any batch.

    The finaliser of MurmurHash3 (Appleby) makes even bits of seed and uid.
    """
    low = ops.cast(ops.bitwise_and(uid, 0xFFFFFFFF), "uint32")
    high = ops.cast(ops.bitwise_and(ops.right_shift(uid, 32), 0xFFFFFFFF), "uint32")

    def number(value):
        return ops.cast(value & 0xFFFFFFFF, "uint32")

    bits = ops.bitwise_xor(low, high * number(0x85EBCA6B)) + number(int(seed) * 0x9E3779B9)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        bits = ops.bitwise_xor(bits, ops.right_shift(bits, number(shift))) * number(factor)
    bits = ops.bitwise_xor(bits, ops.right_shift(bits, number(16)))
    return ops.cast(ops.bitwise_and(bits, number(1)), "int32") + 1


class HalfSets:
    """What the settings (resolved, of ``FamlConfig``) say of the half sets of a model on a `HalfBall`."""

    def __init__(self, ball, config):
        self.ball, self.config = ball, config
        self.independent = config["half_sets"] == "independent"

    @property
    def common_epochs(self) -> int:
        """The last epoch whose average both half sets share."""
        given = self.config["start"] == "poses" or bool(self.config["references"])
        return 0 if given else self.config["common_epochs"]

    def are_apart(self, epoch: int) -> bool:
        """Whether the poses of an epoch come from the averages of the half sets, or from the file."""
        return self.independent and (epoch > self.common_epochs or self.config["start"] == "poses")

    def part_after(self, epoch: int) -> bool:
        """Whether the half sets go ways of their own after this epoch."""
        return self.independent and epoch == self.common_epochs and self.config["start"] != "poses"

    def kind(self, epoch: int) -> str:
        """Between what the FSC of an epoch is, in words."""
        if not self.are_apart(epoch):
            return ONE_AVERAGE
        if self.config["start"] == "poses":
            return f"{INDEPENDENT}, which began with the poses of the file"
        size = self.config["box"] * self.config["voxel_size_angstrom"] / self.config["common_radius"]
        return f"{INDEPENDENT} beyond {size:.0f} Å, up to which they began with one average"

    def low_passed(self, parts):
        """Averages (re, im) ``(..., j)`` of which nothing bears on shells beyond ``common_radius``.

        They end two shells before it: templates are cut to a sphere, which carries what they hold so far.
        """
        shells = np.arange(self.ball.shells, dtype="float32")
        kept = np.clip((self.config["common_radius"] - 1 - shells) / 2.0, 0.0, 1.0)
        return [part * kept[self.ball.shell] for part in parts]

    def drift(self, halves, fsc):
        """How half set 2's average lies to half set 1's: rotations ``(k, 3, 3)``, shifts ``(k, 3)``.

        halves: averages of both, (re, im) ``(k, j)`` each; fsc ``(k, s)``: shells below 0.143, or that chance
        explains, have no say, else six numbers would be fitted to noise. half 1(x) = half 2(Rᵀ(x − t)), in
        voxels. Looked for nearby, since both began in one frame.
        """
        classes = fsc.shape[0]
        chance = _STANDARD_ERRORS / np.sqrt(2.0 * self.ball.per_shell)
        least = np.maximum(chance, _TRUSTED_FSC).astype("float32")
        trusted = ops.where(fsc > least, ops.sqrt(ops.maximum(fsc, 0.0)), 0.0)
        weight = ops.matmul(trusted, self.ball.shell_table.T)
        zoomed = ops.reshape(self.ball.zoomed(self.ball.to_maps(*halves[1]), _PAD), (-1, 8))
        where = (self.ball.frequency, self.ball.n, self.ball.radius, _PAD, zoomed)
        view = Observation(*where, *halves[0], weight, own=np.arange(classes))
        still = ops.broadcast_to(ops.eye(3), (classes, 1, 1, 3, 3))
        largest = self.ball.n / (4.0 * self.ball.radius)
        turns, shifts, _ = refine(view, still, ops.zeros((classes, 1, 1, 3)), 4, largest)
        return turns[:, 0, 0], shifts[:, 0, 0]

    def in_one_frame(self, sums, halves, fsc):
        """Sums by half set with those of the second moved over the first, class by class.

        sums: ``re``, ``im``, ``weights`` ``(2, k, j)`` and ``transfers (2, k, s)``.
        """
        rotations, shifts = (part[:, None, None] for part in self.drift(halves, fsc))
        own = np.arange(fsc.shape[0])
        zoomed = self.ball.zoomed(self.ball.to_maps(sums["re"][1], sums["im"][1]))
        turned = expectation.turned_templates(self.ball, zoomed, rotations, shifts, own)
        re, im = (part[:, 0, 0] for part in turned)
        # Weights end where no tilt went: between two voxels a straight line, which cannot ring.
        weights, _ = self.ball.to_volume(sums["weights"][1], ops.zeros_like(sums["weights"][1]))
        points = ops.matmul(self.ball.frequency, rotations[:, 0, 0]) + float(self.ball.n // 2)
        weights = sample_trilinear(weights[..., None], points)[..., 0]
        weights = maximisation.with_shell_sums(weights, sums["transfers"][1], self.ball.shell_table)
        second = {"re": re, "im": im, "weights": weights}
        return {**sums, **{name: ops.stack([sums[name][0], part]) for name, part in second.items()}}
