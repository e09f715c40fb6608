"""One frame and hand for all classes, and classes that are the same."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zoo.metrics.alignment import transform_map
from zoo.models.abinitio3d.classes import lay_halves_together, merge, same_classes, unify
from zoo.ops import fourier_volume as fv
from zoo.simulate.embedded import embedded_maps


def projections(volume, frames, shifts, plane):
    """Coefficients (n, m) of projections of a map; shifts in pixels of the plane's box."""
    slices = fv.central_slices(fv.FourierGrid(len(volume)).transform(volume), frames, plane.points)
    slices = slices[:, : len(plane)] + 1j * slices[:, len(plane) :]
    return slices * np.exp(-2j * np.pi / plane.box * (shifts @ plane.points.T))


@pytest.mark.parametrize("hand", [pytest.param(1, marks=pytest.mark.slow), -1])
def test_a_turned_class_comes_back_with_its_poses(hand):
    truth = embedded_maps(32, 10.0)[[2, 1]]
    turn = Rotation.from_rotvec([0.5, -1.1, 0.8]).as_matrix()
    maps = np.stack([truth[0], transform_map(truth[1], turn, (0.8, -0.5, 0.3), hand)]).astype("f4")
    frames = Rotation.random(12, random_state=1).as_matrix()[:, :2].astype("f4").reshape(6, 2, 2, 3)
    shifts = np.random.default_rng(0).uniform(-2, 2, (6, 2, 2)).astype("f4")
    state = {
        "maps": maps,
        "half_maps": np.stack([maps, maps]),
        "fsc": np.stack([np.linspace(1, 0.5, 17), np.linspace(0.9, 0.2, 17)]),
        "members": np.array([4.0, 4.0]),
        "active": np.array([1, 1]),
        "table_class": np.array([[0, 1], [1, 1], [1, 0], [0, 0], [1, 1], [0, 1]]),
        "table_frame": frames,
        "table_shift": shifts,
    }
    before = {name: value.copy() for name, value in state.items()}
    # images of twice the maps' pixels: a voxel of theirs is two pixels of the images
    plane = fv.HalfPlane(64, 9)
    lines = unify(state, 2.0)
    assert len(lines) == 1 and "once laid over" in lines[0]
    np.testing.assert_array_equal(state["maps"][0], maps[0])
    assert fv.shell_correlation(state["maps"][1], truth[1])[1:10].min() > 0.97
    np.testing.assert_allclose(state["half_maps"][0], state["maps"], atol=1e-6)
    mine = before["table_class"] == 1
    np.testing.assert_array_equal(state["table_frame"][~mine], before["table_frame"][~mine])
    old = projections(maps[1], frames[mine], shifts[mine], plane)
    new = projections(state["maps"][1], state["table_frame"][mine], state["table_shift"][mine], plane)
    assert np.linalg.norm(new - old) < 0.05 * np.linalg.norm(old)


def test_classes_that_explain_each_others_images_are_the_same():
    gain = np.array([200.0, 210.0, 190.0, 200.0])
    cross = np.array([[0, 4, 60, 70], [3, 0, 66, 71], [50, 55, 0, 5], [40, 50, 90, 0]], float)
    members = np.array([300.0, 500.0, 250.0, 30.0])
    # 2 is not 3: its images lose little in 3, but those of 3 lose much in 2
    np.testing.assert_array_equal(same_classes(cross, gain, members, 0.05), [1, 1, 2, 3])
    members[3] = 1.0  # hardly any image: it goes where its images lose least
    np.testing.assert_array_equal(same_classes(cross, gain, members, 0.05), [1, 1, 2, 1])


def test_merged_classes_give_their_images_away():
    state = {"table_class": np.array([[0, 2], [1, 0]], "i4"), "active": np.ones(3, "i4")}
    merge(state, np.array([1, 1, 2]))
    np.testing.assert_array_equal(state["table_class"], [[1, 2], [1, 1]])
    np.testing.assert_array_equal(state["active"], [0, 1, 1])


def test_half_2_is_laid_over_half_1_with_its_poses_and_nothing_else_moves():
    volume = embedded_maps(32, 10.0)[2].astype("f4")
    turned = transform_map(volume, Rotation.from_rotvec([0.05, -0.06, 0.04]).as_matrix(), (0.3, 0.2, -0.4), 1)
    halves = np.stack([np.stack([volume, volume]), np.stack([turned, volume])]).astype("f4")
    frames = Rotation.random(12, random_state=1).as_matrix()[:, :2].astype("f4").reshape(6, 2, 2, 3)
    state = {
        "maps": halves[0],
        "half_maps": halves,
        "fsc": np.tile(np.linspace(1, 0.1, 17), (2, 1)),
        "members": np.array([3.0, 3.0]),
        "active": np.array([1, 1]),
        "table_class": np.array([[0, 0], [0, 0], [1, 1], [0, 0], [0, 1], [1, 1]]),
        "table_half": np.array([0, 1, 0, 1, 0, 1]),
        "table_frame": frames,
        "table_shift": np.random.default_rng(0).uniform(-2, 2, (6, 2, 2)).astype("f4"),
    }
    before = {name: value.copy() for name, value in state.items()}
    lines = lay_halves_together(state, fv.HalfPlane(32, 12), fv.FourierGrid(32), 2.0)
    assert lines[0].startswith("class 1: halves 5.0") and lines[1].startswith("class 2: halves 0.00 degrees")
    assert fv.shell_correlation(state["half_maps"][1, 0], volume)[2:11].min() > 0.99
    np.testing.assert_array_equal(state["half_maps"][0], before["half_maps"][0])
    np.testing.assert_array_equal(state["half_maps"][1, 1], before["half_maps"][1, 1])
    np.testing.assert_array_equal(state["maps"], before["maps"])
    # rows 1, 3 and 5 are half 2
    moved = np.zeros((6, 2), bool)
    moved[[1, 3]] = True
    same = (state["table_frame"] == before["table_frame"]).all(axis=(2, 3))
    np.testing.assert_array_equal(~same, moved)
    # the poses see in the map as it lies now what they saw in it before
    plane, rows = fv.HalfPlane(64, 8), [1, 3]
    was = projections(turned, before["table_frame"][rows, 0], before["table_shift"][rows, 0], plane)
    now = projections(
        state["half_maps"][1, 0], state["table_frame"][rows, 0], state["table_shift"][rows, 0], plane
    )
    assert np.abs(np.vdot(was, now)) / np.linalg.norm(was) / np.linalg.norm(now) > 0.995
