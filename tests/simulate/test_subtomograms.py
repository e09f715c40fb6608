"""Subtomograms: signal to noise, the wedge, poses and files, against what was asked for."""

import json

import numpy as np
import pytest
from scipy import ndimage

from zoo.data.formats.mrc import read_volume
from zoo.data.formats.star_blocks import read_star_blocks
from zoo.data.info import DatasetInfo
from zoo.data.packing.pack_subtomograms import OWN_BOX, pack_subtomograms
from zoo.data.packing.shards import PackSettings
from zoo.data.records.numpy_subtomograms import sequential_arrays
from zoo.data.subtomograms import read_subtomograms
from zoo.data.wedge import wedge_mask
from zoo.errors import ZooError
from zoo.simulate.classes import ClassMaps
from zoo.simulate.embedded import embedded_classes, embedded_maps
from zoo.simulate.imaging import make_imager
from zoo.simulate.poses import draw_poses, principal_axis, turn_onto
from zoo.simulate.reconstruct import TiltReconstructor, full_transform
from zoo.simulate.rotate import Rotator
from zoo.simulate.subtomogram_settings import SubtomogramSettings
from zoo.simulate.subtomograms import simulate_subtomograms
from zoo.simulate.tilt_series import TiltSeries, detector_mtf, euler_matrices


@pytest.fixture(scope="module")
def classes():
    return embedded_classes(32)


def volumes_of(folder):
    return np.stack([read_volume(path)[0] for path in sorted((folder / "subtomograms").iterdir())])


def simulate(classes, folder, **settings):
    result = simulate_subtomograms(classes, folder, SubtomogramSettings(**settings))
    return volumes_of(folder), result


def snr_of_pairs(classes, folder, **settings):
    """cc / (1 - cc) of aligned pairs (Frank & Al-Ali 1975): the same particles with independent noise."""
    first, _ = simulate(classes, folder / "a", **settings)
    clean, _ = simulate(classes, folder / "c", **settings | {"snr": None})
    truth = read_volume(folder / "a" / "maps" / "class_0.mrc")[0]
    clean *= truth.std() / read_volume(folder / "c" / "maps" / "class_0.mrc")[0].std()
    noise = first - clean
    # every noise with every other particle's: as many pairs with independent noise as there are particles
    second = clean + np.roll(noise, 1, axis=0)
    cc = np.array([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(first, second, strict=True)])
    return cc.mean() / (1 - cc.mean()), noise


@pytest.mark.parametrize(
    "options",
    [
        {"snr": 0.3},
        {"snr": 0.1, "apply_ctf": False, "tilts": TiltSeries(40, 4)},
        {"snr": 0.3, "quick": True, "tilts": TiltSeries(90, 3)},
    ],
    ids=["full", "no CTF, 40 degrees", "quick"],
)
def test_aligned_pairs_have_the_snr_asked_for(classes, tmp_path, options):
    one = ClassMaps(classes.maps[[2]], classes.voxel_size_angstrom, ("a",))
    measured, noise = snr_of_pairs(one, tmp_path, count=50, **options)
    assert measured == pytest.approx(options["snr"], rel=0.05)
    assert noise.std() == pytest.approx(1, rel=0.02)


def test_snr_of_the_projections(classes, tmp_path):
    result = simulate_subtomograms(
        classes, tmp_path / "set", SubtomogramSettings(3, snr=0.05, snr_of="projections")
    )
    assert result.calibration.snr_projections == pytest.approx((0.05,) * 3)


def test_one_scale_for_all_keeps_their_sizes(classes, tmp_path):
    settings = SubtomogramSettings(8, snr=0.1, common_scale=True, apply_ctf=False)
    calibration = simulate_subtomograms(classes, tmp_path / "set", settings).calibration
    assert len(set(calibration.scales)) == 1
    assert np.mean(calibration.snr) == pytest.approx(0.1)
    assert calibration.snr[0] < calibration.snr[2]  # the core alone is the smallest


def test_quick_noise_comes_before_the_wedge(classes, tmp_path):
    one = ClassMaps(classes.maps[[1]], classes.voxel_size_angstrom, ("a",))
    volumes, _ = simulate(one, tmp_path / "noisy", count=20, snr=1e-6, quick=True)
    measured = wedge_mask(32, -60, 60)
    assert volumes.var() == pytest.approx(measured.mean(), rel=0.01)  # of variance 1 that fraction is left


