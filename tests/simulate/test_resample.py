import numpy as np
import pytest

from zoo.data.packing.resample import fourier_resample
from zoo.errors import ZooError
from zoo.simulate.resample import border_level, resample_map


def blob(box, voxel, centre, sigma):
    """A Gaussian in Å about the middle voxel of a box."""
    axis = (np.arange(box) - box // 2) * voxel
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    return np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2) / (2 * sigma**2))


@pytest.mark.parametrize(
    ("box", "voxel", "new_box", "new_voxel"),
    [
        (64, 2.0, 32, 4.0),
        (64, 2.0, 40, 3.2),
        (48, 3.0, 50, 2.7),
        (32, 4.0, 64, 2.0),
        (33, 4.0, 40, 3.3),
        (64, 2.0, 30, 3.0),
    ],
)
def test_smooth_map_is_sampled_at_the_new_voxels(box, voxel, new_box, new_voxel):
    centre, sigma = (6.0, -9.0, 3.0), 9.0
    found = resample_map(blob(box, voxel, centre, sigma), voxel, new_box, new_voxel)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, blob(new_box, new_voxel, centre, sigma), atol=2e-3)


def test_integer_ratio_is_a_fourier_crop():
    volume = np.random.default_rng(0).normal(size=(24, 24, 24))
    found = resample_map(volume, 1.0, 12, 2.0) - border_level(volume)
    centred = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(volume - border_level(volume))))
    again = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(found))) * 8
    # all frequencies but the new Nyquist, which two old ones share
    np.testing.assert_allclose(again[1:, 1:, 1:], centred[7:18, 7:18, 7:18], atol=1e-3)
    # and the crop of packing, whose FFT knows whole boxes only
    np.testing.assert_allclose(found, fourier_resample(volume - border_level(volume), 12, ndim=3), atol=1e-6)


def test_frequencies_beyond_the_new_nyquist_are_gone():
    x = np.arange(32)
    wave = np.broadcast_to(np.cos(2 * np.pi * 12 / 32 * x), (32, 32, 32))
    np.testing.assert_allclose(resample_map(wave, 1.0, 16, 2.0), 0, atol=1e-5)


def test_larger_box_is_filled_with_the_border_level():
    volume = blob(16, 4.0, (0, 0, 0), 6.0) + 5.0
    found = resample_map(volume, 4.0, 32, 4.0)
    np.testing.assert_allclose(found[8:24, 8:24, 8:24], volume, atol=1e-5)
    np.testing.assert_allclose(found[0], 5.0, atol=1e-3)


def test_same_grid_is_the_same_map():
    volume = np.random.default_rng(0).normal(size=(9, 9, 9)).astype(np.float32)
    np.testing.assert_array_equal(resample_map(volume, 3.0, 9, 3.0), volume)


def test_map_that_is_no_cube_is_refused():
    with pytest.raises(ZooError, match="cube"):
        resample_map(np.zeros((4, 4, 5)), 1.0, 4, 1.0)
