"""Half sets that never mix: a person's own, those of a run, or drawn from (seed, uid)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from zoo.errors import ZooError
from zoo.models.given_poses import in_no_half, unlike_sizes
from zoo.ops.fourier_volume import uniforms

_STREAM = 41
DRAWN = "drawn"


class Halves(NamedTuple):
    """``half (n,)``: 1 or 2 of every particle, and where it comes from, in ``words``."""

    half: np.ndarray
    words: str


def drawn_halves(uid: np.ndarray, seed: int) -> np.ndarray:
    """Half sets 1 and 2 ``(n,)``, each a function of (seed, uid) alone: the same in every selection."""
    return 1 + (uniforms(seed, _STREAM, 0, np.asarray(uid, np.uint64)) < 0.5).astype(np.int64)


def choose_halves(stated: np.ndarray, uid: np.ndarray, seed: int, where: str, draw: bool = False) -> Halves:
    """Half sets of n particles: those ``stated`` (0: unknown), or drawn where none is, or ``draw`` asks.

    Raises ZooError where only some particles have one, and for halves of very different size.
    """
    stated = np.asarray(stated, np.int64)
    if draw or not stated.any():
        return Halves(drawn_halves(uid, seed), f"drawn by uid, seed {seed}")
    wrong = in_no_half(stated)
    if len(wrong):
        raise ZooError(
            f"{where}: particle {wrong[0] + 1} has half set {stated[wrong[0]]} ({len(wrong)} of "
            f"{len(stated)} are neither 1 nor 2); complete rlnRandomSubset, or draw new ones with "
            "--new-halves"
        )
    sizes = unlike_sizes(stated)
    if sizes is not None:
        raise ZooError(
            f"{where}: half sets of {sizes[0]} and {sizes[1]} particles: their FSC would be that of the "
            "smaller one; select particles of both, or draw new halves with --new-halves"
        )
    return Halves(stated, f"rlnRandomSubset of {where}")
