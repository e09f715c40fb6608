"""The run as a sequence of steps: found from nothing, resumed exactly, additive, noise recognised."""

import dataclasses

import numpy as np
import pytest

from zoo.errors import ZooError
from zoo.metrics.clustering import clustering_scores
from zoo.models.abinitio3d import expectation
from zoo.models.abinitio3d.abinitio import AbInitio
from zoo.models.abinitio3d.config import Config
from zoo.models.abinitio3d.solve import epochs, reconstruct
from zoo.models.abinitio3d.state import Phase, initial_state, state_shapes
from zoo.ops import fourier_volume as fv


def batch_of(small, rows):
    return {"image": small.images[rows], "ctf": small.ctf[rows], "pixel_size_angstrom": 10.0, "index": rows}


def walk(small, run, start, stop):
    """Steps from ``start`` to ``stop``, or until the run ends; returns the last."""
    prepared = None
    for step, rows in enumerate(epochs(small.config)):
        if step < start:
            continue
        if step == stop or run.finished:
            return step
        prepared = run.prepare() if prepared is None else prepared
        run.add(run.e_step(batch_of(small, rows), prepared))
        if run.ends_update(step):
            run.m_step()
            prepared = None


@pytest.fixture(scope="module")
def found(small):
    return reconstruct(small.images, small.ctf, 10.0, small.config, seed=0)


def test_two_states_are_found_from_nothing(small, found):
    assert found.found and len(found.maps) == 2
    assert clustering_scores(small.label, found.class_number)["nmi"] > 0.9
    np.testing.assert_allclose(found.class_probability.sum(1), 1, atol=1e-4)
    agree = found.class_probability.argmax(1) == found.class_number
    assert agree.mean() > 0.98
    assert (found.fsc[:, 1:6] > 0.9).all()


def test_poses_of_a_state_agree_with_the_truth_up_to_one_turn_and_hand(small, found):
    own = found.class_number == 0
    rows = np.flatnonzero(own & (small.label == np.bincount(small.label[own]).argmax()))
    true, errors = whole(small.frames[rows]), []
    for hand in (1, -1):
        mine = whole(found.frames[rows] @ np.diag([hand, 1, 1]))
        left, _, right = np.linalg.svd(np.einsum("nij,nik->jk", mine, true))
        turn = left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right
        cosine = (np.einsum("nij,nij->n", mine @ turn, true) - 1) / 2
        errors.append(np.median(np.degrees(np.arccos(np.clip(cosine, -1, 1)))))
    assert min(errors) < 6, errors


def whole(frames):
    """Matrices (n, 3, 3) of frames (n, 2, 3)."""
    frames = frames.astype(float)
    return np.concatenate([frames, np.cross(frames[:, 0], frames[:, 1])[:, None]], axis=1)


def test_projections_of_the_result_are_the_images(small, found):
    """Maps, poses and shifts are in one convention, and in the images' intensities."""
    from zoo.simulate.project import Projector

    rows = np.flatnonzero(found.class_number == 0)[:100]
    project = Projector(found.maps[0], 10.0)
    images = project(found.euler_deg[rows], found.origin_angstrom[rows] / 10.0, small.ctf[rows])
    correlation = [
        np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(images, small.images[rows], strict=True)
    ]
    assert np.median(correlation) > 0.7
    slope = (images * small.images[rows]).sum() / (images**2).sum()
    assert slope == pytest.approx(1, abs=0.1)


def test_a_resumed_run_ends_with_the_same_bits(small):
    whole = AbInitio(small.config, initial_state(small.config))
    walk(small, whole, 0, 24)
    first = AbInitio(small.config, initial_state(small.config))
    walk(small, first, 0, 20)
    assert int(first.state["batch"]) > 0, "stopped between updates: the sums would not be tested"
    state = {name: value.copy() for name, value in first.state.items()}
    walk(small, AbInitio(small.config, state), 20, 24)
    for name, value in whole.state.items():
        np.testing.assert_array_equal(value, state[name], err_msg=name)


def test_the_state_keeps_its_shapes(small):
    run = AbInitio(small.config, initial_state(small.config))
    walk(small, run, 0, 10)
    for name, (shape, dtype) in state_shapes(small.config).items():
        value = np.asarray(run.state[name])
        assert value.shape == shape and value.dtype == dtype, name


