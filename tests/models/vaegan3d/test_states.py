"""Maps of states mixed by the latent, and what is taken from a run of abinitio3d."""

import keras
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zoo.errors import ZooError
from zoo.models.abinitio3d.model import AbInitio3D
from zoo.models.abinitio3d.state import Phase
from zoo.models.vaegan3d.config import VAEGAN3DConfig
from zoo.models.vaegan3d.likelihood import KnownRange, StateLikelihood
from zoo.models.vaegan3d.model import VAEGAN3D
from zoo.models.vaegan3d.state_latents import place_states
from zoo.models.vaegan3d.state_maps import StateMaps
from zoo.models.vaegan3d.taught import turned
from zoo.ops import fourier_volume as fv
from zoo.simulate.embedded import embedded_maps
from zoo.simulate.project import Projector

BOX, COUNT, PIXEL = 16, 60, 20.0


def array(tensor):
    return np.array(keras.ops.convert_to_numpy(tensor))


@pytest.fixture(scope="module")
def maps():
    """The three embedded states in 16 voxels."""
    return embedded_maps(BOX, PIXEL).astype("f4") * fv.FourierGrid(BOX).sphere(5, 2)


@pytest.fixture
def states(maps):
    layer = StateMaps(BOX, 2, 4)
    layer.build()
    layer.set_states(maps, place_states(maps, 2, 4.0), np.full(3, 1 / 3))
    return layer


