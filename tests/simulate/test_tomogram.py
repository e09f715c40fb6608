"""Tomograms: what lies where, and that the boxes at the places told hold the particles told."""

import numpy as np
import pytest

from zoo.data.formats.coordinates import read_coordinates
from zoo.data.formats.mrc import read_volume
from zoo.data.formats.volumes import VolumeReader
from zoo.data.subtomograms import read_subtomograms
from zoo.data.wedge import wedge_mask
from zoo.errors import ZooError
from zoo.metrics.fsc import fsc
from zoo.simulate.embedded import embedded_classes
from zoo.simulate.project import Projector
from zoo.simulate.rotate import Rotator
from zoo.simulate.slab import back_project, project_slab
from zoo.simulate.specimen import build_specimen
from zoo.simulate.subtomogram_settings import SubtomogramSettings
from zoo.simulate.tilt_series import TiltSeries, euler_matrices
from zoo.simulate.tomogram import simulate_tomogram
from zoo.simulate.tomogram_settings import TomogramSettings


@pytest.fixture(scope="module")
def classes():
    return embedded_classes(24)


@pytest.fixture(scope="module")
def settings():
    imaging = SubtomogramSettings(5, snr=2.0, apply_ctf=False, apply_mtf=False, seed=3)
    return TomogramSettings(imaging, (128, 96, 40), membranes=1, fiducials=2)


@pytest.fixture(scope="module")
def written(classes, settings, tmp_path_factory):
    out = tmp_path_factory.mktemp("tomogram") / "set"
    return out, simulate_tomogram(classes, out, settings)


def test_slab_projections_are_those_of_the_projector():
    """Which in turn are RELION's."""
    density, series = embedded_classes(48, 10.0).maps[2], TiltSeries(60, 6)
    ours = project_slab(density, series.angles_deg())
    theirs = Projector(density, 10.0).project(series.matrices())
    pairs = zip(ours, theirs, strict=True)
    assert min(np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs) > 0.9999
    assert np.vdot(ours, theirs) / np.vdot(theirs, theirs) == pytest.approx(1, abs=0.01)


def test_a_slab_is_projected_as_the_cube_around_it():
    rng = np.random.default_rng(0)
    slab = rng.normal(size=(12, 10, 40)).astype(np.float32)
    cube = np.zeros((40, 10, 40), np.float32)
    cube[14:26] = slab
    angles = TiltSeries(60, 20).angles_deg()
    thin, thick = project_slab(slab, angles), project_slab(cube, angles)
    # white noise is the hardest case for interpolation: it has detail up to Nyquist everywhere
    assert np.linalg.norm(thin - thick) < 0.02 * np.linalg.norm(thick)
    np.testing.assert_allclose(project_slab(slab, np.zeros(1))[0], slab.sum(0), atol=1e-4)


def test_back_projection_gives_what_was_measured():
    density, series = embedded_classes(48, 10.0).maps[2], TiltSeries(60, 3)
    volume = back_project(project_slab(density, series.angles_deg()), series.angles_deg(), 48)
    measured = np.fft.ifftshift(wedge_mask(48, -60, 60))
    ours, truth = (np.fft.ifftn(np.fft.fftn(v) * measured).real for v in (volume, density))
    assert fsc(ours, truth)[:17].min() > 0.98
    assert np.vdot(ours, truth) / np.vdot(truth, truth) == pytest.approx(1, abs=0.05)
    power = np.abs(np.fft.fftn(volume)) ** 2
    unmeasured = np.fft.ifftshift(1 - wedge_mask(48, -66, 66)) > 0
    assert power[unmeasured].sum() < 0.03 * power.sum()
    thin = back_project(project_slab(density, series.angles_deg()), series.angles_deg(), 20)
    np.testing.assert_allclose(thin, volume[14:34], atol=1e-5)


def test_particles_do_not_overlap(classes, settings):
    specimen = build_specimen(classes, settings)
    assert len(specimen.particle_class) >= 12
    matrices = euler_matrices(specimen.euler_deg)
    count = np.zeros(specimen.density.shape, int)
    rotators = [Rotator(density) for density in classes.maps]
    for kind, matrix, centre in zip(specimen.particle_class, matrices, specimen.centre_voxel, strict=True):
        middle = np.rint(centre).astype(int)
        volume = rotators[kind](matrix, middle - centre)
        corner = (middle - 12)[::-1]
        at = tuple(slice(start, start + 24) for start in corner)
        count[at] += volume > 0.1 * classes.maps[kind].max()
        # and what is there is this particle
        body = volume > 0.1 * classes.maps[kind].max()
        assert np.corrcoef(specimen.density[at][body], volume[body])[0, 1] > 0.95
    assert count.max() == 1
    assert not (count.astype(bool) & (specimen.labels > 3)).any()  # nor with membrane and beads
    assert set(np.unique(specimen.labels)) == {0, 1, 2, 3, 4, 5}
    beads = specimen.density[specimen.labels == 5]
    assert beads.mean() > 3 * specimen.density[(specimen.labels > 0) & (specimen.labels < 4)].mean()