@pytest.mark.parametrize(
    "phase",
    [Phase.MEASURE, Phase.START, Phase.RESEED, Phase.SHARES, Phase.SURVEY, Phase.FINISH, Phase.AGAIN],
)
def test_sums_of_parts_are_the_sums_of_the_whole(small, found, phase):
    run = state_of(small, found, phase)
    prepared, rows = run.prepare(), np.arange(60)
    whole = run.e_step(batch_of(small, rows), prepared)
    parts = [run.e_step(batch_of(small, part), prepared) for part in (rows[:25], rows[25:])]
    assert set(whole) - {"rows"} <= set(run.state)
    for name in set(whole) - {"rows"}:
        total = parts[0][name] + parts[1][name]
        np.testing.assert_allclose(total, whole[name], atol=1e-4 * np.abs(whole[name]).max(), err_msg=name)
    for name, value in whole.get("rows", {}).items():
        joined = np.concatenate([part["rows"][name] for part in parts])
        np.testing.assert_array_equal(joined, value, err_msg=name)


def test_the_last_search_finds_classes_and_poses_that_were_lost(small, found):
    """Images with a wrong class and pose in the table; each half set is searched under its own maps alone."""
    run, rows = state_of(small, found, Phase.AGAIN), np.arange(100)
    lost = rows[::3]
    wrong = run.state["table_class"].copy()
    wrong[lost] = 1 - wrong[lost]
    frames = run.state["table_frame"].copy()
    frames[lost] = np.roll(frames[lost], 1, axis=0)
    run.state["table_class"], run.state["table_frame"] = wrong, frames
    again = run.e_step(batch_of(small, rows), run.prepare())["rows"]
    assert (again["table_class"][lost, 0] == found.class_number[lost]).mean() > 0.9
    run.state["half_maps"] = run.state["half_maps"].copy()
    run.state["half_maps"][1] = np.random.default_rng(0).normal(size=run.state["half_maps"][1].shape)
    blind = run.e_step(batch_of(small, rows), run.prepare())["rows"]
    first = run.state["table_half"][rows] == 0
    np.testing.assert_array_equal(blind["table_frame"][first], again["table_frame"][first])
    assert (blind["table_frame"][~first] != again["table_frame"][~first]).any()


@pytest.mark.parametrize(
    ("evidence", "poses", "again"), [(99.0, "find", True), (101.0, "find", False), (99.0, "known", False)]
)
def test_all_are_searched_again_where_images_say_little(small, monkeypatch, evidence, poses, again):
    config = dataclasses.replace(small.config, poses=poses, final_rounds=1)
    run = AbInitio(config, initial_state(config))
    run.state["evidence"], run.state["members"] = np.float32(evidence), np.full(2, 400, np.float32)
    run.state["cross"], run.state["table_log_likelihood"] = 50 * np.ones((2, 2)), np.ones(800)
    run._enter(Phase.FINISH)
    monkeypatch.setattr(run, "_pass", lambda *words, **more: None)
    run._completed()
    assert run.phase == (Phase.AGAIN if again else Phase.DONE)
    if again:
        run._completed()
        assert run.phase == Phase.AGAIN and int(run.state["update"]) == 1
        run._completed()
        run._completed()
        assert run.phase == Phase.DONE


def test_candidates_ruled_out_at_a_coarse_band_would_not_have_won(small, found, monkeypatch):
    run, rows, seen = state_of(small, found, Phase.POLISH), np.arange(200), []
    run.state["band"] = np.int32(15)
    for least in (1e9, expectation._HOPELESS):
        monkeypatch.setattr(expectation, "_HOPELESS", least)
        seen.append(run.e_step(batch_of(small, rows), run.prepare()))
    every, few = seen
    np.testing.assert_array_equal(few["rows"]["table_class"][:, 0], every["rows"]["table_class"][:, 0])
    gain = "table_log_likelihood"
    np.testing.assert_allclose(few["rows"][gain], every["rows"][gain], rtol=1e-4)
    # what a dropped class loses is known from the coarse band: at least that much
    assert (few["sum_cross"] > 0).any() and (few["sum_cross"] <= 1.001 * every["sum_cross"] + 1).all()


def test_padding_counts_for_nothing(small, found):
    run = state_of(small, found, Phase.SURVEY)
    prepared, rows = run.prepare(), np.arange(30)
    plain = run.e_step(batch_of(small, rows), prepared)
    padded = {**batch_of(small, np.append(rows, [0, 0])), "weight": np.append(np.ones(30), [0, 0])}
    found = run.e_step(padded, prepared)
    np.testing.assert_array_equal(found["sum_full"], plain["sum_full"])
    assert len(found["rows"]["index"]) == 30


def state_of(small, found, phase):
    """A run in a phase, with the maps and the table of a finished one."""
    run = AbInitio(small.config, initial_state(small.config))
    state = run.state
    state["noise"][:], state["noise_floor"], state["signal_power"][:] = 0.3, np.float32(0.25), 1.0
    state["maps"], state["half_maps"] = found.maps, found.half_maps
    state["small_maps"] = run.maximisation.reduced(found.maps)
    state["members"] = np.full(2, 400, np.float32)
    state["table_class"] = np.repeat(found.class_number[:, None], 2, 1)
    state["table_frame"] = np.repeat(found.frames[:, None], 2, 1)
    state["table_shift"] = np.repeat(-found.origin_angstrom[:, None] / 10, 2, 1).astype("f4")
    state["phase"], state["update"], state["band"] = (
        np.int32(phase),
        np.int32(phase == Phase.START),
        np.int32(6),
    )
    return run


