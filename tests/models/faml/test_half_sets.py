"""Independent half sets: who is in which, that they never mix, their common frame, what is said of them."""

import numpy as np
import pytest
from keras import ops
from scipy.spatial.transform import Rotation

from zoo.errors import ZooError
from zoo.metrics.alignment import transform_map
from zoo.models.faml import figures
from zoo.models.faml.config import FamlConfig
from zoo.models.faml.half_sets import HalfSets, half_sets_of
from zoo.models.faml.model import Faml
from zoo.ops.matching.half_space import HalfBall

BOX = 16
SETTINGS = {"box": BOX, "voxel_size_angstrom": 10.0, "candidates": 2, "step_deg": 25.0, "max_radius": 7}


def add(model, sums):
    for name, variable in model.sums.items():
        variable.assign(variable + sums[name])


def beads(rotation=None, shift=(0.0, 0.0, 0.0)):
    axis = np.arange(BOX) - BOX // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    places = np.array([[3.0, 1.0, -1.5], [-2.5, 2.0, 1.0], [0.5, -3.0, 2.0], [-1.0, 0.5, -3.0]])
    places = places @ (np.eye(3) if rotation is None else rotation).T + shift
    squares = [(x - p[0]) ** 2 + (y - p[1]) ** 2 + (z - p[2]) ** 2 for p in places]
    return sum((1.0 + 0.3 * i) * np.exp(-s / (2 * 1.3**2)) for i, s in enumerate(squares)).astype("float32")


def noise(count, seed=0):
    """A batch of white noise that no particle is in, with poses in its file."""
    rng = np.random.default_rng(seed)
    return {
        "volume": rng.normal(size=(count, BOX, BOX, BOX, 1)).astype("float32"),
        "wedge": np.ones((count, BOX, BOX, BOX), "float32"),
        "weight": np.ones(count, "float32"),
        "index": np.arange(count),
        "uid": rng.integers(-(2**63), 2**63, count, dtype=np.int64),
        "euler_deg": Rotation.random(count, rng=rng).as_euler("ZYZ", degrees=True).astype("float32"),
        "shift_angstrom": np.zeros((count, 3), "float32"),
    }


def trained(epochs, batch, **settings):
    model = Faml(**{**SETTINGS, **settings})
    add(model, model.start_step(batch))
    model.m_step()
    for _ in range(epochs):
        add(model, model.e_step(batch, model.prepare()))
        model.m_step()
    return model


def test_uid_and_seed_decide_the_half_set():
    rng = np.random.default_rng(0)
    for uid in (np.arange(4000), rng.integers(-(2**63), 2**63, 4000, dtype=np.int64), np.arange(4000) << 32):
        one, again, other = (np.array(half_sets_of(uid, seed)) for seed in (1, 1, 2))
        np.testing.assert_array_equal(one, again)
        order = rng.permutation(4000)
        np.testing.assert_array_equal(np.array(half_sets_of(uid[order], 1)), one[order])
        for half in (one, other):
            assert set(half) == {1, 2} and abs((half == 1).mean() - 0.5) < 0.03
            assert abs((half[1:] == half[:-1]).mean() - 0.5) < 0.03  # no pattern in neighbours
        assert abs((one == other).mean() - 0.5) < 0.03


def test_the_file_decides_where_it_says_so():
    batch = noise(40)
    model = Faml(**SETTINGS, half_sets="independent")
    by_uid = np.array(model.half_of(batch))
    np.testing.assert_array_equal(by_uid, np.array(half_sets_of(batch["uid"], 0)))
    stated = np.r_[np.ones(10), np.full(10, 2), np.zeros(20)].astype(int)
    half = np.array(model.half_of({**batch, "random_subset": stated}))
    np.testing.assert_array_equal(half[:20], stated[:20])
    np.testing.assert_array_equal(half[20:], by_uid[20:])
    shared = np.array(Faml(**SETTINGS).half_of(batch))
    np.testing.assert_array_equal(shared, np.arange(40) % 2 + 1)


def curves_of_noise(epochs, **settings):
    """FSC of 24 volumes of noise whose half sets share an average, and of such whose do not.

    Unfiltered averages: the noise of every shell has its say in the poses.
    """
    found = []
    for half_sets in ("shared", "independent"):
        model = trained(epochs, noise(24), half_sets=half_sets, regularise="none", **settings)
        found.append(ops.convert_to_numpy(model.fsc)[0])
    return found, model