def test_boxes_cut_at_the_places_hold_the_particles_in_their_poses(classes, written):
    out, result = written
    table = read_coordinates(out / "particles.star", str(result.tomogram))
    boxes = VolumeReader(table, 24).read(slice(None))
    measured = np.fft.ifftshift(wedge_mask(24, -60, 60))
    matrices = euler_matrices(table.euler_deg())
    origins = table.shift_angstrom() / classes.voxel_size_angstrom

    def correlations(matrices, origins, labels):
        values = []
        for box, matrix, origin, label in zip(boxes, matrices, origins, labels, strict=True):
            posed = Rotator(classes.maps[label])(matrix, origin)
            posed = np.fft.ifftn(np.fft.fftn(posed) * measured).real
            values.append(np.corrcoef(box.ravel(), posed.ravel())[0, 1])
        return np.mean(values)

    right = correlations(matrices, origins, table.label)
    assert right > 0.4  # with noise, and neighbours in the box
    # wrong in any one of these it is less
    assert correlations(matrices.transpose(0, 2, 1), origins, table.label) < 0.7 * right
    assert correlations(matrices, origins + [0, 0, 2], table.label) < 0.85 * right
    assert correlations(matrices, -origins, table.label) < right
    assert correlations(matrices, origins, (table.label + 1) % 3) < 0.97 * right


def test_files_of_a_tomogram(classes, settings, written, tmp_path):
    out, result = written
    names = {path.name for path in out.iterdir()}
    assert names == {"tomogram.mrc", "particles.star", "tilts.mrcs", "tilts.rawtlt", "clean.mrc",
                     "labels.mrc", "labels.names.txt", "maps", "simulation.json"}  # fmt: skip
    tomogram, voxel = read_volume(result.tomogram)
    assert tomogram.shape == (40, 96, 128) and voxel == pytest.approx(classes.voxel_size_angstrom)
    tilts = read_volume(out / "tilts.mrcs")[0]
    assert tilts.shape == (41, 96, 128)
    assert np.loadtxt(out / "tilts.rawtlt").tolist() == list(range(-60, 61, 3))
    # SNR of the projections: 2 parts signal, 1 part noise of variance 1
    assert tilts.var(axis=(1, 2)).mean() == pytest.approx(3, rel=0.05)
    assert sum(result.placed) == len(read_coordinates(out / "particles.star", str(result.tomogram)))
    again = simulate_tomogram(classes, tmp_path / "again", settings)
    assert (tmp_path / "again" / "tomogram.mrc").read_bytes()[1024:] == result.tomogram.read_bytes()[1024:]
    assert again.placed == result.placed
    with pytest.raises(ZooError, match="holds tomogram.mrc already"):
        simulate_tomogram(classes, tmp_path / "again", settings)


def test_half_sets_share_out_every_class(written):
    table = read_subtomograms(written[1].star, written[1].tomogram)
    for label in np.unique(table.label):
        halves = table.random_subset[table.label == label]
        first, second = (int((halves == half).sum()) for half in (1, 2))
        assert 0 <= first - second <= 1, (label, first, second)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size_voxels": (96, 81, 40)}, "--size 96 81 40: expected three even numbers"),
        ({"size_voxels": (40, 96, 96)}, "thicker"),
        ({"membranes": -1}, "--membranes -1"),
        ({"fiducials": -1}, "--fiducials -1"),
        ({"attempts": 0}, "--attempts 0"),
        ({"imaging": SubtomogramSettings(1, quick=True)}, "no --quick"),
    ],
)
def test_settings_that_cannot_be(options, words):
    with pytest.raises(ZooError, match=words):
        TomogramSettings(**{"imaging": SubtomogramSettings(1)} | options)


def test_a_slab_thinner_than_a_particle(classes, settings):
    thin = TomogramSettings(settings.imaging, (96, 96, 20))
    with pytest.raises(ZooError, match="--size 96 96 20: the particles' box has 24 voxels"):
        build_specimen(classes, thin)
