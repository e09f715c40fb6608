import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zoo.errors import ZooError
from zoo.metrics.views import crowded_direction, fibonacci_half_sphere, fourier_completeness, sampling_counts


def relion_matrices(rot, tilt, psi):
    angles = np.stack(np.broadcast_arrays(rot, tilt, psi), axis=1)
    return Rotation.from_euler("ZYZ", angles, degrees=True).inv().as_matrix()


def test_even_views_are_complete():
    views = Rotation.random(20000, random_state=0).as_matrix()
    assert fourier_completeness(views) > 0.97


def test_one_view_is_not_whatever_its_in_plane_angle():
    rng = np.random.default_rng(0)
    views = relion_matrices(np.zeros(5000), 0.0, rng.uniform(0, 360, 5000))
    assert fourier_completeness(views) < 1e-3


def test_side_views_give_the_published_value():
    # Baldwin & Lyumkis 2020: views evenly around one axis, SCF = 8 / pi^2 = 0.81
    rng = np.random.default_rng(1)
    views = relion_matrices(rng.uniform(0, 360, 40000), 90.0, rng.uniform(0, 360, 40000))
    assert fourier_completeness(views) == pytest.approx(8 / np.pi**2, abs=0.02)


def test_the_narrower_the_cone_the_lower_the_score():
    rng = np.random.default_rng(2)
    rot, psi = rng.uniform(0, 360, (2, 5000))
    scores = [
        fourier_completeness(relion_matrices(rot, np.degrees(np.arccos(rng.uniform(limit, 1, 5000))), psi))
        for limit in (0.0, 0.5, 0.9)
    ]
    assert scores[0] > 0.95
    assert scores[0] > scores[1] > scores[2]
    assert scores[2] < 0.05


def test_score_does_not_depend_on_the_frame():
    rng = np.random.default_rng(3)
    views = relion_matrices(rng.uniform(0, 360, 5000), rng.uniform(60, 120, 5000), 0.0)
    turned = views @ Rotation.from_euler("ZYZ", [20, 50, 70], degrees=True).as_matrix()
    assert fourier_completeness(turned) == pytest.approx(fourier_completeness(views), rel=0.05)


def test_counts_are_those_of_the_slice_geometry():
    # a view down z holds the equator only: share of directions with |u.z| < 1/(2R) is 1/(2R)
    seen = sampling_counts(np.array([[0.0, 0.0, 1.0]]), fourier_radius=10, directions=10000)
    assert seen.mean() == pytest.approx(0.05, abs=0.001)
    points = fibonacci_half_sphere(10000)
    np.testing.assert_array_equal(seen > 0, np.abs(points[:, 2]) < 0.05)


def test_bad_shape_is_refused():
    with pytest.raises(ZooError, match=r"\(n, 3, 3\)"):
        fourier_completeness(np.zeros((4, 3)))


@pytest.mark.parametrize("share", [0.0, 0.8])
def test_the_share_of_crowded_views_and_their_axis_are_found(share):
    rng = np.random.default_rng(4)
    beams = rng.normal(size=(20000, 3))
    beams /= np.linalg.norm(beams, axis=1, keepdims=True)
    axis = np.array([0.48, -0.6, 0.64])
    near = np.abs(beams @ axis) >= np.cos(np.radians(20))
    pool, crowd = beams[~near], beams[near]
    count = int(share * 2000)
    beams = np.concatenate([crowd[:count], pool[: 2000 - count]]) if share else beams[:2000]
    assert near[: len(beams)].mean() == pytest.approx(1 - np.cos(np.radians(20)), abs=0.02)
    found, where = crowded_direction(beams)
    if share:
        crowded = count if len(crowd) >= count else len(crowd)
        assert found == pytest.approx(crowded / len(beams), abs=0.02)
        assert abs(where @ axis) > np.cos(np.radians(3))
    else:
        assert 0.06 < found < 0.1  # the most of many axes is a little above the 6 % of one