@pytest.mark.parametrize("options", [{}, {"quick": True}, {"snr": 0.05}], ids=["clean", "quick", "noisy"])
def test_power_in_the_wedge_is_gone(classes, tmp_path, options):
    volumes, _ = simulate(classes, tmp_path / "set", count=2, tilts=TiltSeries(50, 3), **options)
    power = np.abs(np.fft.fftshift(np.fft.fftn(volumes, axes=(1, 2, 3)), axes=(1, 2, 3))) ** 2
    # a measured plane is as thick as a voxel: what lies more than half a voxel outside holds nothing
    k = np.arange(32) - 16
    kz, kx = np.meshgrid(k, k, indexing="ij")
    angle = np.degrees(np.arctan2(np.abs(kz), np.abs(kx)))
    far = (angle > 50) & (np.hypot(kz, kx) * np.sin(np.radians(angle - 50)) > 0.5 + 1e-6)
    inside_wedge = np.repeat(far[:, None, :], 32, axis=1)
    assert inside_wedge.mean() > 0.3
    assert power[:, inside_wedge].sum() < 1e-9 * power.sum()
    transfer = read_volume(tmp_path / "set" / "ctf.mrc")[0]
    assert np.abs(transfer[inside_wedge]).max() == 0
    measured = wedge_mask(32, -45, 45) * (np.sum(np.meshgrid(k**2, k**2, k**2), axis=0) < 15**2)
    assert power.mean(0)[measured > 0].min() > 0


@pytest.mark.parametrize(("phase_flip", "axis"), [(True, "y"), (False, "y"), (True, "x")])
def test_transfer_volume_is_what_the_series_does(classes, phase_flip, axis):
    """A subtomogram's transform is the CTF volume times that of the posed map."""
    one = ClassMaps(embedded_classes(48, 10.0).maps[[1]], 10.0, ("a",))
    tilts = TiltSeries(axis=axis)
    settings = SubtomogramSettings(1, phase_flip=phase_flip, defocus_angstrom=30000.0, tilts=tilts)
    imager = make_imager(one, settings)
    pose, origin = euler_matrices(np.array([[20.0, 50.0, 70.0]]))[0], np.array([1.0, -1.5, 2.0])
    volume = imager.subtomogram(0, pose, origin, 1.0, 0.0, 0)
    transform = np.fft.fftn(Rotator(one.maps[0])(pose, origin)) * np.fft.ifftshift(imager.transfer)
    expected = np.fft.ifftn(transform).real
    assert np.corrcoef(volume.ravel(), expected.ravel())[0, 1] > 0.998
    assert np.vdot(volume, expected) / np.vdot(expected, expected) == pytest.approx(1, abs=0.02)
    assert (imager.transfer.min() < -0.2) != phase_flip  # phases alternate where nothing flips them


@pytest.mark.parametrize("quick", [True, False])
def test_tilts_about_x_leave_a_wedge_about_x(classes, tmp_path, quick):
    tilts = TiltSeries(50, 5, "x")
    volumes, result = simulate(classes, tmp_path / "set", count=2, tilts=tilts, quick=quick, snr=0.1)
    power = np.abs(np.fft.fftshift(np.fft.fftn(volumes, axes=(1, 2, 3)), axes=(1, 2, 3))) ** 2
    kz, ky, kx = np.indices((32,) * 3) - 16
    wide = (kz**2 + ky**2 + kx**2 < 15**2) & (kz**2 + ky**2 > 3**2)
    measured = wide & (np.abs(kz) < np.tan(np.radians(48)) * np.abs(ky))
    missing = wide & (np.abs(kz) > np.tan(np.radians(60)) * np.abs(ky))
    assert power[:, missing].mean() < 1e-6 * power[:, measured].mean()
    assert np.isnan(read_subtomograms(result.star).tilt_range_deg()).all()  # they would be about y
    transfer = read_volume(tmp_path / "set" / "ctf.mrc")[0]
    np.testing.assert_array_equal(transfer[missing], 0)
    pack_subtomograms(result.star, tmp_path / "rec", PackSettings(OWN_BOX, contrast=1), processes=1)
    packed = next(sequential_arrays(DatasetInfo.load(tmp_path / "rec"), 6))["wedge"]
    np.testing.assert_allclose(packed[:, wide], np.broadcast_to(transfer[wide], (6, wide.sum())), atol=1e-3)


def test_reconstruction_of_all_tilts_is_the_volume():
    from zoo.simulate.imaging import TiltImager

    one = ClassMaps(embedded_classes(48, 10.0).maps[[1]], 10.0, ("a",))
    settings = SubtomogramSettings(1, tilts=TiltSeries(90, 2), apply_ctf=False, apply_mtf=False)
    imager = TiltImager(one, settings)
    volume = imager.subtomogram(0, np.eye(3), np.zeros(3), 1.0, 0.0, 0)
    expected = Rotator(one.maps[0])(np.eye(3), np.zeros(3))
    assert np.corrcoef(volume.ravel(), expected.ravel())[0, 1] > 0.998
    assert volume.std() == pytest.approx(expected.std(), rel=0.02)
    assert len(settings.tilts.angles_deg()) == 90  # -90 and 90 degrees are one view


