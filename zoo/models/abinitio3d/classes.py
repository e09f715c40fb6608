"""What concerns several classes: one frame and hand for all, and classes that are the same."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from zoo.metrics.alignment import align_maps, mirror, transform_map
from zoo.ops import fourier_volume as fv

_ALIKE = 0.5
_CANDIDATES = 6
_BAND = 9
_COMPARED = slice(4, 10)
_FEWEST = 0.005
_LEAST_BAND = 4  # shells that halves must agree to before one is turned
_LEAST_NOISE = 1e-3
_APART = 0.1  # voxels, at half the radius of the box: less is left as it is


class Laid(NamedTuple):
    """How a map is laid over another: x_new = R x + t."""

    rotation: np.ndarray
    shift_px: np.ndarray


def unify(state, pixel_per_voxel: float) -> list[str]:
    """Bring all classes into the frame and hand of the best; returns what was done, a line each.

    A map whose detail (FSC of shells 4 to 9) agrees with that of a settled one stays; another is laid over it
    in both hands. Maps are whitened first: what one state has and another lacks lies in the lowest shells,
    which would decide. Changes maps, half maps and the tables of frames and shifts; a voxel of the maps is
    ``pixel_per_voxel`` pixels of the images.
    """
    count = len(state["maps"])
    present = [k for k in range(count) if state["members"][k] > 0 and state["active"][k]]
    band = min(_BAND, state["maps"].shape[-1] // 2 - 1)
    whitened = {k: fv.whitened(state["maps"][k], band) for k in present}

    def alike(a, b):
        return float(fv.shell_correlation(a, b)[_COMPARED].mean())

    placed = [max(present, key=lambda k: state["fsc"][k][6:13].sum())]
    lines = []
    while left := [k for k in present if k not in placed]:
        now, k, nearest = max((alike(whitened[k], whitened[p]), k, p) for k in left for p in placed)
        best, hand, found = now, 1, None
        if now < _ALIKE:
            for side in (1, -1):
                moving = whitened[k] if side > 0 else mirror(whitened[k])
                laid = align_maps(moving, whitened[nearest], allow_mirror=False, candidates=_CANDIDATES)
                if (likeness := alike(laid.aligned, whitened[nearest])) > best:
                    best, hand, found = likeness, side, laid
        lines.append(f"class {k + 1}: likeness {now:.2f}" + (f", {best:.2f} once laid over" if found else ""))
        if found is not None:
            _turn_class(state, k, found, hand, pixel_per_voxel)
            whitened[k] = found.aligned
        placed.append(k)
    return lines


def _turn_class(state, k, found, hand, pixel_per_voxel, halves=(0, 1)):
    """Turn (and mirror) the maps of class k and the poses of its images alike; or those of one half."""
    maps, half_maps = state["maps"].copy(), state["half_maps"].copy()
    rows = state["table_class"] == k
    if len(halves) == 2:
        maps[k] = transform_map(maps[k], found.rotation, found.shift_px, hand)
    else:
        rows &= (state["table_half"] == halves[0])[:, None]
    for half in halves:
        half_maps[half][k] = transform_map(half_maps[half][k], found.rotation, found.shift_px, hand)
    frames, shifts = state["table_frame"].copy(), state["table_shift"].copy()
    # x_new = R M x + t: a frame looks at the turned map through A M R^T, and moves by -A t
    turned = frames[rows] @ (np.diag([hand, 1.0, 1.0]) @ found.rotation.T)
    frames[rows] = turned
    shifts[rows] -= turned @ (found.shift_px * pixel_per_voxel)
    state["maps"], state["half_maps"] = maps, half_maps
    state["table_frame"], state["table_shift"] = frames, shifts


def lay_halves_together(state, plane, grid, pixel_per_voxel: float) -> list[str]:
    """Turn the maps of half set 2, and its images' poses, into the frame of half set 1, class by class.

    Halves that are refined apart drift apart as wholes. Only their frames meet here: no image and no density
    of one half enters the other. ``plane`` and ``grid`` are those of the maps. Returns a line for each class.
    """
    lines = []
    for k in np.flatnonzero((state["members"] > 0) & (state["active"] == 1)):
        band = min(fv.last_shell(state["fsc"][k]), plane.radius)
        if band < _LEAST_BAND:
            continue
        fixed, moving = (grid.transform(half[k]) for half in state["half_maps"])
        # where they are the same map, some of its power stands in for the noise
        power, least = (np.abs(part) ** 2 for part in (fixed - moving, fixed))
        noise = (grid.shell_means(power) + _LEAST_NOISE * grid.shell_means(least))[: plane.radius + 1]
        rotation, shift = fv.small_turn(moving, fixed, 1 / noise, plane, band)
        angle = np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))
        apart = angle * grid.box / 4 + np.linalg.norm(shift)
        lines.append(
            f"class {k + 1}: halves {np.degrees(angle):.2f} degrees, {np.linalg.norm(shift):.2f} voxels apart"
        )
        if apart > _APART:
            _turn_class(state, k, Laid(rotation, shift), 1, pixel_per_voxel, halves=(1,))
    return lines


def same_classes(cross: np.ndarray, gain: np.ndarray, members: np.ndarray, share: float) -> np.ndarray:
    """Class → class it belongs to, ``(K,)``: itself unless another's map explains its images as well.

    cross ``(K, K)``: what an image of class i loses of its log likelihood, on average, under map j; gain
    ``(K,)``: what its own map brings it. They are the same where the loss, averaged both ways, is less than
    ``share`` of the gain; classes of hardly any image go to the one that they lose least with.
    """
    count = len(members)
    target = np.arange(count)
    few = members < max(_FEWEST * members.sum(), 1)
    loss = cross / np.maximum(gain, 1e-6)[:, None]
    # the noise of the smaller class counts against it one way, and for it the other
    loss = (loss + loss.T) / 2

    def root(k):
        while target[k] != k:
            k = target[k]
        return k

    pairs = sorted((loss[i, j], i, j) for i in range(count) for j in range(i) if not few[i] and not few[j])
    for value, i, j in pairs:
        i, j = root(i), root(j)
        if value < share and i != j:
            small, large = sorted((i, j), key=lambda k: (members[k], -k))
            target[small] = large
    for k in np.flatnonzero(few):
        target[k] = min((j for j in range(count) if not few[j]), key=lambda j: cross[k, j])
    return np.array([root(k) for k in range(count)])


def merge(state, target: np.ndarray) -> None:
    """Give the images of merged classes to the class that they are merged into."""
    state["table_class"] = target[state["table_class"]].astype(np.int32)
    state["active"] = (target == np.arange(len(target))).astype(np.int32)
