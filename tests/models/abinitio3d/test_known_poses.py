"""Poses of the file: classes alone are found, poses stay or keep in range, half sets are the file's own."""

import dataclasses
import types

import numpy as np
import pytest

from zoo.errors import ZooError
from zoo.metrics.clustering import clustering_scores
from zoo.models.abinitio3d.abinitio import AbInitio
from zoo.models.abinitio3d.config import from_preset
from zoo.models.abinitio3d.known_poses import chance_level
from zoo.models.abinitio3d.model import AbInitio3D
from zoo.models.abinitio3d.solve import reconstruct
from zoo.models.abinitio3d.state import initial_state
from zoo.models.given_poses import GivenPoses, given_poses
from zoo.ops import fourier_volume as fv

PIXEL = 10.0


def known(small, **values):
    return dataclasses.replace(small.config, poses="known", **values)


def poses_of(small, half=None):
    """The true poses; origins of the small set are in pixels."""
    count = len(small.images)
    half = np.zeros(count, int) if half is None else half
    return GivenPoses(fv.euler_of_frames(small.frames), small.origin_px * PIXEL, half)


def angles_between(a, b):
    """Degrees between frames (n, 2, 3)."""
    a, b = fv.matrices_of_frames(a), fv.matrices_of_frames(b)
    return np.degrees(np.arccos(np.clip((np.einsum("nij,nij->n", a, b) - 1) / 2, -1, 1)))