def test_noise_is_no_structure_in_independent_half_sets():
    (shared, independent), _ = curves_of_noise(3, start="poses")
    inflated = np.flatnonzero(shared > 0.25)
    assert len(inflated) >= 4, shared
    assert independent[1:].max() < 0.143, independent


def test_half_sets_that_began_together_show_no_noise_beyond_their_start():
    settings = {"common_epochs": 1, "common_radius": 4, "coverage": 0.0}
    (shared, independent), model = curves_of_noise(3, **settings)
    assert shared[5:].min() > 0.1 and shared[5:].mean() > 0.143, shared
    assert independent[5:].max() < 0.1, independent
    assert "beyond 40 Å, up to which they began with one average" in figures.fsc_kind(model)


def test_a_half_set_is_compared_with_its_own_average_alone():
    """Whatever stands in the other's average, sums, poses and likelihood stay the same to the bit."""
    batch = noise(8)
    batch["random_subset"] = np.int32([1, 2] * 4)
    model = trained(1, batch, half_sets="independent", start="poses")
    rng = np.random.default_rng(5)
    before = {name: np.array(value) for name, value in model.e_step(batch, model.prepare()).items()}
    aligned = {
        name: np.array(value)
        for name, value in model.align({**batch, "half_set": batch["random_subset"]}).items()
    }
    for part in model.references:
        changed = np.array(ops.convert_to_numpy(part))
        changed[1] = rng.normal(size=changed[1].shape)
        part.assign(changed)
    after = model.e_step(batch, model.prepare())
    for name in ("re", "im", "weights", "transfers", "members"):
        first, other = np.array(after[name]), before[name]
        np.testing.assert_array_equal(first[0], other[0], err_msg=name)
    assert np.abs(np.array(after["re"])[1] - before["re"][1]).max() > 0
    again = model.align({**batch, "half_set": batch["random_subset"]})
    for name, value in aligned.items():
        np.testing.assert_array_equal(np.array(again[name])[::2], value[::2], err_msg=name)
    assert np.abs(np.array(again["score"])[1::2] - aligned["score"][1::2]).max() > 0


def test_what_a_half_set_is_aligned_to_next_is_made_of_it_alone():
    """The other half set decides how strongly its shells are filtered, and nothing else."""
    batch = noise(8)
    batch["random_subset"] = np.int32([1, 2] * 4)
    made = []
    for other in (1.0, -1.0):
        changed = {**batch, "volume": batch["volume"].copy()}
        changed["volume"][1::2] *= other  # all correlations of the half sets turn over, no power changes
        model = Faml(**SETTINGS, half_sets="independent", start="poses", regularise="none")
        add(model, model.start_step(changed))
        model.m_step()
        made.append([ops.convert_to_numpy(part) for part in model.references])
    for one, two in zip(*made, strict=True):
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_allclose(one[1], -two[1], atol=1e-6)


def test_drift_of_the_half_sets_is_found_and_undone():
    ball = HalfBall(BOX, 7)
    config = FamlConfig.of(SETTINGS, "faml").resolved()
    half_sets = HalfSets(ball, config)
    rotation, shift = Rotation.from_rotvec([0.05, -0.08, 0.06]).as_matrix(), np.array([0.4, -0.3, 0.2])
    first, second = (np.array(ball.of_maps(each[None])) for each in (beads(), beads(rotation, shift)))
    weights = np.ones((2, 1, len(ball)), "float32")
    sums = {
        "re": np.stack([first[0], second[0]]),
        "im": np.stack([first[1], second[1]]),
        "weights": weights,
        "transfers": weights @ ball.shell_table,
    }
    fsc = np.ones((1, ball.shells), "float32")
    turns, shifts = half_sets.drift([first, second], fsc)
    # half 1(x) = half 2(Rᵀ(x − t)), half 2(x) = half 1(rotationᵀ(x − shift))
    left = Rotation.from_matrix(np.array(turns)[0] @ rotation).magnitude()
    assert np.degrees(left) < 0.5
    np.testing.assert_allclose(np.array(turns)[0] @ shift + np.array(shifts)[0], 0, atol=0.05)
    joined = half_sets.in_one_frame(sums, [first, second], fsc)
    maps = [np.array(ball.to_maps(joined["re"][h], joined["im"][h]))[0] for h in (0, 1)]
    moved = transform_map(beads(rotation, shift), rotation.T, -rotation.T @ shift)
    before = np.corrcoef(beads().ravel(), beads(rotation, shift).ravel())[0, 1]
    assert before < 0.96 < 0.99 < np.corrcoef(maps[0].ravel(), maps[1].ravel())[0, 1]
    assert np.corrcoef(moved.ravel(), maps[1].ravel())[0, 1] > 0.98
    inner = ball.shell < 6
    np.testing.assert_allclose(np.array(joined["weights"])[1, :, inner], 1, atol=0.02)
    sums_of_shells = np.array(joined["weights"])[1] @ ball.shell_table
    np.testing.assert_allclose(sums_of_shells, sums["transfers"][1], rtol=1e-4)
    nothing = half_sets.drift([first, second], 0 * fsc)  # where nothing is common nothing moves
    np.testing.assert_allclose(nothing[0][0], np.eye(3), atol=1e-6)
    np.testing.assert_allclose(nothing[1][0], 0, atol=1e-6)


