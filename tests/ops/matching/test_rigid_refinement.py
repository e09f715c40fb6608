"""Refinement of poses: the correlation is equation 1 written out, its slopes are right, it climbs home."""

import numpy as np
import pytest
from keras import ops
from scipy.spatial.transform import Rotation

from zoo.ops.matching import half_transform_table, oversampled_transform
from zoo.ops.matching import rigid_refinement as refinement

N, RADIUS, PAD = 16, 6, 3
RNG = np.random.default_rng(11)
CENTRES = RNG.uniform(-2.0, 2.0, size=(6, 3))  # in the box at every pose
HEIGHTS = RNG.uniform(0.5, 1.5, size=6)
FREQUENCY = oversampled_transform.half_ball(RADIUS)


def blobs(rotation=None, shift=(0, 0, 0)):
    """Gaussians of 1.2 voxels, turned about voxel N//2, then shifted (xyz)."""
    centres = CENTRES if rotation is None else rotation.apply(CENTRES)
    x = np.arange(N) - N // 2
    waves = [np.exp(-((x[None] - (centres[:, i] + shift[i])[:, None]) ** 2) / 2.88) for i in range(3)]
    return np.einsum("ax,ay,az,a->zyx", *waves, HEIGHTS).astype("float32")


def transform(volume, points):
    x = np.arange(N) - N // 2
    waves = [np.exp(-2j * np.pi * points[:, i, None] * x / N) for i in range(3)]
    return np.einsum("zyx,jx,jy,jz->j", volume, *waves, optimize=True)


def observation(subtomogram, weight, masks=None):
    x = transform(subtomogram, FREQUENCY)[None]
    zoomed = ops.reshape(half_transform_table.half_zoom(blobs()[None], RADIUS, PAD), (-1, 8))
    parts = (part.astype("float32") for part in (x.real, x.imag))
    return refinement.Observation(FREQUENCY, N, RADIUS, PAD, zoomed, *parts, weight[None] ** 0.5, masks)


def pose(rotation, shift):
    matrix = rotation.as_matrix().astype("float32")[None, None, None]
    return matrix, np.array(shift, "float32")[None, None, None]


WEDGE = (np.abs(FREQUENCY[:, 2]) <= np.tan(np.deg2rad(60)) * np.abs(FREQUENCY[:, 0])).astype("float32")
TRUTH, SHIFT = Rotation.from_rotvec([0.5, -0.8, 1.1]), (1.1, -0.6, 0.4)
NOISE = RNG.normal(size=(N, N, N)).astype("float32")


def test_correlation_is_the_equation_written_out():
    noisy = blobs(TRUTH, SHIFT) + 0.3 * NOISE
    other, moved = Rotation.from_rotvec([0.2, -0.8, 1.0]), (0.4, 0.1, -0.9)
    seen = RNG.uniform(size=(1, N, N, N)).astype("float32")
    voxel = oversampled_transform.voxel_index(other.inv().apply(FREQUENCY), N)
    for masks, weight in ((None, WEDGE), (seen, WEDGE * seen.ravel()[voxel] ** 2)):
        x, t = transform(noisy, FREQUENCY), transform(blobs(other, moved), FREQUENCY)
        expected = (weight * x * t.conj()).sum().real
        expected /= np.sqrt((weight * np.abs(x) ** 2).sum() * (weight * np.abs(t) ** 2).sum())
        view = observation(noisy, WEDGE, masks)
        found = float(refinement.correlation(refinement.gram_matrix(view, *pose(other, moved)))[0, 0, 0])
        assert found == pytest.approx(expected, abs=2e-3)
        alone = float(refinement.correlation_at(view, *pose(other, moved))[0, 0, 0])
        assert alone == pytest.approx(found, abs=1e-5)


def test_inner_products_with_derivatives_are_finite_differences():
    view = observation(blobs(TRUTH, SHIFT) + 0.3 * NOISE, WEDGE)
    start = Rotation.from_rotvec([0.3, -0.7, 1.0])
    gram = ops.convert_to_numpy(refinement.gram_matrix(view, *pose(start, SHIFT)))[0, 0, 0]
    np.testing.assert_allclose(gram, gram.T, rtol=1e-4, atol=1e-3 * np.abs(gram).max())

    def inner(turn, move):
        turned = start * Rotation.from_rotvec(turn)
        t = transform(blobs(turned, np.add(SHIFT, move)), FREQUENCY)
        return (WEDGE * (view.x_re[0] + 1j * view.x_im[0]) * t.conj()).sum().real

    for axis in range(3):
        # Slopes are those of the nearest sample; shifts need none.
        for row, step, error in ((1 + axis, (1e-4, 0.0), 0.03), (4 + axis, (0.0, 1e-4), 0.01)):
            turn, move = (size * np.eye(3)[axis] for size in step)
            slope = (inner(turn, move) - inner(-turn, -move)) / 2e-4
            size = float(np.sqrt(gram[row, row] * gram[7, 7]))
            assert gram[row, 7] == pytest.approx(slope, abs=error * size)


def test_climbs_home_and_never_down():
    view = observation(blobs(TRUTH, SHIFT), WEDGE)
    start = TRUTH * Rotation.from_rotvec([0.15, 0.1, -0.15]), np.add(SHIFT, [0.6, -0.4, 0.5])
    before = refinement.correlation(refinement.gram_matrix(view, *pose(*start)))[0, 0, 0]
    scores = []
    for steps in (1, 2, 6):
        rotation, shift, score = refinement.refine(view, *pose(*start), steps, 1.0)
        scores.append(float(score[0, 0, 0]))
    assert float(before) < scores[0] < scores[1] <= scores[2]
    assert scores[2] > 0.999
    found = Rotation.from_matrix(ops.convert_to_numpy(rotation)[0, 0, 0])
    assert np.rad2deg((found * TRUTH.inv()).magnitude()) < 0.3
    np.testing.assert_allclose(shift[0, 0, 0], SHIFT, atol=0.02)


def test_turn_is_scipys_for_small_angles_and_proper_for_large():
    small = np.array([[0.02, -0.03, 0.01], [0.0, 0.0, 0.0]], "float32")
    expected = Rotation.from_rotvec(small).as_matrix()
    np.testing.assert_allclose(refinement.turn_matrix(small), expected, atol=1e-5)
    large = ops.convert_to_numpy(refinement.turn_matrix(np.array([2.0, -1.0, 3.0], "float32")))
    np.testing.assert_allclose(large @ large.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(large) == pytest.approx(1.0, abs=1e-6)


def test_nothing_observed_scores_zero():
    view = observation(blobs(), np.zeros_like(WEDGE))
    rotation, shift, score = refinement.refine(view, *pose(TRUTH, SHIFT), 2, 1.0)
    assert float(score[0, 0, 0]) == 0.0
    np.testing.assert_allclose(rotation[0, 0, 0], TRUTH.as_matrix(), atol=1e-6)