def test_rotator_turns_as_scipy_does(classes):
    density = classes.maps[2].astype(float)
    matrix = euler_matrices(np.array([[40.0, 75.0, -110.0]]))[0]
    origin = np.array([1.3, -2.4, 0.7])
    volume = Rotator(density)(matrix, origin)
    # out(y) = in(A^T (y + origin)), about voxel 16; scipy's axes are z, y, x
    inverse = matrix.T[::-1, ::-1]
    centre = np.full(3, 16.0)
    expected = ndimage.affine_transform(
        density, inverse, offset=centre - inverse @ (centre - origin[::-1]), order=3
    )
    assert np.corrcoef(volume.ravel(), expected.ravel())[0, 1] > 0.997


def test_files_say_what_was_simulated(classes, tmp_path):
    settings = SubtomogramSettings(4, snr=0.2, seed=3)
    simulate_subtomograms(classes, tmp_path / "set", settings, relion5=True, command="made so")
    blocks, _ = read_star_blocks(tmp_path / "set" / "subtomograms.star")
    assert blocks["optics"]["rlnImageDimensionality"].tolist() == ["3"]
    particles = blocks["particles"]
    assert particles["zooLabel"].tolist() == ["0", "1", "2"] * 4
    assert (tmp_path / "set" / particles["rlnImageName"][11]).is_file()
    assert set(particles["rlnCtfImage"]) == {"ctf.mrc"}
    new, _ = read_star_blocks(tmp_path / "set" / "subtomograms_relion5.star")
    assert new["general"]["rlnTomoSubTomosAre2DStacks"] in (0, "0")
    same = ["rlnImageName", "rlnCtfImage", "rlnAngleRot", "rlnOriginZAngst", "zooLabel"]
    assert new["particles"][same].equals(particles[same])
    assert {"rlnTomoName", "rlnTomoParticleName", "rlnCenteredCoordinateZAngst"} <= set(new["particles"])
    summary = json.loads((tmp_path / "set" / "simulation.json").read_text())
    assert summary["command"] == "made so"
    assert len(summary["tilts_deg"]) == 41
    truth, voxel = read_volume(tmp_path / "set" / "maps" / "class_1.mrc")
    assert voxel == pytest.approx(10)
    assert np.corrcoef(truth.ravel(), classes.maps[1].ravel())[0, 1] > 0.9999


def test_a_set_is_a_function_of_its_seed(classes, tmp_path):
    first, _ = simulate(classes, tmp_path / "a", count=2, snr=0.1, seed=7)
    again, _ = simulate(classes, tmp_path / "b", count=2, snr=0.1, seed=7)
    other, _ = simulate(classes, tmp_path / "c", count=2, snr=0.1, seed=8)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    # and no two particles have the same noise
    assert abs(np.corrcoef(first[0].ravel(), first[3].ravel())[0, 1]) < 0.3


def test_classes_of_unlike_count_and_tilts_of_unlike_ends(classes, tmp_path):
    tilts = TiltSeries(70, 10, least_deg=-50)
    np.testing.assert_array_equal(tilts.angles_deg(), np.arange(-50, 71, 10))
    _, result = simulate(classes, tmp_path / "set", count=(1, 3, 2), tilts=tilts, snr=0.1)
    table = read_subtomograms(result.star)
    assert table.label.tolist() == [0, 1, 2, 1, 2, 1] and result.count == 6
    assert table.random_subset.tolist() == [1, 1, 1, 2, 2, 1]
    assert set(table.tilt_min_deg) == {-50} and set(table.tilt_max_deg) == {70}
    # a tilt of t degrees measures kz = -kx tan t: what is measured is that, and not its mirror image
    transfer = read_volume(tmp_path / "set" / "ctf.mrc")[0][:, 16, :]
    z, x = np.nonzero(np.ones_like(transfer))
    angle = np.degrees(np.arctan2(-(z - 16), x - 16))
    angle = (angle + 90) % 180 - 90
    radius = np.hypot(z - 16, x - 16)
    power = (transfer**2)[z, x]
    inside = (radius > 6) & (radius < 14)
    gap = {side: power[inside & (abs(angle - side) < 5)].mean() for side in (62.0, -62.0)}
    assert gap[62.0] > 0 and gap[-62.0] < 0.02 * gap[62.0]
    with pytest.raises(ZooError, match="--count: given 2 times, expected once, or once for each of 3"):
        simulate(classes, tmp_path / "other", count=(1, 2))
    assert not (tmp_path / "other").exists()
    with pytest.raises(ZooError, match="expected one number for all classes"):
        _ = SubtomogramSettings((1, 2)).count_of_each


