"""Classes that are of no use where they are, and whose images they take half of.

Of K maps from random starts, two may become the same state and another two states at once, or a class may end
with a few images that only a map of themselves explains. Competition alone does not leave such a place: the
map of two states is the best that there is for either. So a class that can be spared becomes the twin of one
that may hold more than one state, and the images of that one fall to the two at random once.
"""

from __future__ import annotations

import numpy as np

from zoo.models.abinitio3d.classes import same_classes
from zoo.models.abinitio3d.config import Config

_FEW_MEMBERS = 0.02  # of all particles: a class with fewer is not judged by its map


def has_few(state, config: Config) -> np.ndarray:
    """Classes ``(K,)`` with hardly any images."""
    return state["members"] < max(_FEW_MEMBERS * config.count, 1)


def gain_of_members(state, config: Config) -> np.ndarray:
    """What its own map brings an image of each class, in log likelihood, ``(K,)``."""
    gain = np.bincount(state["table_class"][:, 0], state["table_log_likelihood"], config.classes)
    return gain / np.maximum(state["members"], 1)


def spare_classes(state, config: Config) -> np.ndarray:
    """Classes ``(K,)`` that can be spared after a full pass: of few images and no good map, or the same as
    another."""
    poor = state["share"] <= config.good_share
    same = same_classes(state["cross"], gain_of_members(state, config), state["members"], config.same_class)
    return (has_few(state, config) & poor) | (same != np.arange(config.classes))


def worth_splitting(state, config: Config, spare: np.ndarray) -> bool:
    """Whether a class that can be spared has something to be used for: the first time that there is one, and
    then while a class, or a few images, are not explained."""
    poor = (state["share"] <= config.good_share) & (state["members"] > 0)
    return bool(spare.any() and (int(state["split"]) == 0 or poor.any()))


def split(state, config: Config, spare: np.ndarray, only_poor: bool = False) -> list[str]:
    """Make each of the classes ``spare`` the twin of another one; returns a line for each.

    Those whose maps explain least come first, if that is less than `Config.good_share`, then
    (unless ``only_poor``) the largest. A class is split once; what can be spared beyond that loses its map.
    """
    maps, twin = state["small_maps"].copy(), np.zeros_like(state["twin"])
    kept = np.flatnonzero(~has_few(state, config) & ~spare)
    share, members = state["share"], state["members"]
    poor = sorted((k for k in kept if share[k] <= config.good_share), key=lambda k: share[k])
    whole = [] if only_poor else sorted((k for k in kept if k not in poor), key=lambda k: -members[k])
    parted = [*poor, *whole]
    lines = []
    for place, k in enumerate(np.flatnonzero(spare)):
        if place < len(parted):
            maps[k], twin[k] = maps[parted[place]], parted[place] + 1
            lines.append(f"class {k + 1} takes half of the images of class {parted[place] + 1}")
        elif not only_poor:
            maps[k] = 0
    state["small_maps"], state["twin"] = maps, twin
    return lines
