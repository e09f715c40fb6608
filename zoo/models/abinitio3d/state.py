"""Everything that a run must remember, by name, in fixed shapes."""

from __future__ import annotations

import enum

import numpy as np

from zoo.models.abinitio3d.config import Config
from zoo.models.given_poses import GivenPoses
from zoo.ops import fourier_volume as fv
from zoo.ops.fourier_volume import PAD

_HALVES = 6  # stream of random numbers


class Phase(enum.IntEnum):
    """What the present steps are for; the order of a run is in `AbInitio.m_step`."""

    MEASURE = 0  # power of signal and noise by shell
    START = 1  # mini-batches from random maps
    SURVEY = 2  # all images once: search, refinement, maps at full resolution
    POLISH = 3  # all images once: refinement alone
    SHARES = 4  # how much of its images' signal does each map explain?
    RESEED = 5  # mini-batches: the other classes start again from the best map
    JOINT = 6  # mini-batches of all classes together
    FINISH = 7  # all images once, each half set with maps of its own
    DONE = 8
    AGAIN = 9  # after FINISH: all images once, searched again in all classes under maps of their own half set


FULL_PASSES = (Phase.SURVEY, Phase.POLISH, Phase.FINISH, Phase.AGAIN)
"""Phases whose updates see each particle exactly once."""


def state_shapes(config: Config) -> dict[str, tuple[tuple[int, ...], str]]:
    """Name → (shape, dtype) of the state; sums are named ``sum_...``, tables of particles ``table_...``.

    K classes, S shells, n and m voxels along maps and small maps, N particles. A table holds two slots for
    each particle: its likeliest poses. Frames are rows 0 and 1 of RELION's A, shifts are in image pixels.
    """
    k, s, n, m, count = config.classes, config.radius + 1, config.map_box, config.small_box, config.count
    full, small = (2, k, *(PAD * n,) * 3, 3), (2, k, *(PAD * m,) * 3, 3)
    whole = {
        "step": (),
        "phase": (),
        "update": (),  # of the phase
        "batch": (),  # of the update
        "waiting": (),  # 1: a full pass begins with the next epoch
        "attempt": (),
        "reseeded": (),
        "split": (),  # times that classes parted the images of others
        "band": (),
        "found": (),  # 1 unless nothing but noise was seen
        "still": (),  # full passes since the halves last agreed to more shells
        "placed": (k,),  # classes whose maps are settled, while others start again
        "twin": (k,),  # 1 + the class whose images a class without any takes half of
        "source": (),  # the one they start from
        "active": (k,),  # 0: merged into another
        "pass": (),  # number of the full pass that runs or comes next, from 1
        "table_half": (count,),  # half set, 0 or 1: that of the file, or drawn
        "table_class": (count, 2),
        "table_pass": (count,),  # the last in which the particle was seen
    }
    real = {
        "signal_power": (s,),
        "noise_floor": (),
        "noise": (k, s),
        "evidence": (),
        "share": (k,),
        "least_share": (),
        "members": (k,),
        "cross": (k, k),
        "small_maps": (k, m, m, m),
        "small_sums": small,
        "best_share": (k,),
        "best_maps": (k, m, m, m),
        "best_noise": (k, s),
        "maps": (k, n, n, n),
        "half_maps": (2, k, n, n, n),
        "fsc": (k, n // 2 + 1),
        "table_frame": (count, 2, 2, 3),
        "table_shift": (count, 2, 2),
        "table_probability": (count, k),
        "table_log_likelihood": (count,),
        "sum_small": small,
        "sum_full": full,
        "sum_residual": (k, s),
        "sum_power": (k, s),
        "sum_count": (k,),
        "sum_evidence": (),
        "sum_corner": (),
        "sum_background": (),
        "sum_cross": (k, k),
    }
    if config.poses == "known":
        real |= {
            "table_given_frame": (count, 2, 3),
            "table_given_shift": (count, 2),
            "sum_chance": (3,),  # number, sum, squares: how much better poses are than those of others
        }
    shapes = {name: (shape, "int32") for name, shape in whole.items()}
    shapes.update({name: (shape, "float32") for name, shape in real.items()})
    return shapes


def initial_state(config: Config) -> dict[str, np.ndarray]:
    """The state before the first step."""
    state = {name: np.zeros(shape, dtype) for name, (shape, dtype) in state_shapes(config).items()}
    state["active"] = np.ones_like(state["active"])
    state["noise"] = np.ones_like(state["noise"])
    state["pass"] = np.ones_like(state["pass"])
    state["table_frame"][:] = np.eye(3)[:2]
    state["table_half"] = drawn_halves(config)
    return state


def drawn_halves(config: Config) -> np.ndarray:
    """Half sets ``(count,)``, 0 or 1, of equal size: at random, since a file may have its states in turn."""
    order = fv.generator(config.seed, _HALVES, 0).permutation(config.count)
    return (order % 2).astype(np.int32)


def give_halves(state, half_set: np.ndarray) -> None:
    """Take half sets ``(count,)`` of a file, 1 or 2, before the first step; all 0: those drawn stay."""
    half = np.asarray(half_set, np.int32)
    if half.any():
        state["table_half"] = half - 1


def give_poses(state, config: Config, poses: GivenPoses) -> None:
    """Fill the tables with known poses, and half sets where they are stated, before the first step."""
    state["table_given_frame"] = fv.frames_of_euler(poses.euler_deg)
    state["table_given_shift"] = (-poses.origin_angstrom / config.voxel_size_angstrom).astype(np.float32)
    give_halves(state, poses.half_set)