def test_a_states_place_gives_its_map_and_half_way_a_mixture(states, maps):
    places = array(states.places)[:3]
    found = array(states.density(places))
    for k in range(3):
        # Other states have exp(-8) there; the corners of Fourier space beyond Nyquist are left out.
        assert fv.shell_correlation(found[k], maps[k])[1 : BOX // 2].min() > 0.999
    middle = array(states.mixture(places[:2].mean(0, keepdims=True)))[0]
    assert middle[0] == pytest.approx(middle[1], abs=1e-3) and middle[:2].sum() > 0.7
    assert array(states.mixture(np.zeros((5, 2), "f4"))).sum(1) == pytest.approx(1.0)
    assert array(states.mixture(places)).argmax(1).tolist() == [0, 1, 2]
    assert array(states.mixture(places))[:, 3].max() == 0  # a state that was not found


def test_slices_are_those_of_the_maps(states, maps):
    plane = fv.HalfPlane(BOX, BOX // 2 - 1)
    frames = fv.random_rotations(3, np.random.default_rng(0))[:, :2].astype("f4")
    points = np.einsum("ma,bac->bmc", plane.points, frames)
    re, im = (array(x) for x in states(points, array(states.places)[:3]))
    for k in range(3):
        wanted = fv.central_slices(fv.FourierGrid(BOX).transform(maps[k]), frames[k : k + 1], plane.points)[0]
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(np.concatenate([re[k], im[k]]) / scale, wanted / scale, atol=2e-3)


def test_a_gain_changes_the_amplitude_of_its_shell_in_slices_and_maps(states):
    place = array(states.places)[:1]
    before = array(states.density(place))[0]
    gain = np.zeros(states.log_gain.shape, "f4")
    gain[0, 4] = np.log(2.0)
    states.log_gain.assign(gain)
    power = [np.abs(np.fft.fftn(v)) for v in (before, array(states.density(place))[0])]
    assert power[1][4, 0, 0] == pytest.approx(2 * power[0][4, 0, 0], rel=1e-2)
    assert power[1][2, 0, 0] == pytest.approx(power[0][2, 0, 0], rel=1e-2)


def test_larger_images_than_the_maps_hold(maps):
    layer = StateMaps(128, 2, 1)
    layer.build()
    assert layer.map_box == 64
    volume = fv.resized(maps[0], 64)
    layer.set_states(volume[None], np.zeros((1, 2), "f4"), np.ones(1))
    found = array(layer.density(np.zeros((1, 2), "f4")))[0]
    assert found.shape == (128,) * 3
    back = fv.resized(found, 64)
    assert fv.shell_correlation(back, volume)[1:7].min() > 0.999
    # Images of 128 pixels have the same coefficients: transform over box.
    ratio = np.fft.fftn(found)[0, 0, 0] / 128 / (np.fft.fftn(volume)[0, 0, 0] / 64)
    assert ratio.real == pytest.approx(1.0, rel=1e-3)


def test_places_are_as_far_apart_as_asked_and_keep_who_resembles_whom(maps):
    for dim in (1, 2, 5):
        places = place_states(maps, dim, 4.0)
        gaps = np.sqrt(((places[:, None] - places[None]) ** 2).sum(-1))
        assert gaps[np.triu_indices(3, 1)].min() == pytest.approx(4.0, rel=1e-4)
        assert places.mean(0) == pytest.approx(0.0, abs=1e-5)
        # core and core+A+B differ most
        assert gaps[0, 2] == pytest.approx(gaps.max())
    crowd = place_states(np.random.default_rng(0).normal(size=(12, 4, 4, 4)), 2, 3.0)
    gaps = np.sqrt(((crowd[:, None] - crowd[None]) ** 2).sum(-1))
    assert gaps[np.triu_indices(12, 1)].min() == pytest.approx(3.0, rel=1e-4)
    np.testing.assert_array_equal(place_states(maps[:1], 2, 4.0), [[0, 0]])


def test_turns_and_mirrors_are_projections_of_the_same_map(maps):
    angles = np.array([[30.0, 50.0, 70.0]])
    ctf = np.full((1, 9), np.nan)

    def image(angles):
        return Projector(maps[2], PIXEL)(np.asarray(angles), np.zeros((1, 2)), ctf)[0]

    seen = image(angles)[None, ..., None]
    both = array(turned(np.repeat(seen, 2, 0), np.array([[0, 1, 1], [0, 0, 1]], bool)))[..., 0]
    half_turn = image(angles + [[0, 0, 180.0]])
    np.testing.assert_allclose(both[0], half_turn, atol=0.02 * np.abs(half_turn).max())
    # From behind: about the image's y axis by 180 degrees.
    behind = image([[30.0 + 180.0, 180.0 - 50.0, -70.0]])
    np.testing.assert_allclose(both[1], behind, atol=0.02 * np.abs(behind).max())
    np.testing.assert_array_equal(array(turned(seen, np.zeros((1, 3), bool))), seen)


def test_likelihood_finds_state_and_pose(maps):
    rng = np.random.default_rng(1)
    state = np.arange(COUNT) % 3
    frames = fv.random_rotations(COUNT, rng)[:, :2]
    euler, origin_px = fv.euler_of_frames(frames), rng.uniform(-0.5, 0.5, (COUNT, 2))
    ctf = np.tile([15000.0, 15000.0, 0.0, 300.0, 2.7, 0.1, 0.0, 0.0, 1.0], (COUNT, 1))
    images = np.concatenate(
        [
            Projector(maps[k], PIXEL)(euler[i : i + 1], origin_px[i : i + 1], ctf[:1])
            for i, k in enumerate(state)
        ]
    )
    level = 0.3 * images.std()
    images += rng.normal(size=images.shape) * level
    likelihood = StateLikelihood(maps, np.full(8, level**2), BOX, PIXEL)
    batch = {"image": images[..., None].astype("f4"), "ctf": ctf}
    found = likelihood.place({**batch, "pixel_size_angstrom": np.full(COUNT, PIXEL)})
    assert (found["class"] == state).mean() >= 0.95
    assert (found["posterior"].argmax(1) == found["class"]).all()
    one, other = (Rotation.from_euler("ZYZ", each, degrees=True) for each in (euler, found["euler_deg"]))
    assert np.median(np.degrees((one.inv() * other).magnitude())) < 8
    assert np.median(np.abs(found["origin_angstrom"] / PIXEL - origin_px)) < 0.2
    assert (found["score"] > 0).all()


def test_likelihood_at_known_poses_takes_those_of_the_particles(maps):
    """The state is told apart at the pose that the record has; within a range it is found near to it."""
    rng = np.random.default_rng(2)
    state = np.arange(COUNT) % 3
    frames, origin_px = fv.random_rotations(COUNT, rng)[:, :2], rng.uniform(-0.5, 0.5, (COUNT, 2))
    euler, ctf = fv.euler_of_frames(frames), np.full((COUNT, 9), np.nan)
    images = np.concatenate(
        [Projector(maps[k], PIXEL)(euler[i : i + 1], origin_px[i : i + 1]) for i, k in enumerate(state)]
    )
    images += rng.normal(size=images.shape) * 0.3 * images.std()
    batch = {
        "image": images[..., None].astype("f4"),
        "ctf": ctf,
        "pixel_size_angstrom": np.full(COUNT, PIXEL),
    }
    batch |= {"euler_deg": euler, "shift_angstrom": origin_px * PIXEL, "source_row": np.arange(COUNT)}
    noise = np.full(8, np.square(0.3 * images.std()))
    stay = StateLikelihood(maps, noise, BOX, PIXEL, known=KnownRange(0, 0))
    found = stay.place(batch)
    assert (found["class"] == state).mean() >= 0.95
    np.testing.assert_allclose(fv.frames_of_euler(found["euler_deg"]), frames, atol=1e-5)
    np.testing.assert_allclose(found["origin_angstrom"], origin_px * PIXEL, atol=1e-3)
    moved = StateLikelihood(maps, noise, BOX, PIXEL, known=KnownRange(2, 1)).place(batch)
    turned_by = Rotation.from_euler("ZYZ", euler, degrees=True).inv() * Rotation.from_euler(
        "ZYZ", moved["euler_deg"], degrees=True
    )
    assert 0 < np.degrees(turned_by.magnitude()).max() < 2.1
    assert np.linalg.norm(moved["origin_angstrom"] - origin_px * PIXEL, axis=1).max() < 1.1
    with pytest.raises(ZooError, match="row 8 of the particles has no pose"):
        stay.place({**batch, "euler_deg": np.where(np.arange(COUNT)[:, None] == 7, np.nan, euler)})


def finished_start(count=COUNT, classes=2, found=1, **values):
    """An abinitio3d that says it is finished, with drawn maps, classes and poses."""
    rng = np.random.default_rng(0)
    options = {"box": BOX, "voxel_size_angstrom": PIXEL, "count": count, "classes": classes, "bands": (2, 3)}
    options |= {name: (4, 4) for name in ("views", "turns")}
    for phase in ("start", "reseed", "joint"):
        options |= {f"{phase}_updates": (1, 1), f"{phase}_images": (8, 8)}
    model = AbInitio3D(**options, **values)
    state = model.state
    state["phase"], state["found"] = np.int32(Phase.DONE), np.int32(found)
    state["maps"] = rng.normal(size=state["maps"].shape).astype("f4")
    state["half_maps"] = rng.normal(size=state["half_maps"].shape).astype("f4")
    state["members"] = np.arange(classes, 0, -1).astype("f4")
    state["table_class"] = np.stack([np.arange(count) % classes] * 2, axis=1).astype("i4")
    state["table_probability"] = np.eye(classes, dtype="f4")[np.arange(count) % classes]
    state["table_shift"] = rng.normal(size=(count, 2, 2)).astype("f4")
    state["noise"] = np.full(state["noise"].shape, 0.5, "f4")
    return model


def begins(**values):
    small = {name: value for name, value in VAEGAN3DConfig.smallest.items() if name != "classes"}
    values = {**small, "count": COUNT, "voxel_size_angstrom": PIXEL, **values}
    return VAEGAN3D.from_data(None, "default", **values)


def test_a_start_is_taken_whole(tmp_path):
    other, model = finished_start(), begins(classes=3, held_back=0.5)
    assert not model.has_likelihood and not model.is_finished
    lines = model.start_from(other)
    assert "2 states" in lines[0] and model.has_likelihood
    tables = model.start.columns()
    np.testing.assert_array_equal(tables["probability"][:, :2], other.state["table_probability"])
    np.testing.assert_allclose(tables["shift"], other.state["table_shift"][:, 0], atol=1e-5)
    np.testing.assert_array_equal(array(model.start.noise), 0.5)
    np.testing.assert_allclose(array(model.generator.maps)[:2], other.state["maps"], rtol=1e-5)
    assert 0.2 < tables["learned"].mean() < 0.8
    again = begins(classes=3, held_back=0.5)
    again.start_from(other)
    np.testing.assert_array_equal(again.start.columns()["learned"], tables["learned"])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    z = np.zeros((1, 2), "f4")
    np.testing.assert_array_equal(array(loaded.density(z)), array(model.density(z)))
    assert loaded.has_likelihood


@pytest.mark.parametrize(
    ("other", "values", "words"),
    [
        ({}, {"count": 61}, "it saw 60 particles of 16 pixels, not 61 of 16"),
        ({}, {"box": 32}, "it saw 60 particles of 16 pixels, not 60 of 32"),
        ({"classes": 2}, {"classes": 1}, "it found 2 states; give --set classes=2 or more"),
    ],
)
def test_a_start_that_does_not_fit_is_one_line(other, values, words):
    with pytest.raises(ValueError, match=words):
        begins(**{"classes": 2, **values}).start_from(finished_start(**other))


def test_half_sets_of_the_file_are_kept_and_poses_are_as_the_start_had_them():
    known = finished_start(poses="known", pose_range_deg=3.0)
    half = np.random.default_rng(4).integers(0, 2, COUNT)
    known.state["table_half"] = half.astype("i4")
    model = begins(classes=2, poses="known", pose_range_deg=3.0)
    model.start_from(known)
    np.testing.assert_array_equal(model.start.half_set(), half + 1)
    assert "euler_deg" in model.likelihood_features
    with pytest.raises(ValueError, match="it had poses=known, not find; give --set poses=known"):
        begins(classes=2).start_from(known)
    with pytest.raises(ValueError, match="it had pose_range_deg=3.0, not 0.0"):
        begins(classes=2, poses="known").start_from(known)
    found = begins(classes=2)
    other = finished_start()
    found.start_from(other)
    np.testing.assert_array_equal(found.start.half_set(), other.state["table_half"] + 1)
    assert "euler_deg" not in found.likelihood_features


def test_other_models_and_unfinished_runs_are_no_start():
    unfinished = finished_start()
    unfinished.state["phase"] = np.int32(Phase.SURVEY)
    with pytest.raises(ValueError, match="it is not finished"):
        begins(classes=2).start_from(unfinished)
    with pytest.raises(ValueError, match="it is no abinitio3d"):
        begins(classes=2).start_from(begins(classes=2))
    small = {n: v for n, v in VAEGAN3DConfig.smallest.items() if not n.startswith("search")}
    with pytest.raises(ValueError, match="give --set start=abinitio3d"):
        VAEGAN3D.from_data(None, "uniform_camera", **small).start_from(finished_start())


def test_where_nothing_was_found_there_is_nothing_to_do():
    model = begins(classes=2)
    assert "nothing to learn" in model.start_from(finished_start(found=0))[0]
    assert model.is_finished and not model.has_likelihood
    assert model.results([], None).lines == ["no map: no particle was found in the images"]
    with pytest.raises(TypeError, match="no maps"):
        model.encode_by_likelihood({})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"generator": "states"}, "give start=abinitio3d and generator=states, or neither"),
        ({"start": "abinitio3d"}, "give start=abinitio3d and generator=states, or neither"),
        ({"start": "abinitio3d", "generator": "states", "pose_search": True}, "give pose_search=false too"),
        ({"start": "abinitio3d", "generator": "states", "box": 8}, "needs a box of 16 or more, not 8"),
        ({"poses": "known"}, "poses=known: a start takes them; give start=abinitio3d"),
        (
            {"start": "abinitio3d", "generator": "states", "pose_range_deg": 2.0},
            "pose_range_deg=2 is about poses of the file; add poses=known",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_one_line(values, words):
    with pytest.raises(ZooError, match=words):
        VAEGAN3DConfig(**{"box": 16, **values})


def test_the_thesis_presets_begin_from_nothing():
    from zoo.models.vaegan3d.config import PRESETS

    for name, preset in PRESETS.items():
        phase = VAEGAN3DConfig(**preset).first_phase()
        assert (phase is None) == (name != "default")
    phase = VAEGAN3DConfig(**{**PRESETS["default"], "classes": 5, "start_effort": "quick"}).first_phase()
    assert (phase.model, phase.preset, phase.values) == ("abinitio3d", "tiny", {"classes": 5})
