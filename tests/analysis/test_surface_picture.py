"""A surface is drawn where it is, lit from the side of the lamp."""

import numpy as np

from zoo.analysis.surface_picture import surface_image


def test_a_ball_is_a_disc_that_is_brightest_towards_the_lamp():
    axis = np.arange(32) - 16
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    density = np.clip(1 - (np.sqrt(x**2 + y**2 + z**2) - 8) / 2, 0, 1)
    image = surface_image(density, 0.5, side=96)
    inside = np.isfinite(image)
    # Radius 9 of 32 voxels.
    assert abs(inside.mean() - np.pi * (9 / 32) ** 2) < 0.03
    assert image[inside].min() >= 0.25 and image[inside].max() <= 1 + 1e-6
    half = inside.shape[0] // 2
    assert np.nanmean(image[:half, :half]) > np.nanmean(image[half:, half:]) + 0.1


def test_nothing_dense_is_nothing_drawn():
    assert np.isnan(surface_image(np.zeros((8, 8, 8)), 0.5, side=24)).all()
