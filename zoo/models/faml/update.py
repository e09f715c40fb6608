"""The maximisation of ``faml`` and ``fa``: averages and half averages from an epoch's sums."""

from __future__ import annotations

import numpy as np
from keras import ops

from zoo.models.faml.config import fold_of, is_lost
from zoo.ops.matching import cyclic_symmetry, maximisation


class AverageUpdate:
    """Averages on a `HalfBall` under the settings of ``averaging_config``.

    Sums are dicts of ``re``, ``im`` and ``weights`` ``(2, k, j)`` by half set, or ``(k, j)``; averages
    (re, im) ``(k, j)``; mask ``(n, n, n)``.
    """

    def __init__(self, ball, config):
        self.ball, self.config = ball, config

    def completed(self, sums):
        """Sums with the symmetry imposed, weights scaled to the shells of ``transfers (2, k, s)``."""
        fold = fold_of(self.config["symmetry"])
        whole = {name: sums[name] for name in ("re", "im", "weights")}
        if fold > 1:
            whole = cyclic_symmetry.symmetrised(self.ball, whole, fold)
        table = self.ball.shell_table
        return {**whole, "weights": maximisation.with_shell_sums(whole["weights"], sums["transfers"], table)}

    def halves(self, sums, mask):
        """Averages of the two half sets, unfiltered but for empty frequencies."""
        halves = []
        for half in (0, 1):
            weights = sums["weights"][half]
            mean = [self._weighted(sums[name][half], weights) for name in ("re", "im")]
            halves.append(self._masked(mean, mask))
        return halves

    def lost_class(self, members, epoch):
        """(empty, largest) class where one has lost its subtomograms and may start again; else None."""
        if not 1 <= epoch <= self.config["refill_epochs"] or self.config["classes"] == 1:
            return None
        members = ops.convert_to_numpy(members)
        empty, largest = int(np.argmin(members)), int(np.argmax(members))
        return (empty, largest) if is_lost(members[empty] / members.sum(), len(members)) else None

    def refilled(self, sums, lost):
        """Sums by half set, and in all, with an empty class that takes over half of the largest."""
        halves, whole = {}, {}
        for name in ("re", "im", "weights"):
            halves[name], whole[name] = maximisation.split_class(sums[name], *lost)
        members = ops.stack([maximisation.split_members(sums["members"][half], *lost) for half in (0, 1)])
        return {**sums, **halves, "members": members}, whole

    def held_together(self, whole, members, epoch):
        """Sums and members with a share of all classes in each: less in every epoch, then none."""
        if not self.config["similarity"]:
            return whole, members
        strength = self.config["similarity"] * fading(epoch, self.config["similarity_epochs"])
        held = {name: maximisation.pooled(x, members, strength) for name, x in whole.items()}
        return held, members * (1.0 + strength)

    def averages(self, sums, whole, current, members, mask, all_weights=None):
        """New averages of ``whole``, filtered by the FSC of the half sets' sums or filled (equation 10).

        ``whole`` may be one half set of ``sums``; ``all_weights`` are then those of both: the noise of a unit
        of weight, and so the filter, is the same.
        """
        weights = whole["weights"]
        if self.config["regularise"] == "none":
            new = [
                maximisation.filled_averages(whole[part], weights, old, members)
                for part, old in zip(("re", "im"), current, strict=True)
            ]
        else:
            table, count = self.ball.shell_table, self.ball.per_shell
            fsc = maximisation.reliable_fsc(sums, table, count)
            noise = weights if all_weights is None else all_weights
            missing = maximisation.wiener_weights(fsc, noise, table, count)
            new = [self._weighted(whole[part], weights, missing) for part in ("re", "im")]
        return self._masked(new, mask)

    def _weighted(self, sums, weights, missing=0.0):
        table, count = self.ball.shell_table, self.ball.per_shell
        return maximisation.weighted_averages(sums, weights, table, count, missing)

    def _masked(self, parts, mask):
        if not self.config["mask"]:
            return parts
        return self.ball.of_maps(self.ball.to_maps(*parts) * mask)


def fading(epoch, epochs):
    """What ``epoch`` (int or tensor) leaves of a help for the first ``epochs``: 1 in epoch 1, then less."""
    epoch = ops.convert_to_tensor(epoch, "float32")
    return ops.clip(1.0 - (epoch - 1.0) / max(epochs, 1), 0.0, 1.0)
