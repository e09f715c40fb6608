"""EM averaging on blobs whose classes and poses are known: sums, poses, classes, and what is refused."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import ops
from scipy.spatial.transform import Rotation

from zoo.errors import ZooError
from zoo.models.faml.config import fold_of
from zoo.models.faml.model import Faml, FastAlignment
from zoo.ops.matching.half_space import HalfBall
from zoo.ops.matching.view_coverage import seen_before

BOX, COUNT = 16, 12
SETTINGS = {"box": BOX, "voxel_size_angstrom": 10.0, "candidates": 4, "step_deg": 25.0, "max_radius": 6}
# Two chiral arrangements of four Gaussians.
BEADS = np.array(
    [
        [[3.0, 1.0, -1.5], [-2.5, 2.0, 1.0], [0.5, -3.0, 2.0], [-1.0, 0.5, -3.0]],
        [[0.0, 0.0, 3.5], [0.0, 0.0, -3.5], [3.0, 0.0, 0.0], [1.5, 2.5, 0.0]],
    ]
)


def beads(label, rotation, shift):
    axis = np.arange(BOX) - BOX // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    places = BEADS[label] @ np.asarray(rotation).T + shift
    squares = [(x - p[0]) ** 2 + (y - p[1]) ** 2 + (z - p[2]) ** 2 for p in places]
    return sum((1.0 + 0.3 * i) * np.exp(-s / (2 * 1.3**2)) for i, s in enumerate(squares))


@pytest.fixture(scope="module")
def truth():
    rng = np.random.default_rng(11)
    labels = np.arange(COUNT) % 2
    rotations = Rotation.random(COUNT, rng=rng).as_matrix()
    shifts = rng.uniform(-1.2, 1.2, (COUNT, 3))
    noise = rng.normal(0, 0.05, (COUNT, BOX, BOX, BOX))
    clean = [beads(*pose) for pose in zip(labels, rotations, shifts, strict=True)]
    axis = np.arange(BOX) - BOX // 2
    wedge = np.abs(axis)[:, None, None] <= np.tan(np.radians(60)) * np.abs(axis)[None, None, :]
    wedge = np.broadcast_to(wedge, (BOX,) * 3).astype("float32")
    spectrum = np.fft.fftn(np.stack(clean) + noise, axes=(1, 2, 3)) * np.fft.ifftshift(wedge)
    batch = {
        "volume": np.fft.ifftn(spectrum, axes=(1, 2, 3)).real.astype("float32")[..., None],
        "wedge": np.broadcast_to(wedge, (COUNT, BOX, BOX, BOX)),
        "weight": np.ones(COUNT, "float32"),
        "index": np.arange(COUNT),
    }
    return SimpleNamespace(labels=labels, rotations=rotations, shifts=shifts, batch=batch)


def rows(batch, index):
    return {name: values[index] for name, values in batch.items()}


def add(model, sums):
    for name, variable in model.sums.items():
        variable.assign(variable + sums[name])


def started(cls, truth, references=True, **settings):
    """A model after epoch 0."""
    model = cls(**{**SETTINGS, "classes": 2, **settings})
    if references:
        model.set_references(np.stack([beads(k, np.eye(3), np.zeros(3)) for k in (0, 1)]).astype("float32"))
    add(model, model.start_step(truth.batch))
    model.m_step()
    return model


@pytest.fixture(scope="module")
def referenced(truth):
    return started(Faml, truth)


@pytest.fixture(scope="module")
def sums(truth, referenced):
    return {
        name: np.array(value) for name, value in referenced.e_step(truth.batch, referenced.prepare()).items()
    }


def test_classes_and_poses_are_found(truth, referenced):
    found = {name: np.array(value) for name, value in referenced.align(truth.batch).items()}
    np.testing.assert_array_equal(found["class"], truth.labels)
    errors = Rotation.from_matrix(found["rotation"] @ truth.rotations.transpose(0, 2, 1)).magnitude()
    assert np.degrees(np.median(errors)) < 3
    assert np.median(np.linalg.norm(found["shift_voxels"] - truth.shifts, axis=1)) < 0.3
    np.testing.assert_allclose(found["origin_angstrom"], -10 * found["shift_voxels"], rtol=1e-5)
    from_euler = Rotation.from_euler("ZYZ", found["euler_deg"], degrees=True).inv().as_matrix()
    np.testing.assert_allclose(from_euler, found["rotation"], atol=1e-4)
    np.testing.assert_allclose(found["posterior"].sum(1), 1, rtol=1e-4)


def posed(truth):
    """The batch with the poses of a file: RELION's angles and origins in Å."""
    euler = Rotation.from_matrix(truth.rotations).inv().as_euler("ZYZ", degrees=True)
    shifts = np.float32(-10 * truth.shifts)
    return {**truth.batch, "euler_deg": euler.astype("float32"), "shift_angstrom": shifts}


