"""A motion in ten steps: are its coordinates found, and are the maps along it right?

The two modules of the embedded complex turn together by 45 degrees about a hinge, --count particles at each
of ten steps, σ = 1, 32 px of 10 Å. Poses are the true ones (--poses true), or those that a run with one class
finds (--poses found: zoo-train --model abinitio3d --set classes=1, minutes). Then zoo-infer variability:
printed are the rank correlation of the first coordinate with the step, and FSC 0.5 of each map against
the nearest step.

    python benchmarks/variability.py [--count 900] [--poses true] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation
from scipy.stats import spearmanr

from zoo.analysis.choose_rows import Particles
from zoo.analysis.truth import match_truth
from zoo.data.formats.mrc import read_volume
from zoo.data.particles import read_particles
from zoo.simulate.classes import ClassMaps
from zoo.simulate.embedded import embedded_beads, splat
from zoo.simulate.particles import simulate_particles
from zoo.simulate.settings import ParticleSettings

BOX, PIXEL, STEPS, TURN_DEG = 32, 10.0, 10, 45.0
HINGE_ANGSTROM, AXIS = np.array([23.0, 11.5, 11.5]), np.array([0.6, -0.7, 0.4])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=900, help="particles at each step")
    parser.add_argument("--poses", choices=("true", "found"), default="true")
    parser.add_argument("--seed", type=int, default=1, help="of the run that finds poses")
    parser.add_argument("--keep", type=Path, help="folder for what is made; a temporary one by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(options, options.keep or Path(folder))


def morph() -> ClassMaps:
    """Ten maps, the steps of the motion."""
    (core, core_weight), *modules = embedded_beads()
    beads = np.concatenate([xyz for xyz, _ in modules])
    weight = np.concatenate([weight for _, weight in modules])
    sigma = 0.9 * PIXEL
    still = splat(core, core_weight, sigma, BOX, PIXEL)
    maps = []
    for turn in np.radians(np.linspace(-TURN_DEG / 2, TURN_DEG / 2, STEPS)):
        rotation = Rotation.from_rotvec(AXIS / np.linalg.norm(AXIS) * turn)
        moved = rotation.apply(beads - HINGE_ANGSTROM) + HINGE_ANGSTROM
        maps.append(still + splat(moved, weight, sigma, BOX, PIXEL))
    maps = np.array(maps, np.float32)
    return ClassMaps(maps / maps.max(), PIXEL, tuple(f"step_{k}" for k in range(STEPS)))


def measure(options, folder: Path) -> None:
    """Simulate, find poses if asked for, find components, compare."""
    classes = morph()
    settings = ParticleSettings(options.count, sigma=1.0, shift_max_px=1.5, seed=0)
    star = simulate_particles(classes, folder / "set", settings).star
    place = star
    if options.poses == "found":
        place = folder / "run"
        run("zoo-pack", star, folder / "records", "--box", BOX)
        run("zoo-train", "--model", "abinitio3d", "--data", folder / "records", "--set", "classes=1",
            "--seed", options.seed, "--out", place)  # fmt: skip
    out = folder / "motion"
    run("zoo-infer", "variability", place, "--out", out)
    table = read_particles(out / "particles.star")
    latent = Particles(str(out), table, table.source_row, table.uid).column("zooLatent0").astype(float)
    rank = spearmanr(latent, table.label).statistic
    print(f"rank correlation of the first coordinate with the step: {rank:.3f}")
    for frame in json.loads((out / "variability.json").read_text())["components"][0]["series"]:
        found = match_truth(read_volume(out / frame["file"])[0], classes.maps, classes.names, PIXEL)
        print(f"{frame['file']}: nearest {found.name}, FSC 0.5 at {found.pixels:.2f} px", flush=True)


def run(*words) -> None:
    """A command of the zoo; ends here where it fails."""
    subprocess.run([str(word) for word in words], check=True)


if __name__ == "__main__":
    main()