def test_full_passes_begin_with_an_epoch(small):
    run = AbInitio(small.config, initial_state(small.config))
    passes = small.config.steps_per_pass
    step = 0
    while run.phase != Phase.SURVEY:
        step = walk(small, run, step, step + 1)
    assert bool(run.state["waiting"]) == (step % passes != 0)
    while int(run.state["waiting"]):
        assert run.e_step(batch_of(small, np.arange(9)), run.prepare()) == {}
        step = walk(small, run, step, step + 1)
    assert step % passes == 0
    step = walk(small, run, step, step + passes)
    assert run.phase == Phase.POLISH and float(run.state["members"].sum()) == small.config.count


def test_a_particle_counts_once_in_a_pass(small, found):
    """Where an epoch ends inside a batch, the stream brings some particles twice."""
    run = state_of(small, found, Phase.SURVEY)
    prepared = run.prepare()
    run.add(run.e_step(batch_of(small, np.arange(20)), prepared))
    again = run.e_step(batch_of(small, np.array([3, 25, 7, 25, 30])), prepared)
    np.testing.assert_array_equal(again["rows"]["index"], [25, 30])
    assert again["sum_count"].sum() == 2


def apart(small, found, images):
    """A run from the moment on at which its halves part, with the maps of a finished one; until its end."""
    run = state_of(small, found, Phase.FINISH)
    run.maximisation.start_apart(run.state)
    run._enter(Phase.FINISH, band=small.config.start_shell)
    walk(small._replace(images=images), run, 0, 12 * small.config.steps_per_pass)
    assert run.finished
    return run


@pytest.mark.slow
def test_halves_that_are_refined_apart_agree_in_signal_and_not_in_noise(small, found):
    """Noise is laid over a start that is right: that is all its halves may agree in."""
    signal = apart(small, found, small.images).results()
    told = small.config.silent_shell
    assert (signal.fsc[:, 1:told] > 0.9).all() and (signal.resolution_angstrom < 30).all()
    noise = np.random.default_rng(5).normal(size=small.images.shape).astype("f4")
    nothing = apart(small, found, noise).results()
    assert (nothing.fsc[:, told + 1 :] < 0.143).all(), nothing.fsc
    assert np.isnan(nothing.resolution_angstrom).all()


def test_a_half_map_holds_the_images_of_its_half_alone(small, found):
    run = state_of(small, found, Phase.FINISH)
    run.maximisation.start_apart(run.state)
    run._enter(Phase.FINISH, band=small.config.start_shell)
    for part in np.split(np.arange(small.config.count), 4):
        run.add(run.e_step(batch_of(small, part), run.prepare()))
    sums = run.state["sum_full"].copy()
    run.maximisation.full_maps(run.state, apart=True)
    grid, band = run.expectation.full, run.expectation.inserted(small.config.start_shell)
    for half in (0, 1):
        for k in (0, 1):
            alone = fv.solve(grid, sums[half, k], np.zeros(grid.box + 1), band, run.maximisation.full_mask)
            curve = fv.shell_correlation(run.state["half_maps"][half, k], alone)
            assert curve[1 : band - 1].min() > 0.9
            between = fv.shell_correlation(
                run.state["half_maps"][half, k], run.state["half_maps"][1 - half, k]
            )
            assert (curve[8 : band - 1] > between[8 : band - 1]).all()


@pytest.mark.parametrize(
    ("attempt", "shares", "settled", "source"),
    [
        (1, (0.998, 0.915, 1.0), [2], 2),  # a map that explains all may be trapped, too
        (2, (0.998, 0.915, 1.0), [0, 2], 0),
        (3, (0.998, 0.915, 1.0), [0, 2], 2),
        (2, (0.97, 0.915, 0.98), [2], 2),
    ],
)
def test_every_attempt_starts_trapped_classes_from_another_settled_map(
    small, monkeypatch, attempt, shares, settled, source
):
    config = dataclasses.replace(small.config, classes=3)
    run = AbInitio(config, initial_state(config))
    run.state["small_maps"] = run.state["small_maps"] + np.arange(1.0, 4.0)[:, None, None, None].astype("f4")
    run.state["reseeded"], run.state["best_share"] = np.int32(attempt), np.full(3, -1, np.float32)
    monkeypatch.setattr(run.maximisation, "shares", lambda state, band: np.array(shares))
    run._shared()
    assert run.phase == Phase.RESEED
    assert np.flatnonzero(run.state["placed"]).tolist() == settled
    for k in set(range(3)) - set(settled):
        assert np.abs(run.state["small_maps"][k]).max() == source + 1