def test_rotations_are_uniform():
    euler, _ = draw_poses(4000, 0, 0.0)
    matrices = euler_matrices(euler)
    # of uniform rotations every column is uniform on the sphere: mean 0, second moments 1/3
    for column in range(3):
        points = matrices[:, :, column]
        np.testing.assert_allclose(points.mean(0), 0, atol=0.03)
        np.testing.assert_allclose(points.T @ points / len(points), np.eye(3) / 3, atol=0.02)
    angle = np.arccos(np.clip((np.trace(matrices, axis1=1, axis2=2) - 1) / 2, -1, 1))
    assert angle.mean() == pytest.approx(np.pi / 2 + 2 / np.pi, abs=0.03)  # of the density (1 - cos) / pi


def test_preferred_axis_keeps_the_particle_upright():
    """A long blob, lying along some direction, comes to stand along y in every pose."""
    n = 32
    axis = np.arange(n) - n // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    direction = np.array([1.0, 2.0, 2.0]) / 3
    points = np.stack([x, y, z], axis=-1)
    along = points @ direction
    rod = np.exp(-((points**2).sum(-1) - along**2) / 8 - along**2 / 72)
    np.testing.assert_allclose(np.abs(principal_axis(rod) @ direction), 1, atol=1e-4)
    turn = turn_onto(principal_axis(rod), "y")
    euler, _ = draw_poses(50, 1, 0.0, "y", np.repeat(turn[None], 50, axis=0))
    carried = euler_matrices(euler) @ direction
    np.testing.assert_allclose(np.abs(carried[:, 1]), 1, atol=1e-4)
    about_y = euler_matrices(euler) @ turn.T @ [1.0, 0, 0]
    assert np.linalg.norm(about_y.mean(0)) < 0.4  # and turns all the way round
    np.testing.assert_allclose(about_y[:, 1], 0, atol=1e-5)


def test_mtf_is_the_sinc_of_the_fraction_of_nyquist():
    np.testing.assert_allclose(detector_mtf([0, 0.25, 0.5]), [1, np.sin(np.pi / 4) / (np.pi / 4), 2 / np.pi])


def test_full_transform_mirrors_an_even_function():
    rng = np.random.default_rng(0)
    volume = rng.normal(size=(8, 8, 8))
    even = np.abs(np.fft.fftshift(np.fft.fftn(volume)))
    np.testing.assert_allclose(full_transform(even[:, [4, 5, 6, 7, 0], :]), even)


def test_noise_of_the_reconstruction_falls_where_tilts_crowd():
    """Near the tilt axis many tilts are averaged: the ramp of noise that every tomogram has."""
    reconstruct = TiltReconstructor(32, TiltSeries(60, 3).angles_deg())
    rng = np.random.default_rng(0)
    noise = np.stack([reconstruct(rng.standard_normal((41, 32, 32), dtype=np.float32)) for _ in range(8)])
    power = (np.abs(np.fft.fftn(noise, axes=(1, 2, 3))) ** 2).mean(0)[0, :12]  # kz = 0
    assert power[:, 1:3].mean() < 0.4 * power[:, 8:13].mean()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"count": 0}, "--count 0"),
        ({"snr": 0.0}, "--snr 0.0"),
        ({"snr": float("nan")}, "--snr nan"),
        ({"snr_of": "tilts"}, "expected one of subtomograms, projections"),
        ({"quick": True, "snr_of": "projections"}, "--quick makes no projections"),
        ({"seed": -1}, "--seed -1"),
        ({"shift_max_voxels": -1.0}, "--shift -1"),
        ({"preferred_axis": "w"}, "--preferred-axis w: expected x, y or z"),
        ({"amplitude_contrast": 1.0}, "--amplitude-contrast 1"),
    ],
)
def test_settings_that_cannot_be(options, words):
    with pytest.raises(ZooError, match=words):
        SubtomogramSettings(**{"count": 1} | options)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((95, 3), "--tilt 95"),
        ((60, 0), "--tilt-step 0"),
        ((60, 3, "z"), "--tilt-axis z"),
        ((40, 3, "y", 50), "--tilt-range 50 40"),
    ],
)
def test_tilts_that_cannot_be(values, words):
    with pytest.raises(ZooError, match=words):
        TiltSeries(*values)


def test_nothing_is_left_of_a_failed_run(classes, tmp_path, monkeypatch):
    from zoo.simulate import imaging

    def broken(*arguments):
        raise ZooError("stopped half-way")

    monkeypatch.setattr(imaging.TiltImager, "subtomogram", broken)
    with pytest.raises(ZooError, match="half-way"):
        simulate_subtomograms(classes, tmp_path / "set", SubtomogramSettings(1))
    assert list(tmp_path.iterdir()) == []


def test_maps_of_the_embedded_classes_fit_the_box():
    """What the tests above rest on: the particles leave room for their shifts."""
    assert embedded_maps(32)[:, 0].max() < 0.02
