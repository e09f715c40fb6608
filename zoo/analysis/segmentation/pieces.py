"""Connected pieces of the classes of a volume that is larger than memory."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage, sparse

from zoo.data.formats.tomogram_scale import Blocks

_SLAB_VOXELS = 1 << 23
_TOUCHING = np.ones((3, 3, 3), bool)  # voxels that share a corner belong together


def pieces_of(labels: Blocks, classes: int, slab_voxels: int = _SLAB_VOXELS) -> list[np.ndarray]:
    """Voxels of each connected piece, largest first, of each class (classes arrays); none of class 0.

    Voxels that share a face, an edge or a corner belong together. The volume is read in slabs of about
    ``slab_voxels``; the pieces are those of the whole.
    """
    depth, height, width = labels.shape
    step = max(slab_voxels // (height * width), 1)
    sizes: list[list[np.ndarray]] = [[] for _ in range(classes)]
    pairs: list[list[np.ndarray]] = [[] for _ in range(classes)]
    count = [0] * classes
    above: list[np.ndarray | None] = [None] * classes
    for start in range(0, depth, step):
        part = slice(start, min(start + step, depth)), slice(0, height), slice(0, width)
        slab = labels.read(part).astype(np.int16)
        for number in range(1, classes):
            numbered, found = ndimage.label(slab == number, _TOUCHING, output=np.int64)
            sizes[number].append(np.bincount(numbered.ravel(), minlength=found + 1)[1:])
            numbered[numbered > 0] += count[number]
            before = above[number]
            if before is not None:
                pairs[number] += _touching(before, numbered[0])
            count[number] += found
            above[number] = numbered[-1]
    return [np.empty(0, np.int64)] + [
        _merged(np.concatenate(sizes[number]), pairs[number]) for number in range(1, classes)
    ]


def _touching(before: np.ndarray, after: np.ndarray) -> list[np.ndarray]:
    """Pairs (n, 2) of numbers that touch between two planes (y, x); 0 is nothing."""
    found = []
    height, width = before.shape
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            ours = before[max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)]
            theirs = after[max(-dy, 0) : height + min(-dy, 0), max(-dx, 0) : width + min(-dx, 0)]
            both = (ours > 0) & (theirs > 0)
            if both.any():
                found.append(np.unique(np.stack([ours[both], theirs[both]], axis=1), axis=0))
    return found


def _merged(sizes: np.ndarray, pairs: list[np.ndarray]) -> np.ndarray:
    if pairs:
        one, other = np.concatenate(pairs).T - 1
        graph = sparse.coo_matrix((np.ones(len(one), bool), (one, other)), shape=(len(sizes),) * 2)
        _, piece = sparse.csgraph.connected_components(graph, directed=False)
        sizes = np.bincount(piece, sizes).astype(np.int64)
    return np.sort(sizes)[::-1]


def in_words(sizes: np.ndarray, voxel_size_angstrom: float) -> str:
    """How many pieces, and how large the largest is."""
    if not len(sizes):
        return "no pieces"
    largest = float(sizes[0]) * voxel_size_angstrom**3
    return f"{len(sizes):,} piece{'s' * (len(sizes) > 1)}, the largest {largest:.3g} Å³"


def share_in_large(sizes: np.ndarray, least: int) -> float:
    """Share of the voxels that lie in pieces of ``least`` voxels or more; NaN where there are none."""
    total = int(sizes.sum())
    return float(sizes[sizes >= least].sum() / total) if total else math.nan