@pytest.mark.parametrize(
    ("done", "shares", "least_before", "again"),
    [
        (1, (1.0, 0.90, 1.0), 0.915, True),  # no better, but another settled map is left
        (2, (1.0, 0.90, 1.0), 0.915, False),
        (2, (1.0, 0.95, 1.0), 0.915, True),
        (1, (1.0, 0.90, 0.9), 0.915, False),
        (3, (1.0, 0.95, 1.0), 0.915, False),
    ],
)
def test_attempts_end_when_nothing_new_is_left_to_try(small, done, shares, least_before, again):
    config = dataclasses.replace(small.config, classes=3, attempts=3)
    run = AbInitio(config, initial_state(config))
    run.state["reseeded"], run.state["least_share"] = np.int32(done), np.float32(least_before)
    run.state["share"] = np.array(shares, np.float32)
    assert run._worth_reseeding(min(shares)) == again


def test_signal_in_the_corners_of_the_plane_is_not_taken_for_noise(small):
    """Images that were cut down in Fourier space hold signal up to their corners."""
    run = AbInitio(small.config, initial_state(small.config))
    run.state["sum_count"][0], run.state["sum_power"][0] = 100, 500
    run.state["sum_corner"], run.state["sum_background"] = np.float32(180), np.float32(100)
    run.maximisation.measure(run.state)
    assert run.state["noise_floor"] == 1


def test_noise_ends_in_one_plain_sentence(small):
    noise = np.random.default_rng(5).normal(size=small.images.shape).astype("f4")
    lines = []
    found = reconstruct(noise, small.ctf, 10.0, small.config, seed=0, say=lines.append)
    assert not found.found and len(found.maps) == 0
    assert lines[-1].startswith("no particle was found in the images") and "\n" not in lines[-1]
    assert (found.class_number == -1).all()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fewer_states_than_classes_are_merged_and_said(small):
    config = dataclasses.replace(small.config, classes=4)
    found = reconstruct(small.images, small.ctf, 10.0, config, seed=1)
    assert len(found.maps) == 2, found.lines
    assert any("2 states were found: of the 4 classes asked for" in line for line in found.lines)
    assert clustering_scores(small.label, found.class_number)["nmi"] > 0.9


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_run_ends_in_time(small, found):
    config = dataclasses.replace(small.config, seed=3)
    run = AbInitio(config, initial_state(config))
    assert walk(small._replace(config=config), run, 0, config.most_steps() + 1) <= config.most_steps()
    assert run.finished and run.prepare() == {} and not run.ends_update(0)


def test_bad_arrays_are_refused(small):
    with pytest.raises(ZooError, match=r"images \(4, 5, 6\): expected square"):
        reconstruct(np.zeros((4, 5, 6)), np.zeros((4, 9)), 1.0)
    with pytest.raises(ZooError, match="expected one row of 9 for each of the 800"):
        reconstruct(small.images, small.ctf[:5], 1.0)
    broken = small.images.copy()
    broken[7, 3, 3] = np.nan
    with pytest.raises(ZooError, match="image 7 holds values that are not finite"):
        reconstruct(broken, small.ctf, 1.0)
    pixels = np.where(np.arange(800) == 9, 10.5, 10.0)
    with pytest.raises(ZooError, match="image 9 has pixels of 10.5 Å, most have 10 Å"):
        reconstruct(small.images, small.ctf, pixels, small.config)
    for half_set in (np.ones(5), np.zeros(800)):
        with pytest.raises(ZooError, match="half_set .*: expected 1 or 2 for each of the 800 images"):
            reconstruct(small.images, small.ctf, 10.0, small.config, half_set=half_set)
    with pytest.raises(ZooError, match="30 particles for classes=3"):
        reconstruct(small.images[:30], small.ctf[:30], 1.0, Config())


def test_larger_boxes_give_the_same_coefficients(small):
    """Images of twice the box around the same particle: coefficients half as far apart."""
    config = Config(box=64, count=800, max_radius=15)
    run = AbInitio(config, initial_state(config))
    large = np.zeros((2, 64, 64), "f4")
    large[:, 16:48, 16:48] = small.images[:2]
    values = run.expectation.plane.transform(large)[0]
    plane, narrow = run.expectation.plane, fv.HalfPlane(32, 7)
    even = (plane.points % 2 == 0).all(1) & (plane.distance <= 14.01)
    np.testing.assert_array_equal(plane.points[even] / 2, narrow.points)
    np.testing.assert_allclose(values[:, even], narrow.transform(small.images[:2])[0] / 2, atol=1e-4)
