"""Averages and their classes against what is known of simulated data."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from zoo.analysis.truth import match_truth, read_truths, truth_folder
from zoo.files import whole_file
from zoo.metrics.classification import classify_by_label


@dataclass(frozen=True)
class ClassTruth:
    """What a class, counted from 1, stands for; None where that is not known.

    ``true_map`` is the file of its label's map, or of the one that it resembles most; correlation with it
    after alignment, and where their FSC falls to 0.5, in Å and in voxels of the map.
    """

    number: int
    label: int | None = None
    f1: float | None = None
    true_map: str | None = None
    correlation: float | None = None
    fsc_half_angstrom: float | None = None
    fsc_half_pixels: float | None = None

    def line(self) -> str:
        """For a person."""
        parts = []
        if self.label is not None:
            parts.append(f"label {self.label}, F1 {self.f1:.3f}")
        if self.true_map is not None:
            parts.append(f"correlation {self.correlation:.3f} with {self.true_map}")
            parts.append(
                f"FSC 0.5 against truth at {self.fsc_half_angstrom:.1f} Å ({self.fsc_half_pixels:.2f} px)"
            )
        return f"class {self.number}: {', '.join(parts) or 'stands for no label, and its map is empty'}"


def compare_classes(
    maps, classes, labels, source, voxel_size_angstrom: float, mirrored: bool = False
) -> list[ClassTruth]:
    """One ``ClassTruth`` for each of ``maps (k, n, n, n)``; empty where nothing is known.

    classes ``(n,)`` from 0 and labels ``(n,)``, < 0 where unknown, of all records; ``source``: the file
    they were packed from, beside which zoo-simulate left ``maps/``. A tomogram tells hands apart, projections
    do not: with ``mirrored`` a map may match in either hand. Raises ZooError for true maps of another extent.
    """
    labels = np.asarray(labels)
    scores = classify_by_label(labels, classes) if (labels >= 0).any() else None
    folder = truth_folder(source)
    if scores is None and folder is None:
        return []
    truths = None
    if folder is not None:
        names, truths = read_truths(folder, maps[0].shape[-1], voxel_size_angstrom)
    found = []
    for k, volume in enumerate(maps):
        label = None if scores is None else scores.label_of.get(k)
        known = {} if label is None else {"label": label, "f1": scores.f1[label]}
        if truths is not None and np.ptp(volume) > 0:
            likely = [label] if label is not None and label < len(truths) else None
            match = match_truth(volume, truths, names, voxel_size_angstrom, likely, allow_mirror=mirrored)
            known.update(true_map=match.name, correlation=match.correlation)
            known.update(fsc_half_angstrom=match.angstrom, fsc_half_pixels=match.pixels)
        found.append(ClassTruth(k + 1, **known))
    return found


def write_truth(found: list[ClassTruth], path: str | Path) -> None:
    """``found`` as CSV, with nothing in the columns that are not known."""
    with whole_file(path, "w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(ClassTruth)])
        writer.writeheader()
        for each in found:
            writer.writerow({name: _as_text(value) for name, value in asdict(each).items()})


def _as_text(value):
    return f"{value:.4f}" if isinstance(value, float) else value