def test_the_first_averages_are_those_of_the_given_poses(truth):
    """Origins and angles of a file mean what RELION means by them: anything else blurs the average."""
    alike = np.flatnonzero(truth.labels == 0)
    batch = rows(posed(truth), alike)
    correlations = {}
    for name, changed in {
        "as given": {},
        "origins the other way": {"shift_angstrom": -batch["shift_angstrom"]},
        "angles the other way": {"euler_deg": -batch["euler_deg"][:, ::-1]},
    }.items():
        model = Faml(**SETTINGS, classes=1, start="poses")
        add(model, model.start_step({**batch, **changed}))
        model.m_step()
        average = np.array(model.average_maps())[0]
        truth_map = beads(0, np.eye(3), np.zeros(3))
        correlations[name] = np.corrcoef(average.ravel(), truth_map.ravel())[0, 1]
    assert correlations.pop("as given") > 0.9
    assert max(correlations.values()) < 0.85, correlations


def test_a_local_search_stays_near_the_given_poses_and_finds_the_true_ones(truth):
    alike = np.flatnonzero(truth.labels == 0)
    batch, true = rows(posed(truth), alike), truth.rotations[alike]
    vectors = np.random.default_rng(3).normal(size=(len(alike), 3))
    off = Rotation.from_rotvec(np.radians(8) * vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    given = Rotation.from_matrix(true) * off
    batch["euler_deg"] = given.inv().as_euler("ZYZ", degrees=True).astype("float32")

    def turned_by(range_deg, start):
        """Median angles of what is found from the given and from the true rotations, in degrees."""
        model = Faml(**SETTINGS, classes=1, start="poses", range_deg=range_deg)
        model.set_references(beads(0, np.eye(3), np.zeros(3))[None].astype("float32"))
        model.sigma2.assign(np.full(model.ball.shells, 0.05**2, "float32"))
        found = np.array(model.align(start)["rotation"])
        first = Rotation.from_euler("ZYZ", start["euler_deg"], degrees=True).inv().as_matrix()
        turns = (Rotation.from_matrix(found @ other.transpose(0, 2, 1)) for other in (first, true))
        return [np.degrees(turn.magnitude()) for turn in turns]

    moved, errors = turned_by(12.0, batch)
    assert np.median(errors) < 3 and 6 < np.median(moved) < 10
    wrong = {**batch, "euler_deg": np.float32([[0, 90, 0]] * len(alike))}
    moved, errors = turned_by(12.0, wrong)
    assert moved.max() < 12.2 and np.median(errors) > 20  # beyond the range the truth is not found
    moved, errors = turned_by(0.0, wrong)
    assert np.median(errors) < 3


def test_start_from_poses_and_from_maps_exclude_each_other():
    with pytest.raises(ZooError, match="range_deg=5 is about given poses"):
        Faml(**SETTINGS, range_deg=5)
    with pytest.raises(ZooError, match="start=poses and references"):
        Faml(**SETTINGS, start="poses", references="a.mrc")


def inputs(truth):
    return truth.batch["volume"], truth.batch["wedge"]


def test_sums_of_parts_are_the_sums_of_the_whole(truth, referenced, sums):
    prepared = referenced.prepare()
    parts = [referenced.e_step(rows(truth.batch, slice(i, i + 6)), prepared) for i in (0, 6)]
    for name, whole in sums.items():
        total = np.array(parts[0][name]) + np.array(parts[1][name])
        scale = np.abs(whole).max()
        np.testing.assert_allclose(total, whole, atol=1e-5 * scale, rtol=1e-5, err_msg=name)


def test_copies_without_weight_add_nothing(truth, referenced):
    prepared = referenced.prepare()
    batch = rows(truth.batch, np.array([0, 1, 2, 2]))
    batch["weight"] = np.float32([1, 1, 1, 0])
    with_copy = referenced.e_step(batch, prepared)
    without = referenced.e_step(rows(truth.batch, slice(0, 3)), prepared)
    for name, value in without.items():
        value = np.array(value)
        np.testing.assert_allclose(
            np.array(with_copy[name]), value, atol=1e-5 * np.abs(value).max(), rtol=1e-5, err_msg=name
        )
    assert float(with_copy["count"]) == 3


def test_sums_are_counts_of_what_is_there(truth, referenced, sums):
    np.testing.assert_allclose(sums["members"].sum(0), [6, 6], atol=0.05)
    assert sums["count"] == COUNT
    seen = referenced.ball.take(truth.batch["wedge"])
    assert sums["seen"].sum() == pytest.approx(np.array(seen).sum())
    # Residuals at the right poses are noise: half a ball of it, in the measured part.
    noise = sums["residuals"].sum() / sums["seen"].sum()
    assert noise < 3 * 0.05**2


def whole_fsc(a, b):
    """FSC by NumPy over all frequencies, each once."""
    a, b = np.fft.fftn(a), np.fft.fftn(b)
    axis = np.fft.fftfreq(BOX, 1 / BOX)
    shell = np.rint(np.sqrt((np.stack(np.meshgrid(axis, axis, axis)) ** 2).sum(0))).astype(int).ravel()
    cross, power_a, power_b = (
        np.bincount(shell, x.real.ravel()) for x in (a * b.conj(), abs(a) ** 2, abs(b) ** 2)
    )
    power = np.sqrt(power_a * power_b)
    return np.divide(cross, power, out=np.zeros_like(cross), where=power > 0)


def test_both_half_sets_give_the_structure(truth):
    model = started(Faml, truth)
    add(model, model.e_step(truth.batch, model.prepare()))
    model.m_step()
    for k in (0, 1):
        expected = beads(k, np.eye(3), np.zeros(3))
        for volume in (*np.array(model.half_maps())[:, k], np.array(model.average_maps())[k]):
            assert np.corrcoef(volume.ravel(), expected.ravel())[0, 1] > 0.85
        curve = ops.convert_to_numpy(model.fsc)[k]
        np.testing.assert_allclose(curve[1:6], whole_fsc(*np.array(model.half_maps())[:, k])[1:6], atol=1e-3)
        assert curve[1:4].min() > 0.5
    assert ops.convert_to_numpy(model.alpha) == pytest.approx([0.5, 0.5], abs=0.01)
    spread = np.sqrt((truth.shifts**2).sum(1).mean() / 3)
    assert float(ops.convert_to_numpy(model.zeta)) == pytest.approx(spread, rel=0.2)
    assert all(ops.convert_to_numpy(variable).max() == 0 for variable in model.sums.values())
    assert model.notices() == []


def test_fa_takes_one_pose_each(truth):
    model = started(FastAlignment, truth)
    found = model.poses(*inputs(truth), model.prepare())
    weights, scores = np.array(found["weights"]), np.array(found["scores"])
    assert sorted(np.unique(weights)) == [0, 1]
    np.testing.assert_array_equal(weights.sum((1, 2)), 1)
    np.testing.assert_allclose((weights * scores).sum((1, 2)), scores.max((1, 2)))


def test_epoch_0_turns_each_and_splits_evenly(truth):
    model = Faml(**SETTINGS, classes=2)
    first = {name: np.array(value) for name, value in model.start_step(truth.batch).items()}
    np.testing.assert_array_equal(first["members"].sum(0), [6, 6])
    # Each half set of each class has a weight of its own at every frequency somebody saw.
    assert (first["weights"].sum(-1) > 0).all()
    model.seed = 1
    other = np.array(model.start_step(truth.batch)["re"])
    assert np.abs(other - first["re"]).max() > 0.1 * np.abs(first["re"]).max()


def test_symmetry_is_imposed_about_z(truth):
    model = started(Faml, truth, symmetry="C4")
    add(model, model.e_step(truth.batch, model.prepare()))
    model.m_step()
    average = np.array(model.average_maps())[0][1:, 1:, 1:]  # centred on its middle voxel
    turned = np.rot90(average, axes=(1, 2))
    assert np.corrcoef(average.ravel(), turned.ravel())[0, 1] > 0.98


def test_similarity_holds_classes_together_and_lets_go(truth):
    def apart(**settings):
        model = started(Faml, truth, classes=2, **settings)
        gaps = []
        for _ in range(3):
            add(model, model.e_step(truth.batch, model.prepare()))
            model.m_step()
            first, second = np.array(model.average_maps())
            gaps.append(1.0 - np.corrcoef(first.ravel(), second.ravel())[0, 1])
        return gaps

    free, held = apart(), apart(similarity=20.0, similarity_epochs=2)
    assert held[0] < 0.2 * free[0], (held, free)
    assert held[2] > 3.0 * held[0], held


def test_coverage_prefers_the_pose_that_sees_what_few_have_seen():
    # Five beads about y: the candidates are turns of 72 degrees, alike but for what the wedge leaves of them.
    axis = np.arange(BOX) - BOX // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    angles = 2 * np.pi / 5 * np.arange(5) + 0.4
    ring = sum(
        np.exp(-((x - 4.5 * np.cos(a)) ** 2 + (z - 4.5 * np.sin(a)) ** 2 + y**2) / 3.5) for a in angles
    )
    wedge = (np.abs(z) <= np.tan(np.radians(40)) * np.abs(x)).astype("float32")
    noise = np.random.default_rng(5).normal(0, 0.2, ring.shape)
    spectrum = np.fft.fftn(ring + noise) * np.fft.ifftshift(wedge)
    volume = np.fft.ifftn(spectrum).real.astype("float32")[None, ..., None]

    def chosen(epoch, learning=True):
        model = Faml(**{**SETTINGS, "candidates": 10}, classes=1)
        model.set_references(ring[None].astype("float32"))
        model.sigma2.assign(np.full(model.sigma2.shape, 0.04))
        model.iteration.assign(epoch)
        # the average holds what one subtomogram as it lies has seen
        model.density.assign(2.0 * model.ball.take(wedge[None]))
        prepared = model.prepare()
        found = model.poses(volume, wedge[None], prepared, learning=learning)
        seen = seen_before(
            model.ball, np.array(prepared["density"]), np.array(found["wedge"]), found["rotations"], 6
        )
        return float(np.sum(np.array(found["weights"]) * np.array(seen)))

    early, late = chosen(1), chosen(13)
    assert early < 0.75 * late, (early, late)
    assert chosen(1, learning=False) == pytest.approx(late)  # where a pose is told, nothing is preferred


def test_mask_cuts_the_averages(truth):
    model = started(Faml, truth, mask="given")
    mask = np.zeros((BOX,) * 3, "float32")
    mask[:, :, BOX // 2 :] = 1
    model.set_mask(mask)
    add(model, model.e_step(truth.batch, model.prepare()))
    model.m_step()
    volume = np.array(model.average_maps())[0]
    assert (volume[:, :, : BOX // 2 - 2] ** 2).sum() < 0.02 * (volume**2).sum()


def test_a_collapsing_class_is_noticed():
    model = Faml(**SETTINGS, classes=2)
    model.alpha.assign([0.98, 0.02])
    assert len(model.notices()) == 1
    assert "class 2" in model.notices()[0]


def collapsed(truth, **settings):
    """A model of two classes after an epoch in which the first average took everything."""
    model = started(Faml, truth, **settings)
    both = beads(0, np.eye(3), np.zeros(3)) + beads(1, np.eye(3), np.zeros(3))
    model.set_references(np.stack([both, 0.0 * both]).astype("float32"))
    model.alpha.assign([1.0, 0.0])
    add(model, model.e_step(truth.batch, model.prepare()))
    model.m_step()
    return model


@pytest.mark.slow
def test_a_class_that_lost_its_subtomograms_starts_again_from_half_of_the_largest(truth):
    model = collapsed(truth)
    np.testing.assert_allclose(model.alpha, [0.5, 0.5])
    first, second = np.array(model.average_maps())
    assert second.std() > 0.5 * first.std() and 0.1 < np.corrcoef(first.ravel(), second.ravel())[0, 1] < 0.99
    assert model.notices() == ["class 2 lost its subtomograms: it starts again from half of class 1"]
    for _ in range(5):
        add(model, model.e_step(truth.batch, model.prepare()))
        model.m_step()
    assert model.notices() == []
    found = np.array(model.align(truth.batch)["class"])
    assert set(found) == {0, 1}


def test_it_stays_empty_where_that_is_not_wanted(truth):
    model = collapsed(truth, refill_epochs=0)
    np.testing.assert_allclose(model.alpha, [1.0, 0.0], atol=1e-5)
    assert "class 2 holds 0.0%" in model.notices()[0]


def test_saved_and_loaded_it_is_the_same(truth, referenced, tmp_path):
    referenced.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.config == referenced.config
    one, two = rows(truth.batch, slice(0, 2)), slice(0, 2)
    found = [np.array(model(one)) for model in (referenced, again)]
    assert found[0][two].shape == (2, 2)
    np.testing.assert_array_equal(*found)


def test_every_variable_is_in_the_checkpoint_once(referenced):
    variables = referenced.state_variables()
    assert len({id(variable) for variable in variables}) == len(variables)
    assert {id(variable) for variable in referenced.sums.values()} <= {id(v) for v in variables}


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"mode": "fast"}, "mode=fast: expected one of phase, magnitude"),
        ({"classes": 0}, "classes=0"),
        ({"candidates": 51}, "expected 1 to 50"),
        ({"max_radius": 9}, "expected 4 to 7"),
        ({"symmetry": "D7"}, "symmetry=D7"),
        ({"similarity": -1.0}, "similarity=-1.0"),
        ({"coverage": -0.5}, "coverage=-0.5"),
        ({"box": 15}, "even box"),
    ],
)
def test_impossible_settings_are_refused(setting, words):
    with pytest.raises(ZooError, match=words):
        Faml(**{**SETTINGS, **setting})


