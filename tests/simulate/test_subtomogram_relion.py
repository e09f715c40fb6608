"""Tilt projections, reconstructions and poses of subtomograms against RELION's own programs."""

import subprocess

import mrcfile
import numpy as np
import pandas as pd
import pytest

from zoo.data.formats.mrc import write_stack, write_volume
from zoo.data.formats.star_blocks import write_star_blocks
from zoo.data.wedge import wedge_mask
from zoo.metrics.fsc import fsc
from zoo.simulate.classes import ClassMaps
from zoo.simulate.embedded import embedded_classes
from zoo.simulate.imaging import TiltImager
from zoo.simulate.poses import draw_poses, euler_of
from zoo.simulate.reconstruct import TiltReconstructor
from zoo.simulate.rotate import Rotator
from zoo.simulate.subtomogram_settings import SubtomogramSettings
from zoo.simulate.subtomograms import simulate_subtomograms
from zoo.simulate.tilt_series import TiltSeries, euler_matrices, views

pytestmark = pytest.mark.relion

BOX, VOXEL = 32, 10.0


def run_relion(command, folder):
    return subprocess.run(command.split(), cwd=folder, check=True, capture_output=True, text=True)


@pytest.fixture(scope="module")
def one_class():
    classes = embedded_classes(BOX)
    return ClassMaps(classes.maps[[2]], classes.voxel_size_angstrom, (classes.names[2],))


def write_views(path, euler, origin_px, names, ctf, box=BOX):
    """A STAR of projections, of which RELION works out its own."""
    optics = {
        "rlnOpticsGroup": [1],
        "rlnOpticsGroupName": ["g"],
        "rlnVoltage": [300.0],
        "rlnSphericalAberration": [2.7],
        "rlnAmplitudeContrast": [0.1],
        "rlnImagePixelSize": [VOXEL],
        "rlnImageSize": [box],
        "rlnImageDimensionality": [2],
    }
    particles = pd.DataFrame(euler, columns=["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"])
    particles["rlnOriginXAngst"], particles["rlnOriginYAngst"] = (origin_px * VOXEL).T
    particles["rlnImageName"] = names
    particles["rlnOpticsGroup"] = 1
    if ctf:
        particles["rlnDefocusU"] = particles["rlnDefocusV"] = 60000.0
        particles["rlnDefocusAngle"] = 0.0
    write_star_blocks(path, {"optics": pd.DataFrame(optics), "particles": particles})


@pytest.mark.parametrize("ctf", [False, True])
def test_tilt_projections_equal_relion_project(one_class, tmp_path, ctf):
    settings = SubtomogramSettings(1, apply_ctf=ctf, phase_flip=False, apply_mtf=False)
    imager = TiltImager(one_class, settings)
    euler, origin = draw_poses(2, 3, 3.0)
    tilts = settings.tilts.matrices()
    ours, all_euler, all_origins = [], [], []
    for angles, shift in zip(euler, origin, strict=True):
        pose = euler_matrices(angles[None])[0]
        ours.append(imager.projections(0, pose, shift))
        matrices, origins = views(tilts, pose, shift)
        all_euler.append(euler_of(matrices))
        all_origins.append(origins)
    ours, all_origins = np.concatenate(ours), np.concatenate(all_origins)
    write_volume(tmp_path / "map.mrc", one_class.maps[0], VOXEL)
    names = [f"{row + 1:06d}@any.mrcs" for row in range(len(ours))]
    write_views(tmp_path / "views.star", np.concatenate(all_euler), all_origins, names, ctf)
    command = f"relion_project --i map.mrc --o theirs --ang views.star --angpix {VOXEL:g}"
    run_relion(command + (" --ctf" if ctf else ""), tmp_path)
    theirs = mrcfile.read(tmp_path / "theirs.mrcs")
    assert ours.shape == theirs.shape == (82, BOX, BOX)
    pairs = zip(ours, theirs, strict=True)
    assert min(np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs) > 0.9999
    assert np.vdot(ours, theirs) / np.vdot(ours, ours) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("range_deg, step_deg", [(60, 3), (40, 2)])
def test_reconstruction_equals_relion_reconstruct(tmp_path, range_deg, step_deg):
    """The same noise-free tilts, reconstructed by RELION, compared where tilts measure."""
    box = 48
    one = ClassMaps(embedded_classes(box, VOXEL).maps[[2]], VOXEL, ("whole",))
    series = TiltSeries(range_deg, step_deg)
    imager = TiltImager(one, SubtomogramSettings(1, tilts=series, apply_ctf=False, apply_mtf=False))
    pose, origin = euler_matrices(np.array([[30.0, 60.0, -20.0]]))[0], np.array([1.5, -2.0, 1.0])
    images = imager.projections(0, pose, origin)
    ours = TiltReconstructor(box, series.angles_deg())(images)
    write_stack(tmp_path / "tilts.mrcs", images, VOXEL)
    angles = series.angles_deg()
    euler = np.stack([0 * angles, angles, 0 * angles], axis=1)
    names = [f"{row + 1:06d}@tilts.mrcs" for row in range(len(angles))]
    write_views(tmp_path / "tilts.star", euler, np.zeros((len(angles), 2)), names, ctf=False, box=box)
    run_relion(f"relion_reconstruct --i tilts.star --o back.mrc --angpix {VOXEL:g}", tmp_path)
    theirs = mrcfile.read(tmp_path / "back.mrc")
    truth = Rotator(one.maps[0])(pose, origin)
    measured = np.fft.ifftshift(wedge_mask(box, -range_deg, range_deg))
    ours, theirs, truth = (np.fft.ifftn(np.fft.fftn(v) * measured).real for v in (ours, theirs, truth))
    assert fsc(ours, theirs)[:21].min() >= 0.98
    # the last shells before Nyquist are where RELION's gridding leaves the truth: ours does not
    assert fsc(ours, truth)[: box // 2].min() >= 0.99
    assert (fsc(ours, truth) >= fsc(theirs, truth)).all()
    # in the same grey units
    assert np.vdot(ours, theirs) / np.vdot(theirs, theirs) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    "options",
    [{"apply_ctf": False, "apply_mtf": False}, {}, {"phase_flip": False}, {"quick": True}],
    ids=["tilts", "phase-flipped CTF", "CTF", "quick"],
)
def test_relion_averages_the_subtomograms_to_the_truth(one_class, tmp_path, options):
    """Poses, origins, file and CTF volume, all as RELION takes them from our STAR file."""
    simulate_subtomograms(one_class, tmp_path / "set", SubtomogramSettings(40, **options))
    command = f"relion_reconstruct --i subtomograms.star --ctf --o back.mrc --angpix {VOXEL:g}"
    run_relion(command, tmp_path / "set")
    back, truth = (mrcfile.read(tmp_path / "set" / name) for name in ("back.mrc", "maps/class_0.mrc"))
    assert fsc(back, truth)[: BOX // 2].min() > 0.97
    assert np.vdot(back, truth) / np.vdot(truth, truth) == pytest.approx(0.95, abs=0.05)
