"""What a finished run of ``faml`` or ``fa`` found: maps, half maps, pose and class of each subtomogram."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from keras import ops

from zoo.models.outcome import Results, pose_columns


def results_of(model, batches: Iterable[Mapping[str, Any]], align: Callable) -> Results:
    """The results of ``model``; ``align(batch)`` is its compiled alignment, NumPy arrays out."""
    rows = []
    for batch in batches:
        half = {"half": ops.convert_to_numpy(model.half_of(batch))}
        rows.append({**align(batch), **half})
    found = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    maps, halves, curves = (
        ops.convert_to_numpy(part) for part in (model.average_maps(), model.half_maps(), model.fsc)
    )
    names = [f"class_{k + 1}" for k in range(model.classes)]
    counts = np.bincount(found["class"], minlength=model.classes)
    sizes = ", ".join(f"class {k + 1}: {count}" for k, count in enumerate(counts))
    return Results(
        maps=dict(zip(names, maps, strict=True)),
        half_maps={name: halves[:, k] for k, name in enumerate(names)},
        fsc=dict(zip(names, curves, strict=True)),
        columns=pose_columns(found, found["half"]),
        classes=found["class"],
        lines=[f"{sizes} subtomograms"],
    )
