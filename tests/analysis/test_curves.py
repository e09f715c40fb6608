"""FSC curves as files: every row says between what the FSC is."""

import csv

import numpy as np

from zoo.analysis.curves import write_fsc


def test_a_table_of_curves_says_between_what_they_are(tmp_path):
    curves = {"class_1": np.array([1.0, 0.9, 0.5, 0.1]), "class_2": np.array([1.0, 0.8, 0.2, -0.1])}
    write_fsc(curves, 320.0, tmp_path, "independent half sets")
    with open(tmp_path / "fsc.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["fsc_between"] for row in rows] == ["independent half sets"] * 3
    assert [float(row["class_2"]) for row in rows] == [0.8, 0.2, -0.1]
    assert [float(row["frequency_per_angstrom"]) for row in rows] == [0.003125, 0.00625, 0.009375]
    assert (tmp_path / "fsc.png").stat().st_size > 1000
