"""edss3d: the paper's layers, what a voxel sees, a loss that is what it says, and labels that are learned."""

import keras
import numpy as np
import pytest

import zoo
from zoo.data.info import DatasetInfo
from zoo.data.packing.pack_arrays import pack_subtomogram_arrays
from zoo.data.packing.shards import PackSettings
from zoo.errors import ZooError
from zoo.metrics.overlap import intersection_over_union, overlap_counts
from zoo.models.edss3d.losses import CrossEntropyAndTversky
from zoo.models.supervised import HELD_BACK, Supervision, balanced_weights


def cubes(count, box=16, seed=0):
    """Noisy cubes (n, z, y, x) with a ball and a sheet each, and their labels 1 and 2."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*[np.arange(box)] * 3, indexing="ij")
    labels = np.zeros((count, box, box, box), np.int8)
    for label in labels:
        centre = rng.uniform(4, box - 4, 3)
        label[sum((axis - c) ** 2 for axis, c in zip((z, y, x), centre, strict=True)) < 12] = 1
        at = rng.integers(1, box - 3)
        label[(abs(y - at) < 2) & (label == 0)] = 2
    volumes = np.array([0, 2.0, -2.0])[labels] + rng.normal(0, 0.5, labels.shape)
    return volumes.astype(np.float32), labels


@pytest.fixture(scope="module")
def info(tmp_path_factory):
    volumes, labels = cubes(12)
    out = tmp_path_factory.mktemp("edss3d") / "rec"
    packing = PackSettings(16, dtype="float32", normalisation="none", contrast=1)
    names = ["background", "ball", "sheet"]
    return pack_subtomogram_arrays(
        volumes, out, packing, voxel_size_angstrom=10.0, voxel_labels=labels, voxel_label_names=names
    ).info


def test_the_paper_has_so_many_weights():
    model = zoo.create_model("edss3d", preset="paper", seed=0, classes=3)
    # 5 convolutions of 32 filters and one of 3, each with its biases
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == 896 + 4 * 27_680 + 2_595
    s = model.learning
    assert (s.learning_rate, s.batch_size, s.patience, s.filters) == (1e-3, 128, 20, 32)
    assert not s.skips and not s.flips and s.class_weights == "none"
    assert model.class_names == ("background", "class_1", "class_2")


def test_any_box_that_can_be_halved_twice_and_no_other():
    model = zoo.create_model("edss3d", seed=0, box=16, filters=2, classes=3)
    for shape in ((8, 8, 8), (12, 20, 16)):
        found = keras.ops.convert_to_numpy(
            model.segment({"volume": np.ones((2, *shape, 1), np.float32)})["probability"]
        )
        assert found.shape == (2, *shape, 3)
        np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-5)
    with pytest.raises(Exception, match="shape|reshape|rank"):
        model.segment({"volume": np.ones((1, 10, 12, 12, 1), np.float32)})
    with pytest.raises(ZooError, match="box=30 cannot be halved twice"):
        zoo.create_model("edss3d", box=30)


@pytest.mark.parametrize(("skips", "levels"), [(False, 2), (True, 2), (True, 1), (True, 3)])
def test_a_voxel_sees_as_far_as_the_model_says(skips, levels):
    given = {"skips": skips, "levels": levels, "widens": levels == 3}
    model = zoo.create_model("edss3d", seed=1, box=16, filters=3, classes=2, **given)
    for variable in model.trainable_variables:  # all positive, so that nothing cancels or dies
        variable.assign(np.abs(variable.numpy()) + 0.01)
    depth, multiple = 24 * 2**levels, 2**levels
    volume = np.random.default_rng(0).random((1, depth, 8, 8, 1)).astype(np.float32)
    before = keras.ops.convert_to_numpy(model({"volume": volume}))[0]
    seen = []  # output z, input z
    for z in range(depth // 3, 2 * depth // 3):
        changed = volume.copy()
        changed[0, z] += 50.0
        after = keras.ops.convert_to_numpy(model({"volume": changed}))[0]
        differs = np.abs(after - before).max(axis=(1, 2, 3)) > 1e-6 * np.abs(before).max()
        seen += [(int(at), z) for at in np.flatnonzero(differs)]
    block = [multiple * (at // multiple) for at, _ in seen]
    beyond = max(max(low - z, z - low - multiple + 1) for low, (_, z) in zip(block, seen, strict=True))
    assert beyond == 3 * multiple - 1
    assert (model.reach_voxels, model.multiple) == (3 * multiple, multiple)


def test_filters_double_where_voxels_are_few():
    given = {"filters": 4, "classes": 3, "levels": 3, "widens": True, "skips": True}
    model = zoo.create_model("edss3d", seed=0, box=16, **given)
    kernels = [v.shape[-2:] for v in model.trainable_variables if len(v.shape) == 5]
    down, up = [(1, 4), (4, 8), (8, 16), (16, 32)], [(32 + 16, 16), (16 + 8, 8), (8 + 4, 4), (4, 3)]
    assert [tuple(each) for each in kernels] == down + up
    found = model.segment({"volume": np.ones((1, 8, 24, 16, 1), np.float32)})["probability"]
    assert tuple(found.shape) == (1, 8, 24, 16, 3)
    with pytest.raises(ZooError, match="box=12 cannot be halved 3 times; pack with a box .* multiple of 8"):
        zoo.create_model("edss3d", box=12, levels=3)


def test_flips_change_what_is_seen_and_not_what_is_wanted():
    model = zoo.create_model("edss3d", seed=2, box=16, filters=2, classes=2, flips=True)
    volume = np.random.default_rng(1).normal(size=(1, 16, 16, 16, 1)).astype(np.float32)
    plain = keras.ops.convert_to_numpy(model({"volume": volume}))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model({"volume": volume}, training=True)), plain)
    for step in range(1, 8):
        model.step_counter.assign(step)
        axes = [axis + 1 for axis in range(3) if step >> axis & 1]
        mirrored = keras.ops.convert_to_numpy(model({"volume": np.flip(volume, axes).copy()}))
        found = keras.ops.convert_to_numpy(model({"volume": volume}, training=True))
        np.testing.assert_allclose(found, np.flip(mirrored, axes), atol=1e-5)
        assert np.abs(found - plain).max() > 1e-4
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model({"volume": volume})), plain)


def test_turns_change_what_is_seen_and_not_what_is_wanted():
    model = zoo.create_model("edss3d", seed=2, box=16, filters=2, classes=2, flips=True, turns=True)
    volume = np.random.default_rng(1).normal(size=(1, 16, 16, 16, 1)).astype(np.float32)
    ways = set()
    for step in range(16):
        model.step_counter.assign(step)
        axes, turn = [axis + 1 for axis in range(3) if step >> axis & 1], step // 8
        seen = np.rot90(np.flip(volume, axes), -turn, axes=(2, 3)).copy()  # x to y
        ways.add(seen.tobytes())
        there = keras.ops.convert_to_numpy(model({"volume": seen}))
        found = keras.ops.convert_to_numpy(model({"volume": volume}, training=True))
        np.testing.assert_allclose(found, np.flip(np.rot90(there, turn, axes=(2, 3)), axes), atol=1e-5)
    assert len(ways) == 16
    alone = zoo.create_model("edss3d", seed=2, box=16, filters=2, classes=2, flips=False, turns=True)
    for step, turn in ((0, 0), (1, 1), (2, 0)):
        alone.step_counter.assign(step)
        there = keras.ops.convert_to_numpy(alone({"volume": np.rot90(volume, -turn, axes=(2, 3)).copy()}))
        found = keras.ops.convert_to_numpy(alone({"volume": volume}, training=True))
        np.testing.assert_allclose(found, np.rot90(there, turn, axes=(2, 3)), atol=1e-5)


def test_rare_classes_weigh_by_their_root():
    counts = {0: 980_000, 1: 9_800, 2: 10_200}
    weights = balanced_weights(counts, 0.5)
    assert weights[1] / weights[0] == pytest.approx(10, rel=1e-5)
    assert sum(weights[k] * count for k, count in counts.items()) / 1e6 == pytest.approx(1, rel=1e-5)
    whole = balanced_weights(counts)
    assert whole[0] * 980_000 == pytest.approx(whole[1] * 9_800, rel=1e-5)


def one_held_back(volumes, labels):
    """A batch of three cubes, the second of them not learned from."""
    return {
        "volume": volumes[..., None],
        "voxel_labels": labels.astype(np.int32),
        HELD_BACK: np.array([0, 1, 0]),
    }


@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_the_loss_is_the_cross_entropy_of_all_voxels(weights):
    volumes, labels = cubes(3)
    counts = {k: int((labels == k).sum()) for k in range(3)}
    model = zoo.create_model("edss3d", seed=3, box=16, filters=2, classes=3, flips=False)
    model.compile()
    chosen = balanced_weights(counts) if weights == "balanced" else None
    learner = Supervision(model, model.target, model.learning, chosen)
    batch = one_held_back(volumes, labels)
    loss = float(learner.player_loss("model", batch, {}, None, 0)[0])
    share = keras.ops.convert_to_numpy(model.segment(batch)["probability"])
    true = np.take_along_axis(share, labels[..., None].astype(int), axis=-1)[..., 0]
    each = -np.log(true) * (1 if chosen is None else chosen[labels])
    assert loss == pytest.approx((each[0].mean() + each[2].mean()) / 3 / 0.9, rel=1e-4)
    sums = {name: value for name, value in learner.validation_sums(batch).items() if name != "more"}
    assert float(sums["loss"]) == pytest.approx(each.mean(axis=(1, 2, 3)).sum(), rel=1e-4)
    assert float(sums["weight"]) == 3


@pytest.mark.parametrize("missed", [0.5, 0.8])
@pytest.mark.parametrize("weights", ["none", "root"])
def test_the_tversky_loss_is_its_formula(missed, weights):
    volumes, labels = cubes(3)
    labels[labels == 2] = 0  # a kind that no voxel is of has no index
    counts = {0: int((labels == 0).sum()), 1: int((labels == 1).sum())}
    model = zoo.create_model(
        "edss3d", seed=3, box=16, filters=2, classes=3, flips=False, loss="tversky", missed_weight=missed
    )
    model.compile()
    chosen = balanced_weights(counts, 0.5) if weights == "root" else None
    learner = Supervision(model, model.target, model.learning, chosen)
    batch = one_held_back(volumes, labels)
    loss = float(learner.player_loss("model", batch, {}, None, 0)[0])
    share = keras.ops.convert_to_numpy(model.segment(batch)["probability"]).astype(np.float64)
    each = np.ones(labels.shape) if chosen is None else chosen[labels].astype(np.float64)
    each[1] = 0  # held back
    each /= 0.9
    true = np.take_along_axis(share, labels[..., None].astype(int), axis=-1)[..., 0]
    p, y = share[..., 1], (labels == 1).astype(np.float64)
    both, wrong, lost = ((each * one).sum() for one in (p * y, p * (1 - y), (1 - p) * y))
    index = both / (both + (1 - missed) * wrong + missed * lost)
    assert loss == pytest.approx((each * -np.log(true)).mean() + 1 - index, rel=1e-4)


def test_the_tversky_loss_of_background_alone_is_the_cross_entropy():
    loss = CrossEntropyAndTversky(0.5)
    logits = np.random.default_rng(0).normal(size=(2, 4, 4, 4, 3)).astype(np.float32)
    labels = np.zeros((2, 4, 4, 4), np.int32)
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert float(loss(labels, logits)) == pytest.approx(float(entropy(labels, logits)), rel=1e-5)
    again = keras.losses.deserialize(keras.losses.serialize(CrossEntropyAndTversky(0.7)))
    assert again.missed_weight == 0.7
    with pytest.raises(ZooError, match="missed_weight"):
        zoo.create_model("edss3d", box=16, missed_weight=1.0)


def test_figures_of_a_validation_are_those_of_all_its_voxels():
    volumes, labels = cubes(5)
    model = zoo.create_model("edss3d", seed=4, box=16, filters=2, classes=3, class_names="nothing,ball,sheet")
    model.compile()
    learner = Supervision(model, model.target, model.learning)
    totals = {}
    for part in (slice(0, 3), slice(3, 5)):
        batch = {"volume": volumes[part, ..., None], "voxel_labels": labels[part].astype(np.int32)}
        batch[HELD_BACK] = np.ones(len(batch["volume"]), np.float32)
        for name, value in learner.validation_sums(batch)["more"].items():
            totals[name] = totals.get(name, 0) + keras.ops.convert_to_numpy(value)
    found = keras.ops.convert_to_numpy(model.segment({"volume": volumes[..., None]})["probability"]).argmax(
        -1
    )
    wanted = intersection_over_union(**overlap_counts(found, labels, 3))
    figures = learner.validation_figures(totals)
    assert [figures[f"validation_iou_{name}"] for name in ("nothing", "ball", "sheet")] == pytest.approx(
        wanted
    )
    assert "validation_dice_ball" in figures


def test_classes_and_names_come_from_the_records(info):
    model = zoo.create_model("edss3d", info, seed=0, filters=2)
    assert model.classes == 3 and model.class_names == ("background", "ball", "sheet")
    assert model.learning.class_names == "background,ball,sheet"
    more = zoo.create_model("edss3d", info, seed=0, filters=2, classes=4)
    assert more.class_names == ("background", "class_1", "class_2", "class_3")
    renamed = zoo.create_model("edss3d", info, seed=0, filters=2, class_names="a,b,c")
    assert renamed.class_names == ("a", "b", "c")


def test_records_that_do_not_fit_are_one_line(info, tmp_path):
    volumes, labels = cubes(2)
    packing = PackSettings(16, dtype="float32", normalisation="none", contrast=1)
    plain = pack_subtomogram_arrays(volumes, tmp_path / "plain", packing, voxel_size_angstrom=10.0).info
    empty = pack_subtomogram_arrays(
        volumes, tmp_path / "empty", packing, voxel_size_angstrom=10.0, voxel_labels=0 * labels
    ).info
    for data, values, words in (
        (plain, {}, "its voxels have no labels; pack with zoo-pack --tomogram T.mrc --labels L.mrc"),
        (empty, {}, "all voxels have one label"),
        (info, {"classes": 2}, "voxels of class 2, but classes=2"),
        (None, {"classes": 1}, "classes=1: expected the background"),
        (info, {"class_names": "a,a,b"}, "two names are alike"),
        (info, {"class_names": "a,b", "classes": 3}, "2 names for 3 classes"),
        (info, {"box": 32}, "box=32 was asked for"),
    ):
        with pytest.raises(ZooError, match=words) as caught:
            zoo.create_model("edss3d", data, **values)
        assert "\n" not in str(caught.value)


def test_balls_and_sheets_are_learned():
    volumes, labels = cubes(24)
    model = zoo.create_model("edss3d", seed=1, box=16, filters=4, classes=3, skips=True, learning_rate=0.01)
    model.compile()
    model.fit({"volume": volumes[..., None]}, labels, batch_size=8, epochs=40, verbose=0)
    fresh, true = cubes(6, seed=9)
    found = keras.ops.convert_to_numpy(model.segment({"volume": fresh[..., None]})["probability"]).argmax(-1)
    assert intersection_over_union(**overlap_counts(found, true, 3)).min() > 0.75


def test_a_run_tells_its_overlap_at_the_end(info):
    model = zoo.create_model("edss3d", DatasetInfo.load(info.path), seed=0, filters=2)
    volumes, labels = cubes(4)
    batch = {"volume": volumes[..., None], "voxel_labels": labels, HELD_BACK: np.array([0, 1, 1, 0])}

    def apply(verb, given):  # finds all, but for the sheets of the first cube, which is learned from
        probability = np.eye(3)[given["voxel_labels"]]
        probability[0][labels[0] == 2] = [1, 0, 0]
        return {"probability": probability}

    assert model.results([batch], apply).lines == [
        "intersection over union of 2 held-back cubes: background 1.000, ball 1.000, sheet 1.000"
    ]
    del batch[HELD_BACK]
    assert "of all cubes, learned from: background 0." in model.results([batch], apply).lines[0]
