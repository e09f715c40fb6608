"""autoencoder3d: the paper's layers, a loss that is what it says, and codes that tell what is in a cube."""

import keras
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import zoo
from zoo.errors import ZooError
from zoo.models.autoencoder3d.kinds import commonest_label, kinds_told_apart
from zoo.models.autoencoder3d.smoother import Smoother
from zoo.models.supervised import HELD_BACK, Supervision


def cubes(count, box=16, seed=0):
    """(2 count, n, n, n, 1): balls, then flat sheets, in noise."""
    rng = np.random.default_rng(seed)
    axis = np.arange(box) - box // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    ball, sheet = np.exp(-((x**2 + y**2 + z**2) / 18.0)), np.exp(-((z**2) / 8.0))
    clean = np.concatenate([np.repeat(each[None], count, axis=0) for each in (ball, sheet)])
    noisy = clean + rng.normal(0, 0.3, clean.shape)
    return noisy[..., None].astype("float32"), np.repeat([0, 1], count)


def test_the_paper_has_so_many_weights():
    model = zoo.create_model("autoencoder3d", preset="paper", seed=0)
    # 2 convolutions and a dense layer, a dense layer and 3 convolutions, each with its biases
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == 1_149_793
    s = model.learning
    assert (s.learning_rate, s.beta_1, s.beta_2, s.batch_size, s.patience) == (1e-3, 0.9, 0.99, 8, 20)
    assert s.validation_fraction == 0.1 and s.sparsity == 1e-4
    out = model({"volume": np.zeros((2, 32, 32, 32, 1), "float32")})
    assert tuple(out.shape) == (2, 32, 32, 32, 1)


def test_the_encoder_is_that_of_the_paper():
    """Convolution, ReLU, pooling, twice; then a dense layer with ReLU: made of plain layers with its
    weights."""
    model = zoo.create_model("autoencoder3d", seed=2, box=12, filters=3, smooth_voxels=0)
    plain = keras.Sequential([keras.Input((12, 12, 12, 1))])
    for _ in range(2):
        plain.add(keras.layers.Conv3D(3, 3, padding="same", activation="relu"))
        plain.add(keras.layers.MaxPooling3D(2))
    plain.add(keras.layers.Flatten())
    plain.add(keras.layers.Dense(32, "relu"))
    plain.set_weights([w + 0.01 for w in model.encoder.get_weights()])
    model.encoder.set_weights(plain.get_weights())
    volumes, _ = cubes(3, 12)
    found = keras.ops.convert_to_numpy(model.encode({"volume": volumes})["z_mean"])
    assert found.std() > 0.01
    np.testing.assert_allclose(found, keras.ops.convert_to_numpy(plain(volumes)), atol=1e-5)


@pytest.mark.parametrize("box", [8, 12, 20])
def test_any_box_that_can_be_halved_twice(box):
    model = zoo.create_model("autoencoder3d", seed=0, box=box, filters=2)
    assert tuple(model.density(np.zeros((3, 32), "float32")).shape) == (3, box, box, box)


def test_another_box_is_one_line():
    with pytest.raises(ZooError, match="box=30 cannot be halved twice"):
        zoo.create_model("autoencoder3d", box=30)