@pytest.fixture(scope="module")
def found(small):
    half = np.where(np.arange(len(small.images)) < len(small.images) // 2, 2, 1)
    return reconstruct(
        small.images, small.ctf, PIXEL, known(small), seed=0, poses=poses_of(small, half)
    ), half


def test_states_are_found_at_the_poses_of_the_file(small, found):
    result, half = found
    assert result.found and len(result.maps) == 2
    assert clustering_scores(small.label, result.class_number)["nmi"] > 0.97
    np.testing.assert_allclose(result.frames, small.frames, atol=1e-5)
    np.testing.assert_allclose(result.origin_angstrom, small.origin_px * PIXEL, atol=1e-3)
    np.testing.assert_array_equal(result.half_set, half)


def test_maps_lie_in_the_frame_and_hand_of_the_file(small, found):
    result, _ = found
    for k, volume in enumerate(result.maps):
        state = np.bincount(small.label[result.class_number == k]).argmax()
        assert (fv.shell_correlation(volume, small.maps[state])[1:9] > 0.9).all()


def test_half_maps_hold_the_half_sets_of_the_file(small):
    """With all images of one state in one half set, its half maps cannot be those of every second image."""
    half = np.where(small.label == 0, 1, 2)
    config = known(small, classes=1)
    result = reconstruct(small.images, small.ctf, PIXEL, config, seed=0, poses=poses_of(small, half))
    for side, volume in enumerate(result.half_maps[:, 0]):
        own, other = (fv.shell_correlation(volume, small.maps[s])[2:7] for s in (side, 1 - side))
        assert (own > other + 0.005).all(), (side, own, other)


@pytest.mark.slow
def test_poses_within_a_range_come_nearer_to_the_truth_and_do_not_leave_it(small):
    rng = np.random.default_rng(3)
    uniform = rng.random((len(small.images), 6))
    uniform[:, 3] = 1  # all as far off as the range lets them come back
    frames, shifts = fv.poses_near(small.frames, -small.origin_px, uniform, np.radians(6), 0.5)
    given = GivenPoses(fv.euler_of_frames(frames), -shifts * PIXEL, np.zeros(len(frames), int))
    config = known(small, pose_range_deg=8.0, pose_range_angstrom=8.0)
    result = reconstruct(small.images, small.ctf, PIXEL, config, seed=0, poses=given)
    assert np.median(angles_between(result.frames, small.frames)) < 3.5
    assert angles_between(result.frames, frames).max() < 8.1
    moved = np.linalg.norm(result.origin_angstrom - given.origin_angstrom, axis=1)
    assert moved.max() < 8.1
    assert clustering_scores(small.label, result.class_number)["nmi"] > 0.9


def test_poses_at_chance_are_said(small):
    given = poses_of(small)
    order = np.random.default_rng(0).permutation(len(small.images))
    wrong = given._replace(euler_deg=given.euler_deg[order])
    said = []
    config = known(small, classes=1)
    assert not reconstruct(small.images, small.ctf, PIXEL, config, 0, said.append, wrong).found
    assert any("the poses of the file are at chance" in line for line in said), said
    said.clear()
    assert reconstruct(small.images, small.ctf, PIXEL, config, 0, said.append, given).found
    assert any("poses of the file explain the images" in line for line in said), said


def test_nothing_is_found_in_noise_at_any_poses(small):
    noise = np.random.default_rng(1).normal(size=small.images.shape).astype("f4")
    result = reconstruct(noise, small.ctf, PIXEL, known(small), seed=0, poses=poses_of(small))
    assert not result.found


def test_chance_is_a_mean_over_its_standard_error():
    values = np.random.default_rng(0).normal(2.0, 3.0, 400)
    expected = values.mean() / (values.std(ddof=1) / 20)
    sums = np.array([400, values.sum(), (values**2).sum()])
    assert chance_level(sums) == pytest.approx(expected, rel=1e-6)
    assert chance_level(np.array([99.0, 5.0, 25.0])) is None, "too few to tell"


def test_a_run_without_poses_is_refused(small):
    run = AbInitio(known(small), initial_state(known(small)))
    with pytest.raises(ZooError, match="poses=known: no poses were given"):
        run.prepare()


def test_a_range_without_known_poses_is_refused():
    with pytest.raises(ZooError, match="pose_range_deg=5 is about poses of the file; add poses=known"):
        from_preset("default", pose_range_deg=5.0)


# ---- what the records say


def info_of(**columns):
    count = 100
    table = {name: np.zeros(count) for name in ("rot_deg", "tilt_deg", "psi_deg")}
    table |= {name: np.zeros(count) for name in ("shift_x_angstrom", "shift_y_angstrom")}
    table |= {"source_row": np.arange(count)[::-1], "random_subset": np.zeros(count, int)}
    table |= columns
    return types.SimpleNamespace(
        kind="particles",
        box=32,
        voxel_size_angstrom=PIXEL,
        count=count,
        path="packed",
        load_table=lambda: table,
    )


def test_poses_of_the_records_are_those_of_the_model():
    rng = np.random.default_rng(0)
    angles = rng.uniform(-60, 60, (100, 3))
    half = np.tile([2, 1], 50)
    info = info_of(
        rot_deg=angles[:, 0],
        tilt_deg=angles[:, 1] + 90,
        psi_deg=angles[:, 2],
        shift_x_angstrom=np.full(100, 20.0),
        random_subset=half,
    )
    model = AbInitio3D.from_data(info, "tiny", classes=2, poses="known")
    euler = fv.euler_of_frames(model.state["table_given_frame"])
    np.testing.assert_allclose(euler, angles + [0, 90, 0], atol=1e-3)
    np.testing.assert_allclose(model.state["table_given_shift"], np.tile([-2.0, 0.0], (100, 1)))
    np.testing.assert_array_equal(model.state["table_half"], half - 1)


@pytest.mark.parametrize("seed", [0, 1])
def test_half_sets_are_those_of_the_file_or_drawn_alike_from_states_in_turn(seed):
    half = np.tile([2, 2, 1, 1], 25)
    stated = AbInitio3D.from_data(info_of(random_subset=half), "tiny", classes=2, seed=seed)
    np.testing.assert_array_equal(stated.state["table_half"], half - 1)
    partly = AbInitio3D.from_data(
        info_of(random_subset=column(1, 5).astype(int)), "tiny", classes=2, seed=seed
    )
    drawn = np.asarray(partly.state["table_half"])
    assert drawn.sum() == 50
    for states in (2, 3, 5):  # that follow each other in the file
        for state in range(states):
            assert 0.25 < drawn[state::states].mean() < 0.75
    model = AbInitio3D.from_data(info_of(), "tiny", classes=2, seed=seed)
    np.testing.assert_array_equal(model.state["table_half"], drawn)


def column(value, at=None, rest=0.0):
    values = np.full(100, rest)
    values[at if at is not None else slice(None)] = value
    return values


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"rot_deg": column(np.nan)}, "row 100 of its source has no pose .* nor have 99 others; poses=known"),
        ({"tilt_deg": column(np.nan, 3)}, "row 97 of its source has no pose .* nor have 0 others"),
        ({"shift_x_angstrom": column(np.nan, 9)}, "row 91 of its source has no pose"),
        ({"random_subset": column(1, 5).astype(int)}, "row 100 of its source has half set 0 .99 of 100"),
        ({"random_subset": column(1, slice(0, 10), 2.0).astype(int)}, "half sets of 10 and 90 particles"),
    ],
)
def test_records_that_do_not_say_enough_are_refused_in_one_line(columns, words):
    info = info_of(**columns)
    with pytest.raises(ZooError, match=words) as caught:
        AbInitio3D.from_data(info, "tiny", classes=2, poses="known")
    assert "\n" not in str(caught.value) and str(caught.value).startswith("packed: ")
    AbInitio3D.from_data(info, "tiny", classes=2)  # nothing of it matters where poses are found


def test_a_file_without_origins_has_them_at_0():
    nowhere = column(np.nan)
    found = given_poses(info_of(shift_x_angstrom=nowhere, shift_y_angstrom=nowhere), "poses=known")
    assert not found.origin_angstrom.any()
