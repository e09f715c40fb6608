"""Resampling: exact where it can be, equal to RELION, SciPy and TensorFlow where they do the same."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
import scipy.signal

from zoo.data.formats.images import ImageReader
from zoo.data.formats.mrc import read_volume, write_stack, write_volume
from zoo.data.packing.resample import fourier_resample, lanczos_resample, resample, rescale_volume, window
from zoo.data.particles import read_particles
from zoo.errors import ZooError

SMALLER = [(32, 16), (32, 20), (32, 15), (33, 16), (33, 15), (33, 21)]
LARGER = [(16, 32), (15, 32), (16, 33), (15, 21), (7, 8)]


def waves(size: int, limit: float, ndim: int, seed=17) -> np.ndarray:
    """Samples of one sum of waves over the unit field, centred on sample size//2; frequencies < limit."""
    rng = np.random.default_rng(seed)
    grid = np.meshgrid(*[(np.arange(size) - size // 2) / size] * ndim, indexing="ij")
    out = np.full([size] * ndim, 0.7)
    for _ in range(12):
        k = rng.integers(-int(np.ceil(limit)) + 1, int(np.ceil(limit)), ndim)
        phase = 2 * np.pi * sum(frequency * axis for frequency, axis in zip(k, grid, strict=True))
        out += rng.normal() * np.cos(phase + rng.uniform(0, 2 * np.pi))
    return out


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize(("size", "box"), SMALLER + LARGER)
def test_band_limited_arrays_are_resampled_exactly(size, box, ndim):
    limit = min(size, box) / 2
    expected = waves(box, limit, ndim)
    np.testing.assert_allclose(fourier_resample(waves(size, limit, ndim), box, ndim), expected, atol=1e-12)
    single = fourier_resample(waves(size, limit, ndim).astype(np.float32), box, ndim)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, atol=1e-5)


@pytest.mark.parametrize(("size", "box"), SMALLER + LARGER)
def test_a_wide_blob_keeps_its_place_in_the_centre(size, box):
    def blob(n):
        axis = (np.arange(n) - n // 2) / n
        return np.exp(-(axis[:, None] ** 2 + axis[None, :] ** 2) / (2 * 0.16**2))

    inside = (slice(box // 6, -box // 6),) * 2
    for method in ("fourier", "lanczos"):
        error = np.abs(resample(blob(size)[None], box, method)[0] - blob(box))
        assert error[inside].max() < 0.02, method


def test_batches_are_resampled_image_by_image():
    images = np.random.default_rng(18).normal(size=(5, 30, 30)).astype(np.float32)
    for method in ("fourier", "lanczos"):
        alone = np.stack([resample(image[None], 20, method)[0] for image in images])
        np.testing.assert_allclose(resample(images, 20, method), alone, atol=1e-6)
        np.testing.assert_allclose(resample(images, 30, method), images, atol=1e-6)


def test_mirror_and_transpose_commute_with_it():
    image = np.random.default_rng(19).normal(size=(33, 33))
    for box in (20, 21, 40):
        np.testing.assert_allclose(fourier_resample(image.T, box), fourier_resample(image, box).T, atol=1e-12)
    flipped = fourier_resample(image[::-1, ::-1], 15)  # odd sizes: the centre stays in place
    np.testing.assert_allclose(flipped, fourier_resample(image, 15)[::-1, ::-1], atol=1e-12)


@pytest.mark.parametrize(("size", "box"), [(32, 16), (32, 18), (16, 32)])
def test_scipy_does_the_same_below_nyquist(size, box):
    image = np.random.default_rng(20).normal(size=(size, size))
    theirs = scipy.signal.resample(scipy.signal.resample(image, box, axis=0), box, axis=1)
    difference = np.fft.fft2(fourier_resample(image, box) - theirs)
    nyquist = np.abs(np.fft.fftfreq(box)) * box == min(size, box) // 2
    below = ~(nyquist[:, None] | nyquist[None, :])  # at Nyquist SciPy doubles what it finds
    assert np.abs(difference[below]).max() < 1e-9
    if box > size:
        assert np.abs(difference).max() < 1e-9


@pytest.mark.relion
@pytest.mark.parametrize(("size", "box"), [(64, 32), (64, 48), (48, 64)])
def test_relion_rescales_to_the_same_images(tmp_path, size, box):
    images = np.random.default_rng(21).normal(size=(3, size, size)).astype(np.float32)
    write_stack(tmp_path / "in.mrcs", images, 1.5)
    relion(tmp_path, "in.mrcs", "out.mrcs", "--angpix", 1.5, "--rescale_angpix", 1.5 * size / box)
    theirs = ImageReader(read_particles(tmp_path / "out.mrcs")).read(slice(None))
    assert theirs.shape == (3, box, box)
    difference = np.fft.fft2(fourier_resample(images, box) - theirs)
    k = np.abs(np.fft.fftfreq(box)) * box
    if box < size:  # RELION keeps one end of the Nyquist line, we both
        same = (k[:, None] < box / 2) & (k[None, :] < box / 2)
    else:  # RELION leaves out the corners beyond the circle when it enlarges
        same = np.hypot(k[:, None], k[None, :]) < size / 2
    assert same.mean() > 0.4
    assert np.abs(difference[:, same]).max() < 1e-6 * np.abs(np.fft.fft2(theirs)).max()


@pytest.mark.relion
@pytest.mark.shared_data
def test_relion_rescales_a_real_map_to_the_same_map(shared_data, tmp_path):
    volume, voxel = read_volume(shared_data / "maps" / "beta_galactosidase_3.54A.mrc")
    write_volume(tmp_path / "in.mrc", volume, voxel)
    relion(tmp_path, "in.mrc", "out.mrc", "--angpix", voxel, "--rescale_angpix", 6.0, "--new_box", 48)
    theirs, their_voxel = read_volume(tmp_path / "out.mrc")
    ours, our_voxel = rescale_volume(volume, voxel, 6.0, box=48)
    assert ours.shape == theirs.shape == (48, 48, 48)
    assert our_voxel == pytest.approx(their_voxel, rel=1e-6)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.9999
    assert np.abs(ours - theirs).max() < 0.02 * np.abs(theirs).max()  # the ends of the Nyquist plane


@pytest.mark.slow
@pytest.mark.parametrize(("size", "box"), [(64, 32), (50, 33), (32, 48)])
def test_tensorflow_lanczos5_with_antialiasing_is_the_same(size, box):
    import tensorflow as tf

    images = np.random.default_rng(22).normal(size=(3, size, size)).astype(np.float32)
    theirs = tf.image.resize(images[..., None], (box, box), method="lanczos5", antialias=True)[..., 0]
    ours = lanczos_resample(images, box, align="edges")
    np.testing.assert_allclose(ours, theirs, atol=2e-5)  # TensorFlow takes the kernel's sines in float32


def test_lanczos_keeps_flat_fields_and_suppresses_what_would_alias():
    np.testing.assert_allclose(lanczos_resample(np.ones((1, 40, 40)), 17), 1, atol=1e-6)
    x = np.arange(64)
    high = np.cos(2 * np.pi * 0.4 * x)[None, :] * np.ones((64, 1))
    low = np.cos(2 * np.pi * 0.05 * x)[None, :] * np.ones((64, 1))
    centre = (slice(8, 24), slice(8, 24))
    assert lanczos_resample(high[None], 32)[0][centre].std() < 0.05 * high.std()
    assert lanczos_resample(low[None], 32)[0][centre].std() > 0.98 * low[16:48, 16:48].std()


@pytest.mark.parametrize(("size", "box"), [(8, 12), (12, 8), (9, 12), (12, 9), (9, 13), (13, 8), (8, 8)])
def test_window_keeps_the_centre(size, box):
    array = np.arange(size**3, dtype=np.float32).reshape(size, size, size)
    out = window(array, box, ndim=3, fill=-1)
    assert out.shape == (box, box, box)
    assert out[box // 2, box // 2, box // 2] == array[size // 2, size // 2, size // 2]
    np.testing.assert_array_equal(window(window(array, 20, ndim=3), size, ndim=3), array)
    assert (out == -1).sum() == box**3 - min(size, box) ** 3


def test_rescaled_volumes_state_their_exact_voxel_size():
    volume = waves(30, 5, 3)
    out, voxel = rescale_volume(volume, 2.0, 4.1)  # 14.6 voxels, so 14
    assert out.shape == (14, 14, 14) and voxel == pytest.approx(60 / 14)
    np.testing.assert_allclose(out, waves(14, 5, 3), atol=1e-12)
    flat, _ = rescale_volume(np.ones((10, 12, 14)), 2.0, 2.0)  # made cubic first
    assert flat.shape == (14, 14, 14)


def test_impossible_requests_are_refused():
    images = np.zeros((1, 8, 8))
    with pytest.raises(ZooError, match="unknown resampling 'spline'; choose one of fourier, lanczos"):
        resample(images, 4, "spline")
    with pytest.raises(ZooError, match="box of 0 pixels"):
        resample(images, 0)
    with pytest.raises(ZooError, match="unknown alignment"):
        lanczos_resample(images, 4, align="left")
    with pytest.raises(ZooError, match="expected positive numbers; give the voxel size"):
        rescale_volume(np.zeros((8, 8, 8)), 0.0, 2.0)


def relion(folder, source, target, *options):
    command = ["relion_image_handler", "--i", source, "--o", target, *[str(option) for option in options]]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
