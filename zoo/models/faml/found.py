"""What a finished run of ``faml`` or ``fa`` found: maps, half maps, pose and class of each subtomogram."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from keras import ops

from zoo.errors import ZooError
from zoo.metrics.snr import AlignedSets
from zoo.metrics.symmetry import find_symmetry_axis, symmetry_score
from zoo.models.faml.config import fold_of
from zoo.models.faml.figures import fsc_kind, resolutions
from zoo.models.outcome import Results, pose_columns


def results_of(model, batches: Iterable[Mapping[str, Any]], align: Callable) -> Results:
    """The results of ``model``; ``align(batch)`` is its compiled alignment, NumPy arrays out.

    Poses and classes are those in the average of a subtomogram's own half set, where these are independent.
    """
    rows, sets = [], AlignedSets(model.box, model.classes)
    for batch in batches:
        half = ops.convert_to_numpy(model.half_of(batch))
        rows.append({**align({**batch, "half_set": half}), "half": half})
        poses = (rows[-1][name] for name in ("rotation", "shift_voxels", "class"))
        sets.add(batch["volume"][..., 0], batch["wedge"], *poses)
    found = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    maps, halves, curves = (
        ops.convert_to_numpy(part) for part in (model.average_maps(), model.half_maps(), model.fsc)
    )
    names = [f"class_{k + 1}" for k in range(model.classes)]
    counts = np.bincount(found["class"], minlength=model.classes)
    sizes = ", ".join(f"class {k + 1}: {count}" for k, count in enumerate(counts))
    measured = [measures_of(model, volume, sets.snr(k)) for k, volume in enumerate(maps)]
    kind = fsc_kind(model)
    return Results(
        maps=dict(zip(names, maps, strict=True)),
        half_maps={name: halves[:, k] for k, name in enumerate(names)},
        fsc=dict(zip(names, curves, strict=True)),
        columns=pose_columns(found, found["half"]),
        classes=found["class"],
        measures={name: each for name, each in zip(names, measured, strict=True) if each},
        fsc_kind=kind,
        lines=[f"{sizes} subtomograms", *resolutions(model, kind), *_lines(measured)],
    )


def measures_of(model, volume: np.ndarray, snr) -> dict[str, float]:
    """SNR of a class's aligned subtomograms (`PairSnr` or None) and the symmetry of its average, by name."""
    found = {}
    if snr is not None:
        found = {"snr": snr.snr, "snr_error": snr.standard_error, "snr_pairs": float(snr.pairs)}
    imposed, asked = fold_of(model.config["symmetry"]), model.config["measure_symmetry"]
    try:
        if asked:
            fold = fold_of(asked)
            axis = find_symmetry_axis(volume, fold)
            found |= {"symmetry_fold": float(fold), "symmetry": axis.score}
            found |= {f"axis_{name}": value for name, value in zip("xyz", axis.direction, strict=True)}
        elif imposed > 1:
            found |= {"symmetry_fold": float(imposed), "symmetry": symmetry_score(volume, imposed)}
    except ZooError:  # the average of an empty class is constant
        pass
    return found


def _lines(measured: list[dict[str, float]]) -> list[str]:
    lines = []
    for k, each in enumerate(measured, start=1):
        if "snr" in each:
            lines.append(
                f"class {k}: SNR {each['snr']:.3g} of its subtomograms at these poses "
                f"({each['snr_pairs']:,.0f} pairs, what both observed)"
            )
        if "symmetry" in each:
            about = "its best axis" if "axis_x" in each else "z, where it was imposed"
            lines.append(
                f"class {k}: {each['symmetry_fold']:.0f}-fold symmetry {each['symmetry']:.2f} about {about}"
            )
    return lines
