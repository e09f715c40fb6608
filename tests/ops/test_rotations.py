"""Rotations against scipy, and where directions are not defined."""

import numpy as np
import pytest
from keras import ops
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from zoo.ops import rotations


def numpy(x):
    return ops.convert_to_numpy(x)


@pytest.fixture
def euler_deg():
    return np.random.default_rng(1).uniform([-180, 0, -180], [180, 180, 180], (200, 3))


def test_euler_to_matrix_is_scipys_inverse_zyz(euler_deg):
    expected = Rotation.from_euler("ZYZ", euler_deg, degrees=True).inv().as_matrix()
    np.testing.assert_allclose(numpy(rotations.euler_to_matrix(euler_deg)), expected, atol=1e-6)


def test_matrix_to_euler_is_scipys(euler_deg):
    matrices = Rotation.from_euler("ZYZ", euler_deg, degrees=True).inv().as_matrix()
    np.testing.assert_allclose(numpy(rotations.matrix_to_euler(matrices)), euler_deg, atol=2e-3)


@pytest.mark.parametrize("tilt", [0.0, 180.0])
def test_poles_keep_the_rotation_and_set_rot_to_zero(tilt):
    matrices = rotations.euler_to_matrix(np.array([[30.0, tilt, 50.0], [-170.0, tilt, 20.0]]))
    euler = rotations.matrix_to_euler(matrices)
    np.testing.assert_array_equal(numpy(euler)[:, 0], 0.0)
    np.testing.assert_allclose(numpy(rotations.euler_to_matrix(euler)), numpy(matrices), atol=1e-6)


def gram_schmidt(v):
    u1 = v[:3] / np.linalg.norm(v[:3])
    u2 = v[3:] - (v[3:] @ u1) * u1
    u2 /= np.linalg.norm(u2)
    return np.array([u1, u2, np.cross(u1, u2)])


def test_6d_is_numpys_gram_schmidt():
    v = np.random.default_rng(2).normal(size=(100, 6))
    expected = np.array([gram_schmidt(row) for row in v])
    np.testing.assert_allclose(numpy(rotations.rotation_from_6d(v)), expected, atol=1e-5)


DEGENERATE = np.array(
    [
        [0, 0, 0, 0, 0, 0],
        [1, 2, 3, 2, 4, 6],
        [1, 2, 3, -1, -2, -3],
        [1e-30, 0, 0, 0, 1e-30, 0],
        [1, 1, 1, 1, 1, 1.000001],
        [1e20, 0, 0, 1e20, 1e12, 0],
        [0, 0, 0, 1, 0, 0],
    ],
    "float32",
)


@pytest.mark.parametrize("row", range(len(DEGENERATE)))
def test_6d_gives_a_proper_rotation_and_finite_gradient_everywhere(row, gradients):
    v = DEGENERATE[row : row + 1]
    matrix = numpy(rotations.rotation_from_6d(v))[0].astype("float64")
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(matrix) == pytest.approx(1.0, abs=1e-6)
    weights = np.random.default_rng(3).normal(size=(1, 3, 3)).astype("float32")
    (gradient,), _ = gradients(lambda x: ops.sum(rotations.rotation_from_6d(x) * weights), [v])
    assert np.isfinite(gradient).all()


def test_quaternions_are_scipys():
    q = np.random.default_rng(4).normal(size=(50, 4))
    expected = Rotation.from_quat(q[:, [1, 2, 3, 0]]).as_matrix()
    np.testing.assert_allclose(numpy(rotations.quaternion_to_matrix(q)), expected, atol=1e-6)


@pytest.mark.parametrize("size", [4, 6])
def test_uniform_rotations_have_the_haar_angle_distribution(size):
    normal = np.random.default_rng(5).normal(size=(20000, size))
    matrices = numpy(rotations.uniform_rotations(normal))
    angle = np.radians(numpy(rotations.rotation_distance_deg(matrices, np.eye(3, dtype="float32"))))
    expected = (np.sort(angle) - np.sin(np.sort(angle))) / np.pi  # Haar: P(angle < t) = (t − sin t)/π
    # Kolmogorov–Smirnov at 0.1 %: 1.95/√n.
    assert np.abs(expected - np.arange(20000) / 20000).max() < 1.95 / np.sqrt(20000)
    assert np.abs(matrices.mean(0)).max() < 0.03


def test_uniform_rotations_refuse_another_size():
    with pytest.raises(ValueError, match="last axis 5"):
        rotations.uniform_rotations(np.zeros((2, 5)))


@pytest.mark.parametrize("angle_deg", [0.0, 0.01, 1.0, 90.0, 179.9, 180.0])
def test_distance_is_the_angle(angle_deg):
    axis = np.array([1.0, -2.0, 0.5]) / np.linalg.norm([1.0, -2.0, 0.5])
    a = Rotation.from_euler("ZYZ", [20, 50, 80], degrees=True)
    b = a * Rotation.from_rotvec(np.radians(angle_deg) * axis)
    found = numpy(rotations.rotation_distance_deg(a.as_matrix(), b.as_matrix()))
    assert found == pytest.approx(angle_deg, abs=0.03)


def test_distance_and_euler_gradients_are_finite_at_equal_rotations_and_poles(gradients):
    identity = np.eye(3, dtype="float32")[None]
    (gradient,), _ = gradients(lambda x: ops.sum(rotations.rotation_distance_deg(x, identity)), [identity])
    assert np.isfinite(gradient).all()
    (gradient,), _ = gradients(lambda x: ops.sum(rotations.matrix_to_euler(x)), [identity])
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("step_deg", [10.0, 20.0, 40.0])
def test_so3_grid_is_even(step_deg):
    grid = rotations.so3_grid(step_deg)
    identities = np.tile(np.eye(3), (len(grid), 1, 1))
    np.testing.assert_allclose(grid @ grid.transpose(0, 2, 1), identities, atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(grid), 1.0)
    quaternions = Rotation.from_matrix(grid).as_quat()
    tree = cKDTree(np.concatenate([quaternions, -quaternions]))
    # Chord in quaternion space → angle between rotations.
    nearest = np.degrees(4 * np.arcsin(tree.query(quaternions, k=2)[0][:, 1] / 2))
    assert 0.5 * step_deg < nearest.min() and nearest.max() < 1.1 * step_deg
    probes = Rotation.random(20000, random_state=0).as_quat()
    at_random = Rotation.random(len(grid), random_state=1).as_quat()
    random_tree = cKDTree(np.concatenate([at_random, -at_random]))
    hole, random_hole = (np.degrees(4 * np.arcsin(t.query(probes)[0].max() / 2)) for t in (tree, random_tree))
    # Every rotation is within one step of the grid; as many random ones leave wider holes.
    assert hole < step_deg < random_hole


def test_so3_grid_refuses_a_step_of_zero():
    with pytest.raises(ValueError, match="got 0"):
        rotations.so3_grid(0)
