"""Views of particle images in results, and nothing of them where poses are unknown."""

import csv

import numpy as np

from zoo.data.info import DatasetInfo
from zoo.data.packing.pack_particles import pack_particles
from zoo.data.packing.shards import PackSettings
from zoo.models.outcome import Results
from zoo.simulate.embedded import embedded_classes
from zoo.simulate.particles import simulate_particles
from zoo.simulate.settings import ParticleSettings
from zoo.training.results import write_results


def test_views_of_each_map_are_written_where_poses_are_known(tmp_path):
    classes = embedded_classes(16)
    settings = ParticleSettings(count=150, sigma=0, preferred_share=0.9)
    star = simulate_particles(classes, tmp_path / "set", settings).star
    pack_particles(star, tmp_path / "packed", PackSettings(box=16), processes=1)
    info = DatasetInfo.load(tmp_path / "packed")
    table = info.load_table()
    poses = {
        f"rlnAngle{name}": np.asarray(table[f"{name.lower()}_deg"], float) for name in ("Rot", "Tilt", "Psi")
    }
    maps = {f"class_{k + 1}": density for k, density in enumerate(classes.maps)}
    halves = {"class_1": np.stack([classes.maps[0]] * 2)}
    found = Results(maps=maps, half_maps=halves, classes=np.asarray(table["label"]), columns=poses)
    lines = write_results(found, info, tmp_path / "results")
    told = [line for line in lines if "views are uneven" in line]
    assert [line.split(": ")[1] for line in told] == list(maps)
    with open(tmp_path / "results" / "views.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["map"], row["particles"]) for row in rows] == [(name, "150") for name in maps]
    assert all(float(row["share_within_20_deg"]) > 0.7 for row in rows)
    assert (tmp_path / "results" / "views.png").is_file()
    without = Results(maps=maps, classes=np.asarray(table["label"]))
    assert not [line for line in write_results(without, info, tmp_path / "other") if "views" in line]
    assert not (tmp_path / "other" / "views.csv").exists()
