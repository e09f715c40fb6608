"""Projections against an analytic solution and against RELION, run as a program."""

import subprocess

import mrcfile
import numpy as np
import pytest
from keras import ops
from scipy.ndimage import map_coordinates

from zoo.ops import fourier, slices
from zoo.ops.ctf import ctf_2d
from zoo.ops.rotations import euler_to_matrix


def numpy(x):
    return ops.convert_to_numpy(x)


def random_euler(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform([-180, 0, -180], [180, 180, 180], (count, 3))


BLOBS = [((3.0, -4.0, 5.0), 2.0, 1.0), ((-6.0, 1.0, 2.0), 1.5, 0.7), ((0.0, 5.0, -7.0), 2.5, -0.4)]


def blob_map(n):
    z, y, x = np.mgrid[:n, :n, :n] - n // 2
    total = 0.0
    for (cx, cy, cz), s, amplitude in BLOBS:
        r2 = (x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2
        total = total + amplitude * np.exp(-r2 / (2 * s**2))
    return total


def blob_projections(n, matrices, origins):
    """Line integrals of the Gaussians: a Gaussian at the first two coordinates of A·centre − origin."""
    y, x = np.mgrid[:n, :n] - n // 2
    images = 0.0
    for centre, s, amplitude in BLOBS:
        cx, cy = (matrices @ np.array(centre))[:, :2].T - origins.T
        r2 = (x - cx[:, None, None]) ** 2 + (y - cy[:, None, None]) ** 2
        images = images + amplitude * np.sqrt(2 * np.pi) * s * np.exp(-r2 / (2 * s**2))
    return images


def correlations(a, b):
    a, b = (x.reshape(len(x), -1) - x.reshape(len(x), -1).mean(1, keepdims=True) for x in (a, b))
    return (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))


@pytest.mark.parametrize("n", [32, 33])
def test_projection_of_gaussians_is_analytic(n):
    matrices = numpy(euler_to_matrix(random_euler(12)))
    origins = np.random.default_rng(1).uniform(-3, 3, (12, 2))
    found = numpy(slices.project(blob_map(n), matrices, shifts_px=origins))
    expected = blob_projections(n, matrices, origins)
    assert correlations(found, expected).min() > 0.9995
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()
    finer = numpy(slices.project(blob_map(n), matrices, shifts_px=origins, pad=4))
    assert np.abs(finer - expected).max() < 0.25 * np.abs(found - expected).max()


def test_untilted_projection_is_the_sum_over_z():
    volume = blob_map(24)
    found = numpy(slices.project(volume, np.eye(3)[None], pad=1))[0]
    np.testing.assert_allclose(
        np.fft.fft2(found)[1:4, 1:4],
        np.fft.fft2((volume / slices.gridding_window(24, 1)).sum(0))[1:4, 1:4],
        rtol=1e-4,
    )


def test_slice_coordinates_are_the_transposed_rotation():
    matrices = numpy(euler_to_matrix(random_euler(3)))
    grid = fourier.frequency_grid_2d(6)
    expected = np.einsum("bji,yxj->byxi", matrices[:, :2], grid)
    np.testing.assert_allclose(numpy(slices.slice_coordinates(matrices, 6)), expected, atol=1e-6)


def test_slice_is_scipys_trilinear_sample():
    rng = np.random.default_rng(5)
    n = 8
    re, im = rng.normal(size=(2, 2, n, n, n)).astype("float32")
    matrices = numpy(euler_to_matrix(random_euler(2)))
    found_re, found_im = slices.central_slice((re, im), matrices)
    points = np.moveaxis(numpy(slices.slice_coordinates(matrices, n)) * n + n // 2, -1, 1)[:, ::-1]
    mask = fourier.radial_mask_2d(n)
    for i in range(2):
        for found, source in ((found_re, re), (found_im, im)):
            expected = map_coordinates(source[i], points[i], order=1, mode="grid-wrap") * mask
            np.testing.assert_allclose(numpy(found)[i], expected, atol=2e-5)
    assert not numpy(found_re)[:, 0, 0].any()


def test_one_map_for_all_equals_a_batch_of_copies():
    volume, matrices = blob_map(16), numpy(euler_to_matrix(random_euler(3)))
    shared = numpy(slices.project(volume, matrices))
    each = numpy(slices.project(np.tile(volume, (3, 1, 1, 1)), matrices))
    np.testing.assert_allclose(shared, each, atol=1e-5)


def test_volume_returns_from_its_transform():
    volume = blob_map(16).astype("float32")
    np.testing.assert_allclose(numpy(slices.volume_from_fourier(*fourier.fft3(volume))), volume, atol=1e-5)


def test_gradients_reach_map_pose_and_shift(gradients):
    volume, v = blob_map(8).astype("float32"), random_euler(2).astype("float32")
    shifts = np.zeros((2, 2), "float32")

    def loss(m, e, s):
        return ops.sum(slices.project(m, euler_to_matrix(e), shifts_px=s)[:, 3:5, 2:7] ** 2)

    found, _ = gradients(loss, [volume, v, shifts])
    for gradient in found:
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


STAR_HEAD = """
# version 30001

data_optics

loop_
_rlnOpticsGroupName
_rlnOpticsGroup
_rlnVoltage
_rlnSphericalAberration
_rlnAmplitudeContrast
_rlnImagePixelSize
_rlnImageSize
_rlnImageDimensionality
group1 1 200 2.0 0.1 {pixel} {box} 2

# version 30001

data_particles

loop_
_rlnImageName
_rlnAngleRot
_rlnAngleTilt
_rlnAnglePsi
_rlnOriginXAngst
_rlnOriginYAngst
_rlnOpticsGroup
_rlnDefocusU
_rlnDefocusV
_rlnDefocusAngle
_rlnPhaseShift
_rlnCtfBfactor
_rlnCtfScalefactor
"""


def relion_projections(path, pixel, box, rows, folder, *options):
    lines = [f"{i:06d}@x.mrcs " + " ".join(str(value) for value in row) for i, row in enumerate(rows, 1)]
    (folder / "in.star").write_text(STAR_HEAD.format(pixel=pixel, box=box) + "\n".join(lines) + "\n\n")
    command = ["relion_project", "--i", str(path), "--o", "out", "--ang", "in.star", "--angpix", str(pixel)]
    subprocess.run([*command, *options], cwd=folder, check=True, capture_output=True)
    with mrcfile.open(folder / "out.mrcs", permissive=True) as file:
        return np.array(file.data)


@pytest.mark.relion
@pytest.mark.shared_data
@pytest.mark.parametrize("name, pixel", [("beta_galactosidase_3.54A.mrc", 3.54), ("trpv1_4.88A.mrc", 4.88)])
@pytest.mark.parametrize("with_ctf", [False, True])
def test_equals_relion_project_with_pose_shift_and_ctf(name, pixel, with_ctf, shared_data, tmp_path):
    path = shared_data / "maps" / name
    with mrcfile.open(path, permissive=True) as file:
        volume = np.array(file.data, "float32")
    n, rng, count = len(volume), np.random.default_rng(3), 6
    euler, origins = random_euler(count, 4), rng.uniform(-20, 20, (count, 2))
    i = np.arange(count)
    defocus = np.stack([12000 + 2000 * i, 10500 + 1500 * i, 25 * i], axis=1)
    rest = np.stack([10.0 * i, np.full(count, 60.0), np.full(count, 0.9)], axis=1)
    parts = zip(euler, origins, defocus, rest, strict=True)
    rows = [[*pose, *origin, 1, *defocused, *other] for pose, origin, defocused, other in parts]
    expected = relion_projections(path, pixel, n, rows, tmp_path, *(["--ctf"] if with_ctf else []))
    ctf9 = np.concatenate([defocus, np.tile([200, 2.0, 0.1], (count, 1)), rest], axis=1)
    ctf = ctf_2d(ctf9, n, np.full(count, pixel)) if with_ctf else None
    found = numpy(slices.project(volume, euler_to_matrix(euler), ctf, origins / pixel))
    assert correlations(found, expected).min() > 0.9995
    # Not only proportional but equal, in every Fourier pixel inside the last shell. (There the program
    # interpolates towards zeros beyond Nyquist, this code towards the map's own values.)
    inside = fourier.radial_mask_2d(n, 0.5 - 1.0 / n)
    found, expected = (np.fft.fftshift(np.fft.fft2(x), (1, 2)) * inside for x in (found, expected))
    difference = np.linalg.norm(found - expected, axis=(1, 2)) / np.linalg.norm(expected, axis=(1, 2))
    assert difference.max() < 1e-3