def test_unfit_data_are_refused():
    few = SimpleNamespace(kind="subtomograms", count=3, box=16, voxel_size_angstrom=5.0, path="set")
    with pytest.raises(ZooError, match="holds 3 subtomograms, too few for classes=4"):
        Faml.from_data(few, "default", classes=4)
    images = SimpleNamespace(kind="particles", count=30, box=16, voxel_size_angstrom=5.0, path="set")
    with pytest.raises(ZooError, match="expected subtomograms"):
        Faml.from_data(images, "default")
    assert Faml.from_data(few, "paper", classes=3).config["regularise"] == "none"


def test_fold_of_cyclic_groups():
    assert [fold_of(text) for text in ("C1", "c7", " C12 ")] == [1, 7, 12]
    for text in ("C0", "C", "7", "Cx"):
        with pytest.raises(ZooError):
            fold_of(text)


def test_averages_endpoint_has_the_maps(referenced):
    endpoint = referenced.endpoints()["averages"]
    assert endpoint.inputs == {}
    found = endpoint.function()
    assert ops.shape(found["averages"]) == (2, BOX, BOX, BOX)
    assert ops.shape(found["halves"]) == (2, 2, BOX, BOX, BOX)


def test_half_sets_of_the_file_are_kept(truth):
    """Subtomograms of half set 1 make the first half map and no other; else every second one does."""
    stated = np.array([1, 1, 1, 1, 1, 2, 2, 0, 0, 0, 0, 0])
    model = Faml(**{**SETTINGS, "classes": 2})
    alone = np.asarray(model.half_of(truth.batch))
    assert alone.tolist() == [1, 1, 2, 2, 1, 1, 2, 2, 1, 1, 2, 2]
    known = {**truth.batch, "random_subset": stated}
    half = np.asarray(model.half_of(known))
    assert half.tolist() == [1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 2, 2]
    sums = {name: np.array(value) for name, value in model.start_step(known).items()}
    first = {**known, "weight": (half == 1).astype("float32")}
    only = {name: np.array(value) for name, value in model.start_step(first).items()}
    np.testing.assert_allclose(only["weights"][0], sums["weights"][0], rtol=1e-5)
    assert not only["weights"][1].any() and sums["weights"][1].any()


