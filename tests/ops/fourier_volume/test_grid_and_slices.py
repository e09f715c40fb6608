"""Grids and their slices against the analytic transform, simulated projections and the tensor ops."""

import numpy as np
import pytest

from zoo.ops.fourier_volume import FourierGrid, central_slices, resized
from zoo.ops.fourier_volume.slices import value_and_slopes_at, value_at
from zoo.simulate.poses import euler_of
from zoo.simulate.project import Projector


def as_complex(values):
    half = values.shape[1] // 2
    return values[:, :half] + 1j * values[:, half:]


def test_grid_round_trip(blobs):
    grid = FourierGrid(blobs.box)
    volume = blobs.volume()
    np.testing.assert_allclose(grid.inverse(grid.transform(volume)), volume, atol=1e-5)


def test_slices_are_the_transforms_of_projections(blobs, plane, poses):
    matrices = poses[0]
    expected = blobs.coefficients(matrices, np.zeros((len(matrices), 2)), plane.points)
    transform = FourierGrid(blobs.box).transform(blobs.volume())
    found = as_complex(central_slices(transform, matrices[:, :2].astype("f4"), plane.points))
    # linear interpolation of a grid padded twice is good to 2 %
    assert np.linalg.norm(found - expected) < 0.025 * np.linalg.norm(expected)


def test_convention_is_that_of_simulated_particles(blobs, plane, poses):
    matrices, shifts = (part[:20] for part in poses)
    images = Projector(blobs.volume(), 1.0)(euler_of(matrices), -shifts)
    transform = FourierGrid(blobs.box).transform(blobs.volume())
    found = as_complex(central_slices(transform, matrices[:, :2].astype("f4"), plane.points))
    found = found * np.exp(-2j * np.pi / blobs.box * (shifts @ plane.points.T))
    expected = plane.transform(images)[0]
    assert np.linalg.norm(found - expected) < 0.01 * np.linalg.norm(expected)


def test_slices_equal_those_of_the_tensor_ops(blobs, plane, poses):
    from keras import ops

    from zoo.ops import slices

    matrices = poses[0][:10].astype("f4")
    transform = FourierGrid(blobs.box).transform(blobs.volume())
    grid = (ops.convert_to_tensor(transform.real), ops.convert_to_tensor(transform.imag))
    re, im = (ops.convert_to_numpy(x) for x in slices.central_slice(grid, matrices, blobs.box))
    kx, ky = plane.points.T.astype(int) + blobs.box // 2
    found = as_complex(central_slices(transform, matrices[:, :2], plane.points))
    np.testing.assert_allclose(found, (re + 1j * im)[:, ky, kx], atol=1e-4 * np.abs(found).max())


def test_slopes_are_the_differences_of_the_value():
    rng = np.random.default_rng(0)
    grid = (rng.normal(size=(6, 6, 6)) + 1j * rng.normal(size=(6, 6, 6))).astype(np.complex64)
    at = np.array([2.3, 3.6, 1.4])
    value, *slopes = value_and_slopes_at(grid, *at)
    assert value == pytest.approx(value_at(grid, *at), abs=1e-6)
    for axis, slope in enumerate(slopes):
        step = 0.05 * np.eye(3)[axis]
        # within a cell the interpolation is linear along each axis: the quotient is exact
        quotient = (value_at(grid, *(at + step)) - value_at(grid, *(at - step))) / 0.1
        assert slope == pytest.approx(quotient, abs=2e-5)


def test_resized_keeps_densities_and_shells(blobs):
    volume = blobs.volume()
    larger = resized(volume, 2 * blobs.box)
    middle = np.unravel_index(volume.argmax(), volume.shape)
    assert larger[tuple(2 * np.array(middle))] == pytest.approx(volume.max(), rel=0.02)
    np.testing.assert_allclose(resized(larger, blobs.box), volume, atol=0.02 * volume.max())


def test_refuses_an_odd_box():
    with pytest.raises(ValueError, match="box 15: expected an even number"):
        FourierGrid(15)
