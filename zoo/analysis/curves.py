"""FSC curves as a table and a figure."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from zoo.files import whole_file, whole_path


def write_fsc(
    curves: Mapping[str, np.ndarray],
    edge_angstrom: float,
    folder: Path,
    kind: str = "half sets",
    threshold: float = 0.143,
) -> None:
    """FSC curves (s,) from shell 0 on, of a box of ``edge_angstrom``: fsc.csv and fsc.png, with ``kind``.

    ``kind`` says between what the FSC is; fsc.csv has it in the column ``fsc_between`` of every row. The
    figure has a line at ``threshold``.
    """
    from matplotlib.figure import Figure

    names, values = list(curves), np.stack(list(curves.values()))[:, 1:]
    shells = np.arange(1, values.shape[1] + 1)
    frequency = shells / edge_angstrom
    with whole_file(folder / "fsc.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["shell", "frequency_per_angstrom", *names, "fsc_between"])
        for shell, where, row in zip(shells, frequency, values.T, strict=True):
            writer.writerow([shell, f"{where:.6g}", *(f"{value:.6g}" for value in row), kind])
    figure = Figure(figsize=(5, 3.5), layout="constrained")
    axes = figure.add_subplot()
    for name, curve in zip(names, values, strict=True):
        axes.plot(frequency, curve, label=name.replace("_", " "))
    axes.axhline(threshold, color="grey", linewidth=0.8)
    axes.set(xlabel="spatial frequency (1/Å)", ylabel="FSC", ylim=(-0.1, 1.02))
    axes.set_title(f"FSC of {kind}", fontsize=8, wrap=True)
    axes.legend()
    with whole_path(folder / "fsc.png") as partial:
        figure.savefig(partial, format="png", dpi=150)
