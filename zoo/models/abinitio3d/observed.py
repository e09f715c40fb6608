"""Images of a batch as the E-steps see them, and poses that they may have."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Observed(NamedTuple):
    """A batch on the half plane: coefficients, CTFs ``(b, m)``; power in the plane's corners, variance in the
    image's, table rows, half sets (0 or 1) ``(b,)``; frames ``(b, 2, 3)`` and shifts ``(b, 2)`` if given."""

    values: np.ndarray
    ctf: np.ndarray
    corner: np.ndarray
    background: np.ndarray
    index: np.ndarray
    half: np.ndarray | None = None
    frames: np.ndarray | None = None
    shifts: np.ndarray | None = None

    def chosen(self, rows) -> Observed:
        there = {name: part[rows] for name, part in self._asdict().items() if part is not None}
        return self._replace(**there)


class Candidates(NamedTuple):
    """Poses that images may have: row of the batch, class, frame (2, 3) and shift (2,) of each."""

    image: np.ndarray
    group: np.ndarray
    frames: np.ndarray
    shifts: np.ndarray

    def chosen(self, keep) -> Candidates:
        return Candidates(*(part[keep] for part in self))
