"""How well found voxels cover true ones: intersection over union and Dice, for each class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zoo.errors import ZooError


def overlap_counts(found, true, classes: int) -> dict[str, np.ndarray]:
    """Voxels of each class (classes,) that are ``found``, ``true``, and ``both``; counts of parts add up.

    ``found`` and ``true`` are classes, whole numbers of any one shape. Raises ZooError where shapes differ.
    """
    found, true = np.asarray(found), np.asarray(true)
    if found.shape != true.shape:
        raise ZooError(f"classes of shape {found.shape} against {true.shape}: expected one of each a voxel")
    counts = {"found": found, "true": true, "both": true[found == true]}
    return {name: np.bincount(one.ravel(), minlength=classes)[:classes] for name, one in counts.items()}


def intersection_over_union(found, true, both) -> np.ndarray:
    """(k,) both / (found + true - both) of counts (k,); NaN for a class that is neither found nor true."""
    found, true, both = (np.asarray(counts, np.float64) for counts in (found, true, both))
    return _share(both, found + true - both)


def dice(found, true, both) -> np.ndarray:
    """(k,) 2 both / (found + true) of counts (k,); NaN for a class that is neither found nor true."""
    found, true, both = (np.asarray(counts, np.float64) for counts in (found, true, both))
    return _share(2 * both, found + true)


def overlap_figures(found, true, both, names: Sequence[str]) -> dict[str, float]:
    """``iou_NAME`` and ``dice_NAME`` of each class that there is in truth; of counts (k,) and k names."""
    measures = {"iou": intersection_over_union(found, true, both), "dice": dice(found, true, both)}
    return {
        f"{measure}_{name}": float(values[number])
        for measure, values in measures.items()
        for number, name in enumerate(names)
        if true[number] > 0
    }


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
