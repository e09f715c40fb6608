"""Centred transforms against NumPy, and Hermitian symmetry."""

import numpy as np
import pytest
from keras import ops
from scipy import ndimage

from zoo.ops import fourier


def numpy(x):
    return ops.convert_to_numpy(x)


def centred(x, axes):
    return np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(x, axes), axes=axes), axes)


SHAPES_2D, SHAPES_3D = [(2, 8, 6), (3, 7, 5)], [(2, 4, 6, 8), (1, 3, 5, 4)]


@pytest.mark.parametrize("shape", SHAPES_2D + SHAPES_3D)
def test_transform_is_numpys_and_inverse_returns(shape):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=shape).astype("float32"), rng.normal(size=shape).astype("float32")
    forward, inverse = (fourier.fft2, fourier.ifft2) if len(shape) == 3 else (fourier.fft3, fourier.ifft3)
    re, im = forward(x, y)
    expected = centred(x + 1j * y, tuple(range(1, len(shape))))
    np.testing.assert_allclose(numpy(re) + 1j * numpy(im), expected, atol=2e-5)
    back_re, back_im = inverse(re, im)
    np.testing.assert_allclose(numpy(back_re), x, atol=2e-6)
    np.testing.assert_allclose(numpy(back_im), y, atol=2e-6)


@pytest.mark.parametrize("n", [6, 7])
def test_delta_at_the_centre_is_real_and_constant(n):
    delta = np.zeros((1, n, n, n), "float32")
    delta[0, n // 2, n // 2, n // 2] = 1
    re, im = fourier.fft3(delta)
    np.testing.assert_allclose(numpy(re), 1.0, atol=1e-6)
    np.testing.assert_allclose(numpy(im), 0.0, atol=1e-6)


@pytest.mark.parametrize("n", [6, 7])
def test_grids_are_xyz_in_cycles_per_pixel(n):
    k = np.fft.fftshift(np.fft.fftfreq(n))
    np.testing.assert_allclose(fourier.frequency_grid_2d(n)[2, 4], [k[4], k[2]], atol=1e-7)
    np.testing.assert_allclose(fourier.frequency_grid_3d(n)[1, 2, 4], [k[4], k[2], k[1]], atol=1e-7)
    assert not fourier.frequency_grid_3d(n)[n // 2, n // 2, n // 2].any()


def test_mask_counts_the_ball():
    k = np.fft.fftshift(np.fft.fftfreq(8))
    inside = (k[:, None, None] ** 2 + k[:, None] ** 2 + k**2) <= 0.25**2
    np.testing.assert_array_equal(fourier.radial_mask_3d(8, 0.25), inside)
    assert fourier.radial_mask_2d(8)[4, 0] == 1.0 and fourier.radial_mask_2d(8)[0, 0] == 0.0


def test_phase_shift_moves_the_content():
    n, shifts = 16, np.array([[3.0, -2.0], [0.0, 5.0], [1.25, -0.5]])
    yy, xx = np.mgrid[:n, :n] - n // 2
    blob = np.exp(-(xx**2 + yy**2) / 4.0)[None].repeat(3, 0)
    re, im = fourier.multiply(*fourier.fft2(blob), *fourier.shift_phase(n, shifts))
    found = numpy(fourier.ifft2(re, im)[0])
    for image, (sx, sy) in zip(found, shifts, strict=True):
        expected = np.fft.ifft2(ndimage.fourier_shift(np.fft.fft2(blob[0]), (sy, sx))).real
        np.testing.assert_allclose(image, expected, atol=1e-5)
    np.testing.assert_allclose(found[0], np.roll(blob[0], (-2, 3), (0, 1)), atol=1e-5)


@pytest.mark.parametrize("n", [6, 7])
@pytest.mark.parametrize("rank", [2, 3])
def test_hermitian_part_is_the_transform_of_the_real_part(n, rank):
    rng = np.random.default_rng(3)
    re, im = rng.normal(size=(2, 2, *(n,) * rank)).astype("float32")
    forward, inverse = (fourier.fft2, fourier.ifft2) if rank == 2 else (fourier.fft3, fourier.ifft3)
    h_re, h_im = fourier.hermitian(re, im, rank)
    expected_re, expected_im = forward(inverse(re, im)[0])
    np.testing.assert_allclose(numpy(h_re), numpy(expected_re), atol=1e-5)
    np.testing.assert_allclose(numpy(h_im), numpy(expected_im), atol=1e-5)
    assert np.abs(numpy(inverse(h_re, h_im)[1])).max() < 1e-6


@pytest.mark.parametrize("n", [6, 7])
@pytest.mark.parametrize("rank, transform", [(2, fourier.fft2), (3, fourier.fft3)])
def test_half_space_fills_the_transform_of_a_real_image_or_map(n, rank, transform):
    re, im = transform(np.random.default_rng(4).normal(size=(2, *[n] * rank)))
    half = n // 2 + 1
    full_re, full_im = fourier.fill_half_space(re[..., :half], im[..., :half], rank)
    np.testing.assert_allclose(numpy(full_re), numpy(re), atol=1e-6 * n**rank)
    np.testing.assert_allclose(numpy(full_im), numpy(im), atol=1e-6 * n**rank)


@pytest.mark.parametrize("sizes", [(6, 9), (7, 10), (6, 12), (7, 7)])
def test_padding_keeps_the_centre_and_cropping_undoes_it(sizes):
    small, large = sizes
    x = np.random.default_rng(5).normal(size=(2, small, small)).astype("float32")
    padded = numpy(fourier.pad_centred(x, large, rank=2))
    assert padded.shape == (2, large, large)
    np.testing.assert_array_equal(padded[:, large // 2, large // 2], x[:, small // 2, small // 2])
    np.testing.assert_array_equal(fourier.crop_centred(padded, small, rank=2), x)
