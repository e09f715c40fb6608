"""GroEL against GroEL-GroES without references: a small form of what docs/results.md reports."""

import csv

import pytest

from zoo.simulate.gather import gather_classes, structure_sources
from zoo.simulate.subtomogram_settings import SubtomogramSettings
from zoo.simulate.subtomograms import simulate_subtomograms
from zoo.simulate.tilt_series import TiltSeries
from zoo.training.job import train
from zoo.training.settings import TrainSettings

pytestmark = [pytest.mark.shared_data, pytest.mark.slow]


def test_two_alike_structures_are_parted_and_averaged(shared_data, tmp_path):
    """Behind a ±65° wedge at SNR 0.05, 60 of each; CTF and detector on the way."""
    structures = [shared_data / "structures" / name for name in ("1mnf.pdb.gz", "1aon.pdb.gz")]
    classes = gather_classes([], structure_sources(structures), 32, 12.0)
    settings = SubtomogramSettings(60, snr=0.05, tilts=TiltSeries(65, 3), seed=3)
    simulate_subtomograms(classes, tmp_path / "set", settings, records=tmp_path / "packed")
    options = {"epochs": 10, "seed": 3, "strategy": "one", "overrides": {"classes": "2"}}
    run, code = train(TrainSettings("faml", tmp_path / "packed", out=tmp_path / "run", **options))
    assert code == 0
    with open(run.path / "results" / "truth.csv", newline="") as file:
        found = list(csv.DictReader(file))
    assert sorted(row["label"] for row in found) == ["0", "1"]
    for row in found:
        assert float(row["f1"]) > 0.95, found
        assert float(row["correlation"]) > 0.85, found
