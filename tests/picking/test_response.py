"""The difference of Gaussians by cosine transforms against scikit-image's, and what a block must see."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.filters import difference_of_gaussians as oracle

from zoo.picking.response import difference_of_gaussians, margin_voxels
from zoo.picking.settings import PickSettings


@pytest.fixture(scope="module")
def volume():
    return np.random.default_rng(0).normal(40.0, 3.0, (47, 64, 53)).astype(np.float32)


def test_smoothing_and_difference_are_those_of_scikit_image(volume):
    settings = PickSettings(smooth_voxels=1.5, sigma_voxels=3.0, sigma_ratio=1.4)
    smooth = ndimage.gaussian_filter(volume.astype(np.float64), 1.5, mode="reflect", truncate=8)
    expected = oracle(smooth, 3.0, 4.2, mode="reflect", truncate=8)
    found = difference_of_gaussians(volume.copy(), settings.widths_voxel)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 2e-5 * expected.std()


def test_an_offset_of_the_grey_values_does_not_cost_precision(volume):
    widths = (3.0, 4.0)
    plain = difference_of_gaussians(volume - 40, widths)
    # float32 itself rounds the values that lie at 4000 to 2e-4
    assert np.abs(difference_of_gaussians(volume + 4000, widths) - plain).max() < 1e-3 * plain.std()


def test_beyond_the_margin_nothing_acts():
    widths = (2.0, 2.6)
    margin = margin_voxels(widths)
    rng = np.random.default_rng(1)
    volume = rng.standard_normal((20, 20, 20 + 2 * margin), dtype=np.float32)
    other = volume.copy()
    other[..., :10] = rng.standard_normal((20, 20, 10), dtype=np.float32)
    seen, unseen = (difference_of_gaussians(each, widths) for each in (volume, other))
    # the rounding of float32, of values with a spread of 1
    assert np.abs(seen - unseen)[..., 10 + margin :].max() < 1e-7
    assert np.abs(seen - unseen)[..., :10].max() > 0.1 * seen.std()
