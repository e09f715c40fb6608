"""The last search: all classes once more at a finer band, each image under the maps of its own half set.

Where images say little, a few poses drawn at a coarse band often miss the right one. Of 1,500 embedded images
with twice the usual noise, under right maps, 1.7 % fell into a wrong class; for nine in ten of these the true
class, at the true pose, was the likelier one.
"""

from __future__ import annotations

import numpy as np

from zoo.models.abinitio3d.observed import Candidates
from zoo.ops import fourier_volume as fv

VIEWS_STREAM = 2  # of random numbers


def half_banks(expectation, state, half_grids) -> list[fv.Bank]:
    """Slices of the maps of each half set at `Config.again_band`, views and turns as much closer."""
    c, active = expectation.config, np.flatnonzero(state["active"])
    finer = c.again_band / c.bands[-1]
    rng = fv.generator(c.seed, VIEWS_STREAM, int(state["step"]) - int(state["batch"]))
    frames = fv.view_frames(round(c.views[-1] * finer**2), round(c.turns[-1] * finer), rng)
    return [
        fv.slice_bank(half_grids[half * c.classes + active], frames, expectation.plane, c.again_band)
        for half in (0, 1)
    ]


def searched_again(expectation, state, seen, banks) -> Candidates:
    """Poses drawn from the posterior over all classes, twice as many as before, and those known so far."""
    active, parts = np.flatnonzero(state["active"]), [expectation.known_poses(state, seen)]
    for half, bank in enumerate(banks):
        if len(rows := np.flatnonzero(seen.half == half)):
            found = expectation.surveyed(state, seen, rows, bank, 2 * expectation.config.survey_draws)
            parts.append(found._replace(group=active[found.group]))
    return Candidates(*(np.concatenate(part) for part in zip(*parts, strict=True)))
