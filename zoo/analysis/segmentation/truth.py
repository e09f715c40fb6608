"""What a person knows of a tomogram that is segmented: its true labels, and where to look."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from zoo.analysis.segmentation.grey_values import GreyValues
from zoo.data.formats.coordinates import read_coordinates
from zoo.data.formats.label_volume import LabelVolume, parse_label_names
from zoo.data.formats.tomogram_blocks import TomogramBlocks
from zoo.errors import ZooError


def places_in(
    path: str | os.PathLike, tomogram: TomogramBlocks, voxel_size_angstrom: float, tomogram_name: str | None
) -> np.ndarray:
    """Places (n, 3) xyz in voxels of a tomogram; ZooError where a file has none inside it."""
    table = read_coordinates(path, tomogram.path, voxel_size_angstrom, tomogram_name)
    places = table.coordinates_voxel()
    inside = ((places >= 0) & (places < np.array(tomogram.shape[::-1]))).all(axis=1)
    if not inside.any():
        size = " x ".join(str(side) for side in tomogram.shape[::-1])
        raise ZooError(f"{path}: none of its {len(places)} places lies in the tomogram of {size} voxels")
    return places[inside]


def true_labels(
    path: str | os.PathLike,
    grey: GreyValues,
    tomogram: TomogramBlocks,
    class_names: Sequence[str],
    label_names: str | None,
) -> LabelVolume:
    """True labels as the model's classes, matched by name.

    Raises ZooError for a rescaled tomogram, a name that the model does not know, and as `LabelVolume` does.
    """
    if grey.shape != tomogram.shape:
        raise ZooError(f"{path}: true labels cannot be rescaled; leave out --truth, or --rescale")
    labels = LabelVolume(path, tomogram, None if label_names is None else parse_label_names(label_names))
    unknown = [name for name in labels.names if name not in class_names]
    if unknown:
        raise ZooError(
            f"{path}: the model knows no {unknown[0]}, but {', '.join(class_names)}; name the labels with "
            "--label-names (the same name may stand for several)"
        )
    order = np.array([list(class_names).index(name) for name in labels.names])
    labels.numbers = order[labels.numbers]
    labels.names = tuple(class_names)
    return labels
