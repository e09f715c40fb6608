"""The contrast sign: right on the real sets that state it, right on simulated ones, modest on noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from zoo.data.formats.images import ImageReader
from zoo.data.packing.contrast import measure_contrast, measure_contrast_of
from zoo.data.particles import read_particles
from zoo.errors import ZooError

REAL = {
    "empiar_10076_7/empiar_10076_7.star": -1,
    "aspire_sample/sample_particles_relion31.star": 1,
    "trpv1_small_stack/trpv1_small_stack.star": 1,
    "sta_ribosome_tilts/sta_testing_bin8.star": 1,
    "class_averages_empiar_10268/mixture_2D.mrcs": 1,
}


def simulated(count, box=64, snr=0.05, shift=4.0, seed=0, apix=5.0) -> np.ndarray:
    """Projections of a few balls at random orientations and shifts, with CTF (underfocus) and noise."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, box / 9, (8, 3))
    y, x = np.mgrid[:box, :box] - box // 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(box, apix), np.fft.rfftfreq(box, apix), indexing="ij"))
    wavelength = 0.0197
    images = np.empty((count, box, box))
    for index in range(count):
        rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        places = centres @ rotation[:2].T + rng.normal(0, shift, 2)
        image = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * (box / 20) ** 2)) for px, py in places)
        gamma = -np.pi * wavelength * rng.uniform(1e4, 3e4) * frequency**2 - np.arcsin(0.1)
        images[index] = np.fft.irfft2(np.fft.rfft2(image) * -np.sin(gamma), s=(box, box))
    spread = images.std()
    return (images + rng.normal(0, spread / np.sqrt(snr), images.shape)).astype(np.float32)


@pytest.mark.shared_data
@pytest.mark.parametrize("name", REAL)
def test_sign_of_real_sets(shared_data, name):
    reader = ImageReader(read_particles(shared_data / "particles" / name))
    measure = measure_contrast_of(reader)
    assert measure.sign == REAL[name]
    assert measure.confidence > 0.999
    assert np.sign(measure.score) == REAL[name]
    inverted = measure_contrast(-reader.read(slice(None)))
    assert inverted.sign == -REAL[name] and inverted.confidence > 0.999


@pytest.mark.parametrize("snr", [1.0, 0.1, 0.03])
@pytest.mark.parametrize("seed", range(3))
def test_sign_of_simulated_sets(snr, seed):
    images = simulated(150, snr=snr, seed=seed)
    for sign in (1, -1):
        measure = measure_contrast(sign * images)
        assert measure.sign == sign and measure.confidence > 0.99, str(measure)


def test_scale_and_offset_of_each_image_do_not_matter():
    images = simulated(40, snr=0.5)
    rng = np.random.default_rng(23)
    scaled = images * rng.uniform(0.1, 10, (40, 1, 1)) + rng.normal(0, 50, (40, 1, 1))
    one, other = measure_contrast(images), measure_contrast(scaled)
    assert one.sign == other.sign == 1
    assert other.score == pytest.approx(one.score, rel=1e-3)


def test_a_sloping_background_does_not_turn_the_sign():
    images = simulated(100, snr=0.2)
    x = np.linspace(-1, 1, 64) * images.std()
    assert measure_contrast(-images + 2 * x).sign == -1
    assert measure_contrast(images + 2 * x[:, None]).sign == 1


def test_noise_alone_gives_no_confidence():
    rng = np.random.default_rng(24)
    sure = [measure_contrast(rng.normal(size=(60, 48, 48))).confidence for _ in range(60)]
    # confidence is the chance that noise shows less: uniform on noise, so above 0.99 about once in 100
    assert np.mean(np.array(sure) > 0.99) <= 0.05
    assert 0.3 < np.mean(sure) < 0.7


def test_too_few_images_are_not_trusted():
    images = simulated(2, snr=5)
    assert measure_contrast(images).confidence == 0 and measure_contrast(images).sign == 1
    assert measure_contrast(np.zeros((4, 16, 16))).confidence == 0
    with pytest.raises(ZooError, match="measured on"):
        measure_contrast(np.zeros((16, 16)))


def test_it_tells_a_person():
    text = str(measure_contrast(-simulated(60, snr=1)))
    assert text.startswith("particles are dark (-1), ") and "60 images" in text


@pytest.mark.parametrize("count", [3, 4, 8])
@pytest.mark.parametrize("smooth", [0, 3])
def test_few_images_of_noise_are_sure_as_often_as_they_say(count, smooth):
    rng = np.random.default_rng(25)
    sets = 500
    noise = rng.normal(size=(sets * count, 32, 32))
    if smooth:
        noise = ndimage.gaussian_filter(noise, (0, smooth, smooth))
    sure = np.array([measure_contrast(part).confidence for part in np.split(noise, sets)])
    # 95 % sure in 5 % of the sets: 25 of 500, with a spread of 4.9
    assert 10 <= (sure > 0.95).sum() <= 40, (sure > 0.95).mean()
    assert (sure > 0.99).sum() <= 14
