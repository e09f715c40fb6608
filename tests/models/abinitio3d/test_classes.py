"""One frame and hand for all classes, and classes that are the same."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zoo.metrics.alignment import transform_map
from zoo.models.abinitio3d.classes import merge, same_classes, unify
from zoo.ops import fourier_volume as fv
from zoo.simulate.embedded import embedded_maps


def projections(volume, frames, shifts, plane):
    """Coefficients (n, m) of projections of a map; shifts in pixels of the plane's box."""
    slices = fv.central_slices(fv.FourierGrid(len(volume)).transform(volume), frames, plane.points)
    slices = slices[:, : len(plane)] + 1j * slices[:, len(plane) :]
    return slices * np.exp(-2j * np.pi / plane.box * (shifts @ plane.points.T))


@pytest.mark.parametrize("hand", [1, -1])
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
