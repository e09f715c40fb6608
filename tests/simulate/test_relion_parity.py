"""Simulated sets against RELION's own projections and reconstructions of the same maps."""

import subprocess

import mrcfile
import numpy as np
import pytest

from zoo.metrics.fsc import fsc
from zoo.simulate.classes import ClassMaps
from zoo.simulate.embedded import embedded_classes
from zoo.simulate.gather import gather_classes
from zoo.simulate.particles import simulate_particles
from zoo.simulate.settings import ParticleSettings

pytestmark = pytest.mark.relion


def run_relion(command, folder):
    return subprocess.run(command.split(), cwd=folder, check=True, capture_output=True, text=True)


def simulate_one_class(classes, label, folder, **settings):
    one = ClassMaps(classes.maps[[label]], classes.voxel_size_angstrom, (classes.names[label],))
    simulate_particles(one, folder, ParticleSettings(**settings))
    return mrcfile.read(folder / "particles.mrcs")


def correlations(a, b):
    return np.array([np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(a, b, strict=True)])


@pytest.mark.parametrize("ctf", [True, False])
def test_images_equal_relion_project(tmp_path, ctf):
    classes = embedded_classes(32)
    ours = simulate_one_class(
        classes, 2, tmp_path / "set", count=100, sigma=0, shift_max_px=3, apply_ctf=ctf, seed=3
    )
    command = "relion_project --i maps/class_0.mrc --o theirs --ang particles.star --angpix 10"
    run_relion(command + (" --ctf" if ctf else ""), tmp_path / "set")
    theirs = mrcfile.read(tmp_path / "set" / "theirs.mrcs")
    assert correlations(ours, theirs).min() > 0.9999
    # and in the same grey units
    assert np.vdot(ours, theirs) / np.vdot(ours, ours) == pytest.approx(1, abs=1e-3)


@pytest.mark.shared_data
def test_images_of_a_real_map_equal_relion_project(tmp_path, shared_data):
    classes = gather_classes([shared_data / "maps" / "clean70s_ribosome_65.mrc"], [], 64, 5.0)
    ours = simulate_one_class(classes, 0, tmp_path / "set", count=40, sigma=0, shift_max_px=5)
    command = "relion_project --i maps/class_0.mrc --o theirs --ang particles.star --ctf --angpix 5"
    run_relion(command, tmp_path / "set")
    assert correlations(ours, mrcfile.read(tmp_path / "set" / "theirs.mrcs")).min() > 0.999


@pytest.mark.parametrize("ctf", [True, False])
def test_relion_reconstructs_the_map(tmp_path, ctf):
    simulate_one_class(
        embedded_classes(32), 2, tmp_path / "set", count=1500, sigma=0, shift_max_px=2, apply_ctf=ctf
    )
    command = "relion_reconstruct --i particles.star --o back.mrc --angpix 10"
    run_relion(command + (" --ctf" if ctf else ""), tmp_path / "set")
    back, truth = (mrcfile.read(tmp_path / "set" / name) for name in ("back.mrc", "maps/class_0.mrc"))
    curve = fsc(back, truth)
    assert curve[:16].min() > 0.97
    assert curve[16] > 0.9


def test_relion_takes_class_and_half_set_from_the_file(tmp_path):
    """The class maps come back one by one, and a half set, out of a set with noise and several classes."""
    classes = embedded_classes(32)
    settings = ParticleSettings(600, sigma=0.5, shift_max_px=1)
    simulate_particles(classes, tmp_path / "set", settings)
    command = "relion_reconstruct --i particles.star --ctf --angpix 10"
    for label in range(3):
        run_relion(f"{command} --o c{label}.mrc --class {label + 1}", tmp_path / "set")
    run_relion(f"{command} --o half.mrc --subset 1", tmp_path / "set")
    back = [mrcfile.read(tmp_path / "set" / f"c{label}.mrc") for label in range(3)]
    truth = [mrcfile.read(tmp_path / "set" / "maps" / f"class_{label}.mrc") for label in range(3)]
    table = [[np.corrcoef(a.ravel(), b.ravel())[0, 1] for b in truth] for a in back]
    assert np.argmax(table, axis=1).tolist() == [0, 1, 2]
    for label in range(3):
        assert fsc(back[label], truth[label])[:10].min() > 0.9
    assert fsc(mrcfile.read(tmp_path / "set" / "half.mrc"), np.mean(truth, axis=0))[:8].min() > 0.9