@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_held_back_records_move_nothing_and_sparsity_counts(smooth):
    volumes, _ = cubes(2)
    given = {"box": 16, "filters": 2, "latent_dim": 4, "sparsity": 0.1, "smooth_voxels": smooth}
    model = zoo.create_model("autoencoder3d", seed=3, **given)
    model.compile()
    learner = Supervision(model, "volume", model.learning)
    batch = {"volume": volumes, HELD_BACK: np.array([0, 1, 0, 0])}
    loss = float(learner.player_loss("model", batch, {}, None, 0)[0])
    kept = volumes[[0, 2, 3]]
    code = keras.ops.convert_to_numpy(model.encode({"volume": kept})["z_mean"])
    drawn = keras.ops.convert_to_numpy(model({"volume": kept}))
    factor = 1.0
    if smooth:
        kept = gaussian_filter(kept, (0, 1, 1, 1, 0), mode="constant", truncate=3)
        factor = gaussian_filter(np.eye(1, 65**3, 65**3 // 2).reshape(65, 65, 65), 1, truncate=3)
        factor = 1 / np.sqrt((factor**2).sum())
    each = (factor**2 * (drawn - kept) ** 2).mean(axis=(1, 2, 3, 4)) + 0.1 * np.abs(code).sum(axis=1)
    assert loss == pytest.approx(each.sum() / 4 / 0.9, rel=1e-4)
    batch["volume"] = np.concatenate([volumes[:1], 50 * volumes[1:2], volumes[2:]])
    assert float(learner.player_loss("model", batch, {}, None, 0)[0]) == pytest.approx(loss, rel=1e-5)
    plain = float(learner.loss(batch, np.ones(4, "float32")))
    drawn = keras.ops.convert_to_numpy(model(batch))
    if not smooth:
        assert plain == pytest.approx(((drawn - batch["volume"]) ** 2).mean(), rel=1e-4)


def test_white_noise_keeps_its_deviation_and_drawn_cubes_their_unit():
    noise = np.random.default_rng(0).normal(size=(1, 40, 40, 40, 1)).astype("float32")
    smoother = Smoother(1.0)
    smoothed = keras.ops.convert_to_numpy(smoother(noise))[:, 4:-4, 4:-4, 4:-4]
    assert smoothed.std() == pytest.approx(1, abs=0.03)
    flat = np.full((1, 40, 40, 40, 1), 2.0, "float32")
    back = keras.ops.convert_to_numpy(smoother.in_units(smoother(flat)))
    np.testing.assert_allclose(back[:, 4:-4, 4:-4, 4:-4], 2, rtol=1e-5)
    assert Smoother(0)(noise) is noise


def test_what_a_run_says_at_its_end():
    volumes, kinds = cubes(20)
    kinds[:3] = -1
    model = zoo.create_model("autoencoder3d", seed=1, box=16, filters=2, latent_dim=4)
    held = (np.arange(40) % 10 == 0).astype("float32")
    batches = [
        {"volume": volumes[part], "label": kinds[part], HELD_BACK: held[part]}
        for part in (slice(0, 25), slice(25, 40))
    ]

    def apply(verb, batch):
        if verb == "encode":  # codes that tell the kinds apart
            return {"z_mean": np.tile(batch["volume"][:, 0, 0, 8], (1, 4)) * 0 + batch["label"][:, None]}
        return {"density": np.zeros((len(batch["z"]), 16, 16, 16), "float32")}

    error, told = model.results(iter(batches), apply).lines
    assert error.startswith("4 held-back cubes, smoothed by 1 voxels: mean squared error")
    assert told.startswith("codes against 2 known kinds of 37 cubes: NMI 1.000 of K-means into 2")
    for batch in batches:
        batch["label"] = np.full(len(batch["label"]), -1)
    del batches[0][HELD_BACK], batches[1][HELD_BACK]
    assert model.results(iter(batches), apply).lines == []


def test_clusters_named_by_their_commonest_kind():
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1], 50)
    codes = np.stack([np.tile([0.0, 9.0], 50), labels * 4.0], axis=1) + rng.normal(0, 0.1, (100, 2))
    (line,) = kinds_told_apart(codes, labels)
    assert "NMI 0.000 of K-means into 2" in line and "NMI 1.000 of 10" in line.replace(
        ", 1.000", ", NMI 1.000"
    )
    assert "100.0% of the cubes are then named right" in line
    assert commonest_label(np.array([0, 0, 0, 1]), np.array([2, 2, 1, 1])).tolist() == [2, 2, 2, 1]
    assert kinds_told_apart(np.zeros((6, 2)), np.array([0, 0, 0, 1, 1, 1]))[0].count("K-means into 1") == 1


def test_codes_tell_balls_from_sheets():
    from sklearn.cluster import KMeans

    from zoo.metrics.clustering import clustering_scores

    volumes, kinds = cubes(24)
    model = zoo.create_model("autoencoder3d", seed=1, box=16, filters=4, latent_dim=8)
    model.compile()
    before = float(((keras.ops.convert_to_numpy(model({"volume": volumes})) - volumes) ** 2).mean())
    model.fit({"volume": volumes}, volumes, batch_size=16, epochs=25, verbose=0)
    after = float(((keras.ops.convert_to_numpy(model({"volume": volumes})) - volumes) ** 2).mean())
    assert after < 0.6 * before
    found = KMeans(2, n_init=3, random_state=0).fit_predict(model.encode({"volume": volumes})["z_mean"])
    assert clustering_scores(kinds, found)["nmi"] > 0.9


def test_codes_of_labelled_cubes_are_judged_while_it_trains(tmp_path):
    from zoo.data.info import DatasetInfo
    from zoo.data.packing.pack_subtomograms import OWN_BOX, pack_subtomograms
    from zoo.data.packing.shards import PackSettings
    from zoo.simulate.embedded import embedded_classes
    from zoo.simulate.subtomogram_settings import SubtomogramSettings
    from zoo.simulate.subtomograms import simulate_subtomograms
    from zoo.training.judge import Judge

    settings = SubtomogramSettings(3, snr=0.5, quick=True, seed=4)
    simulate_subtomograms(embedded_classes(16), tmp_path / "set", settings)
    packing = PackSettings(box=OWN_BOX, contrast=1)
    pack_subtomograms(tmp_path / "set" / "subtomograms.star", tmp_path / "rec", packing, processes=1)
    info = DatasetInfo.load(tmp_path / "rec")
    figures = Judge(zoo.create_model("autoencoder3d", info, seed=0, filters=2), info).figures(last=True)
    assert set(figures) == {"nmi"} and 0 <= figures["nmi"] <= 1