def test_results_tell_the_snr_of_each_class_and_a_symmetry_that_is_asked_for(truth):
    """White noise of 0.3 in what the wedge measures: the ratio is known of each class."""
    model = started(Faml, truth, measure_symmetry="C2")
    noise = np.random.default_rng(5).normal(0, 0.3, truth.batch["volume"].shape[:4])
    noise = np.fft.fftn(noise, axes=(1, 2, 3)) * np.fft.ifftshift(truth.batch["wedge"][0])
    noise = np.fft.ifftn(noise, axes=(1, 2, 3)).real.astype("float32")[..., None]
    noisy = {**truth.batch, "volume": truth.batch["volume"] + noise}
    found = model.results(
        [noisy], lambda verb, batch: {k: np.array(v) for k, v in model.align(batch).items()}
    )
    ball = HalfBall(BOX, BOX // 2 - 1)
    for label, name in enumerate(("class_1", "class_2")):
        re, im = (np.array(part)[0] for part in ball.of_maps(beads(label, np.eye(3), np.zeros(3))[None]))
        expected = (re**2 + im**2).mean() / (0.3**2 + 0.05**2)
        measures = found.measures[name]
        assert measures["snr"] == pytest.approx(expected, rel=0.35)  # poses are not exact
        members = (found.classes == label).sum()
        assert measures["snr_pairs"] == members * (members - 1) / 2 and measures["snr_error"] > 0
        assert measures["symmetry_fold"] == 2 and -1 <= measures["symmetry"] < 1
        assert np.linalg.norm([measures[f"axis_{x}"] for x in "xyz"]) == pytest.approx(1)
        assert any(f"class {label + 1}: SNR {measures['snr']:.3g}" in line for line in found.lines)
    assert sum("2-fold symmetry" in line for line in found.lines) == 2


def test_a_symmetry_that_was_imposed_is_said_to_be(truth):
    model = started(Faml, truth, references=False, symmetry="C3")
    found = model.results(
        [truth.batch], lambda verb, batch: {k: np.array(v) for k, v in model.align(batch).items()}
    )
    assert found.measures["class_1"]["symmetry"] > 0.95
    assert any("where it was imposed" in line for line in found.lines)


@pytest.mark.parametrize("symmetry", ["C1", "D2", "7"])
def test_what_is_no_symmetry_to_measure_is_refused(symmetry):
    with pytest.raises(ZooError, match="measure_symmetry"):
        Faml(**SETTINGS, measure_symmetry=symmetry)