def test_references_are_given_to_both_without_their_detail():
    model = Faml(**SETTINGS, half_sets="independent", references="a.mrc", common_radius=5)
    model.set_references(beads()[None])
    power = np.array(ops.sum(ops.stack([part**2 for part in model.references]), axis=0))
    shells = power @ model.ball.shell_table
    np.testing.assert_array_equal(power[0], power[1])
    assert (shells[..., 4:] == 0).all() and (shells[..., 1:4] > 0).all()
    assert model.half_sets.are_apart(1) and not model.half_sets.are_apart(0)


def test_kinds_of_fsc_are_told():
    batch = noise(8)
    model = trained(0, batch, half_sets="independent", common_epochs=1)
    seen = []
    for _ in range(2):
        add(model, model.e_step(batch, model.prepare()))
        model.m_step()
        flag = model.figures()["fsc_of_independent_half_sets"]
        (curve,) = [name for name in model.preview(batch) if name != "map"]
        seen.append((flag, curve, figures.fsc_kind(model)))
    assert seen[0] == (0.0, "fsc_of_half_sets_aligned_to_one_average", "half sets aligned to one average")
    assert seen[1][:2] == (1.0, "fsc_of_independent_half_sets")
    assert seen[1][2].startswith("independent half sets beyond 40 Å")
    from_poses = trained(0, batch, half_sets="independent", start="poses")
    assert figures.fsc_kind(from_poses) == "independent half sets, which began with the poses of the file"
    (line,) = figures.resolutions(from_poses, "independent half sets")
    assert line.startswith("class 1: FSC 0.143 at ") and line.endswith("(independent half sets)")


class Info:
    """What a model is made for, without files."""

    kind, box, voxel_size_angstrom, path = "subtomograms", BOX, 10.0, "set"

    def __init__(self, count, stated=None):
        self.count = count
        self.table = {} if stated is None else {"random_subset": np.asarray(stated)}

    def load_table(self):
        return self.table


@pytest.mark.parametrize(
    ("count", "given", "expected"),
    [
        (99, {}, "shared"),
        (100, {}, "independent"),
        (199, {"classes": 2}, "shared"),
        (200, {"classes": 2}, "independent"),
        (100, {"half_sets": "shared"}, "shared"),
        (10, {"half_sets": "independent"}, "independent"),
    ],
)
def test_half_sets_are_independent_from_100_subtomograms_a_class_on(count, given, expected):
    model = Faml.from_data(Info(count), "default", **given)
    assert model.config["half_sets"] == model.get_config()["half_sets"] == expected
    assert hasattr(model, "references") == (expected == "independent")


def test_an_empty_half_set_is_refused():
    with pytest.raises(ZooError, match="half set 2 of rlnRandomSubset has 0 of 120 subtomograms, too few"):
        Faml.from_data(Info(120, np.ones(120, int)), "default")
    assert Faml.from_data(Info(120, np.ones(120, int)), "paper").config["half_sets"] == "shared"
    Faml.from_data(Info(120, np.r_[np.ones(119, int), 0]), "default")  # those without one are divided


def test_radius_of_the_common_start_is_checked():
    with pytest.raises(ZooError, match="common_radius=8: expected 0, or 4 to 7"):
        Faml(**SETTINGS, common_radius=8)
