"""Insertion is the transpose of slicing, and the Wiener solution gives the map back."""

import numpy as np
import pytest

from zoo.ops.fourier_volume import (
    FourierGrid,
    central_slices,
    insert,
    share_low_shells,
    shell_correlation,
    solve_halves,
    whitened,
)


def test_insertion_is_the_transpose_of_slicing(plane, poses):
    rng = np.random.default_rng(4)
    grid = FourierGrid(plane.box)
    shape = (grid.side,) * 3
    anything = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype("c8")
    frames = poses[0][:4, :2].astype("f4")
    values = (rng.normal(size=(4, len(plane))) + 1j * rng.normal(size=(4, len(plane)))).astype("c8")
    sums = np.zeros((1, *shape, 3), "f4")
    ones = np.ones(4, "f4")
    nothing = np.zeros((4, 2), "f4")
    ctf = np.ones(values.shape, "f4")
    order = np.arange(4)
    insert(sums, np.zeros(4, int), order, frames, nothing, ones, values, ctf, plane.points, plane.box)
    slices = central_slices(anything, frames, plane.points)
    slices = slices[:, : len(plane)] + 1j * slices[:, len(plane) :]
    inserted = sums[0, ..., 0] + 1j * sums[0, ..., 1]
    assert np.vdot(anything, inserted) == pytest.approx(np.vdot(slices, values), rel=1e-4)
    assert sums[..., 2].sum() == pytest.approx(4 * len(plane), rel=1e-5)


def test_wiener_solution_gives_the_map_back(blobs, plane, poses):
    matrices, shifts = poses
    rng = np.random.default_rng(1)
    ctf = rng.uniform(-1, 1, (len(matrices), len(plane))).astype("f4")
    values = blobs.coefficients(matrices, shifts, plane.points) * ctf
    noise = rng.normal(size=(2, *values.shape)) * 0.05 * np.abs(values).std()
    values = (values + noise[0] + 1j * noise[1]).astype("c8")
    grid = FourierGrid(blobs.box)
    sums = np.zeros((2, grid.side, grid.side, grid.side, 3), "f4")
    order = np.arange(len(matrices))
    frames, weights = matrices[:, :2].astype("f4"), np.ones(len(matrices), "f4")
    insert(sums, order % 2, order, frames, shifts.astype("f4"), weights, values, ctf, plane.points, blobs.box)
    mask = grid.sphere(0.45 * blobs.box, 2.0)
    found = solve_halves(grid, sums, plane.radius, mask, 0.02)
    truth = blobs.volume()
    curve = shell_correlation(found.whole, truth)
    assert (curve[1:7] > 0.99).all()
    assert (found.fsc[1:5] > 0.95).all()
    assert np.abs(found.whole - truth).max() < 0.1 * truth.max()
    assert np.corrcoef(found.halves[0].ravel(), truth.ravel())[0, 1] > 0.98


def test_shell_correlation_is_that_of_the_metrics(blobs):
    from zoo.metrics.fsc import fsc

    a = blobs.volume()
    b = a + np.random.default_rng(0).normal(size=a.shape).astype("f4") * 0.2
    ours = shell_correlation(a, b)
    np.testing.assert_allclose(ours, fsc(a, b), atol=1e-4)


def test_low_shells_are_shared_and_high_ones_kept(blobs):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 24, 24, 24)).astype("f4")
    mixed = share_low_shells(a, b, 5)
    assert (shell_correlation(mixed, b)[1:4] > 0.999).all()
    assert (shell_correlation(mixed, a)[7:] > 0.999).all()


def test_whitened_maps_have_equal_power_up_to_the_band(blobs):
    white = whitened(blobs.volume(), 6)
    shells = np.rint(np.linalg.norm(np.stack(np.meshgrid(*[np.fft.fftfreq(24, 1 / 24)] * 3)), axis=0)).astype(
        int
    )
    power = np.bincount(shells.ravel(), (np.abs(np.fft.fftn(white)) ** 2).ravel()) / np.bincount(
        shells.ravel()
    )
    np.testing.assert_allclose(power[1:7] / power[1], 1, rtol=0.15)
    assert (power[7:12] < 1e-6 * power[1]).all()
