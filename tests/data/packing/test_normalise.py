"""Normalisation: equal to RELION's, and to the formulas in double precision."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from zoo.data.formats.images import ImageReader
from zoo.data.formats.mrc import write_stack
from zoo.data.packing.normalise import background_mask, default_radius, normalise
from zoo.data.particles import read_particles
from zoo.errors import ZooError


@pytest.fixture
def images() -> np.ndarray:
    rng = np.random.default_rng(15)
    y, x = np.mgrid[:48, :48] - 24
    particle = np.exp(-(x**2 + y**2) / 60)
    ramps = rng.normal(size=(9, 2))
    slope = (ramps[:, 0, None, None] * x + ramps[:, 1, None, None] * y) / 20
    scale = rng.uniform(0.5, 30, size=(9, 1, 1))
    noise = rng.normal(size=(9, 48, 48))
    return ((3 * particle + noise + slope) * scale + rng.normal(0, 100, (9, 1, 1))).astype(np.float32)


def outside(radius: float) -> np.ndarray:
    y, x = np.mgrid[:48, :48]
    return (x - 24) ** 2 + (y - 24) ** 2 > radius**2


@pytest.mark.parametrize("radius", [10, 18, 22.5])
def test_background_has_mean_0_and_spread_1(images, radius):
    result = normalise(images, radius)
    for before, after in zip(images.astype(np.float64), result, strict=True):
        ring = before[outside(radius)]
        np.testing.assert_allclose(after, (before - ring.mean()) / ring.std(), atol=2e-5)
    assert result.dtype == np.float32


def test_default_radius_is_three_eighths_of_the_box(images):
    np.testing.assert_array_equal(normalise(images), normalise(images, 18))
    assert default_radius(64) == 24


def test_grey_scale_and_offset_do_not_matter(images):
    np.testing.assert_allclose(normalise(images * 7 - 1000), normalise(images), atol=2e-3)
    far = images / np.abs(images).max() + 1e4
    assert abs(normalise(far)[:, background_mask(48, 18)].mean(axis=1)).max() < 1e-4


def test_signal_method_is_equation_49_to_the_letter(images):
    result = normalise(images, 15, method="signal")
    for before, after in zip(images.astype(np.float64), result, strict=True):
        background, signal = before[outside(15)].mean(), before[~outside(15)].mean()
        np.testing.assert_allclose(after, (before - background) / (signal - background), rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(normalise(-images, 15, method="signal"), result, rtol=1e-4, atol=1e-4)


def test_ramp_method_takes_the_plane_away(images):
    y, x = np.mgrid[:48, :48] - 24
    result = normalise(images, 18, method="ramp").astype(np.float64)
    ring = outside(18)
    for image in result:
        design = np.stack([x[ring], y[ring], np.ones(ring.sum())], axis=1)
        coefficients = np.linalg.lstsq(design, image[ring], rcond=None)[0]
        np.testing.assert_allclose(coefficients, 0, atol=1e-5)
        assert image[ring].std() == pytest.approx(1, abs=1e-5)


def test_masked_and_blank_images_stay_finite():
    y, x = np.mgrid[:32, :32] - 16
    noise = np.random.default_rng(16).normal(5, 2, (32, 32))
    masked = np.where(np.hypot(x, y) < 10, noise, 0.25).astype(np.float32)
    blank = np.full((32, 32), 4.0, np.float32)
    result = normalise(np.stack([masked, blank]))
    assert result[0].std() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(result[0][np.hypot(x, y) > 12], 0, atol=1e-6)
    assert (result[1] == 0).all()


def test_the_input_is_left_alone(images):
    before = images.copy()
    for method in ("background", "ramp", "signal", "none"):
        assert not np.shares_memory(normalise(images, method=method), images)
    np.testing.assert_array_equal(images, before)


def test_impossible_requests_are_refused(images):
    for radius in (0, -3, 34, np.inf, np.nan):
        with pytest.raises(ZooError, match="expected more than 0 and less than 24"):
            normalise(images, radius)
    with pytest.raises(ZooError, match="unknown normalisation 'zscore'; choose one of background, ramp"):
        normalise(images, method="zscore")
    with pytest.raises(ZooError, match="image 1 of the batch: signal and background have the same mean"):
        normalise(np.full((2, 16, 16), 3.0), method="signal")


@pytest.mark.relion
@pytest.mark.parametrize(("method", "flags"), [("background", ["--no_ramp"]), ("ramp", [])])
def test_relion_preprocess_does_the_same(images, tmp_path, method, flags):
    write_stack(tmp_path / "in.mrcs", images, 1.0)
    expected = relion_normalise(tmp_path, 18, flags)
    np.testing.assert_allclose(normalise(images, 18, method), expected, atol=1e-4)


@pytest.mark.relion
@pytest.mark.shared_data
def test_relion_preprocess_does_the_same_on_real_particles(shared_data, tmp_path):
    path = shared_data / "particles" / "aspire_sample" / "sample.mrcs"
    shutil.copy(path, tmp_path / "in.mrcs")
    images = ImageReader(read_particles(path)).read(slice(None))
    for method, flags in (("background", ["--no_ramp"]), ("ramp", [])):
        np.testing.assert_allclose(
            normalise(images, 75, method), relion_normalise(tmp_path, 75, flags), atol=1e-4, err_msg=method
        )


def relion_normalise(folder, radius, flags) -> np.ndarray:
    subprocess.run(
        ["relion_preprocess", "--operate_on", "in.mrcs", "--operate_out", "out.mrcs", "--norm", "--bg_radius",
         str(radius), *flags], cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return ImageReader(read_particles(folder / "out.mrcs")).read(slice(None))
