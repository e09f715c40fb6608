import numpy as np
import pytest

from zoo.errors import ZooError
from zoo.metrics.image_quality import psnr, ssim


@pytest.fixture
def image():
    y, x = np.mgrid[:64, :64] / 64
    return np.sin(9 * x) * np.cos(7 * y)


def test_psnr_of_known_noise(image):
    noisy = image + np.random.default_rng(0).normal(0, 0.1, image.shape)
    assert psnr(noisy, image) == pytest.approx(20 * np.log10(np.ptp(image) / 0.1), abs=0.2)
    assert psnr(image, image) == np.inf


def test_ssim_is_one_for_equal_and_falls_with_noise(image):
    rng = np.random.default_rng(0)
    scores = [ssim(image + rng.normal(0, level, image.shape), image) for level in (0, 0.1, 0.5)]
    assert scores[0] == pytest.approx(1)
    assert 1 > scores[1] > scores[2] > 0


def test_ssim_of_inverted_texture_is_minus_one():
    # a chequerboard: no local mean, so that only the covariance speaks
    texture = (-1.0) ** np.add.outer(np.arange(64), np.arange(64))
    assert ssim(-texture, texture) < -0.95  # -1 but for the reflected border


def test_ssim_is_blind_to_a_small_offset_but_not_to_lost_contrast(image):
    assert ssim(image + 0.02, image) > 0.95
    assert ssim(0.2 * image, image) < 0.6


def test_ssim_takes_volumes():
    volume = np.random.default_rng(0).normal(size=(16, 16, 16))
    assert ssim(volume, volume) == pytest.approx(1)


def test_bad_input_is_refused(image):
    with pytest.raises(ZooError, match="equal shapes"):
        psnr(image, image[:32])
    with pytest.raises(ZooError, match="constant"):
        ssim(image, np.zeros_like(image))
