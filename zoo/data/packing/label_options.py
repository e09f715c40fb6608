"""Boxes of a tomogram whose voxels are labelled: what is asked of such a set, and places on a grid for it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from zoo.data.formats.label_volume import LabelVolume, parse_label_names
from zoo.data.formats.tomogram_blocks import TomogramBlocks
from zoo.errors import ZooError
from zoo.files import whole_file

PLACES_NAME = "places.csv"


def open_labels(path: str, tomogram: str | None, names: str | None, pose_normalise: bool) -> LabelVolume:
    """The labels of a tomogram's voxels; ``names`` is what ``--label-names`` says.

    Raises ZooError where they cannot be cut with the boxes, and as `LabelVolume` does.
    """
    if tomogram is None:
        raise ZooError(f"--labels {path}: are those of a tomogram's voxels; give --tomogram")
    if pose_normalise:
        raise ZooError(
            f"--labels {path}: labels cannot be turned with their boxes; leave --pose-normalise out"
        )
    return LabelVolume(path, TomogramBlocks(tomogram), None if names is None else parse_label_names(names))


def describe_labels(labels: LabelVolume) -> str:
    """What is in the labels, for a person."""
    shares = 100 * labels.counts / labels.counts.sum()
    parts = [f"{number} {name} {share:.2g} %" for number, (name, share) in
             enumerate(zip(labels.names, shares, strict=True))]  # fmt: skip
    return f"voxels of {labels.path}: {', '.join(parts)}"


def contrast_of(labels: LabelVolume) -> dict | None:
    """How the sign was found, as `find_contrast` tells it; None where nothing is background."""
    if not labels.contrast_sign:
        return None
    word = "bright (+1)" if labels.contrast_sign > 0 else "dark (-1)"
    words = f"what is labelled is {word}, by the mean of its voxels"
    return {"sign": labels.contrast_sign, "found": "labels", "stated": None, "words": words, "doubt": ""}


def write_grid(out: Path, tomogram: str, box: int, every: int, notes: Callable[[str], None]) -> str:
    """Write places of boxes that cover a tomogram, one every so many voxels, as ``places.csv``; its path.

    The last box along an axis ends with the tomogram. Raises ZooError for a box larger than the tomogram.
    """
    shape = TomogramBlocks(tomogram).shape
    if every < 1:
        raise ZooError(f"--every {every}: expected 1 voxel or more")
    if box > min(shape):
        given = " x ".join(str(side) for side in shape[::-1])
        raise ZooError(f"{tomogram}: {given} voxels: boxes of {box} are larger; give a smaller --box")
    axes = []
    for size in shape:
        count = math.ceil((size - box) / every) + 1
        axes.append(np.unique(np.rint(np.linspace(0, size - box, count)).astype(int)) + box // 2)
    places = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)[:, ::-1]
    out.mkdir(parents=True, exist_ok=True)
    with whole_file(out / PLACES_NAME, "w") as file:
        file.write("x,y,z\n")
        file.writelines(f"{x},{y},{z}\n" for x, y, z in places.tolist())
    notes(f"{len(places)} boxes of {box} voxels, every {every}, cover the tomogram")
    return os.fspath(out / PLACES_NAME)
