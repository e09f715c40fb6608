"""vaegan3d: presets, losses, saving, notebook use."""

import keras
import numpy as np
import pytest

from zoo import create_model
from zoo.errors import ZooError
from zoo.models.gradient_model import gradient_penalty
from zoo.models.vaegan3d.config import PRESETS, VAEGAN3DConfig
from zoo.models.vaegan3d.model import VAEGAN3D

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the TensorFlow engine is under test"
)


def _values(variables):
    # A copy: on a CPU the array may be a view of memory that the next step overwrites.
    return [np.array(keras.ops.convert_to_numpy(v)) for v in variables]


def _weights(model):
    return _values(model.trainable_variables)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_trains_and_every_player_moves(preset, small_search, particle_batch):
    overrides = {
        k: v for k, v in small_search.items() if not k.startswith("search") or PRESETS[preset]["pose_search"]
    }
    model = VAEGAN3D.from_data(None, preset, **overrides, learning_rate=1e-3)
    model.compile(seed=3)
    batch = {name: tf.constant(value) for name, value in particle_batch().items()}
    if model.numbers_records:
        with pytest.raises(ZooError, match="do not say which they hold"):
            model.train_step(batch)
        batch["index"] = tf.range(4)
    before = {player: _values(model.player_variables(player)) for player in set(model.players)}
    for _ in range(2):
        logs = model.train_step(batch)
    for name, value in logs.items():
        assert np.isfinite(float(value)), f"{name} is {float(value)}"
    for player, values in before.items():
        moved = [
            np.abs(new - old).max()
            for new, old in zip(_values(model.player_variables(player)), values, strict=True)
        ]
        assert max(moved) > 0, f"{player} did not move"
    assert int(model.step_counter) == 2
    assert ("sigma" in logs) == (PRESETS[preset]["noise_model"] != "none")


def test_paper_preset_has_the_thesis_numbers():
    s = VAEGAN3DConfig(**PRESETS["paper"])
    assert (s.box, s.latent_dim, s.noise_latent_dim, s.camera_latent_dim) == (64, 10, 100, 64)
    assert (s.siren_width, s.gradient_penalty, s.diversity_weight, s.average_decay) == (128, 10.0, 0.02, 0.96)
    assert (s.learning_rate, s.beta_1, s.beta_2, s.decay_rate, s.decay_steps) == (
        1e-5,
        0.9,
        0.999,
        0.96,
        10_000,
    )
    assert (s.batch_size, s.training_steps, s.camera) == (16, 250_000, "trained")
    assert PRESETS["uniform_camera"]["camera"] == "uniform"
    model = VAEGAN3D.from_data(None, "paper")
    # Perceptual features are the 8×8×256 map just before pooling.
    assert model.critic.outputs[1].shape[1:] == (8, 8, 256)
    assert model.generator.first.kernel.numpy().max() <= 1 / 128


def test_weight_average_follows_the_generator(small, particle_batch):
    model = VAEGAN3D.from_data(None, "uniform_camera", **small, learning_rate=1e-2)
    model.compile(seed=0)
    start = [w.copy() for w in model.generator.get_weights()]
    model.train_step({k: tf.constant(v) for k, v in particle_batch().items()})
    for first, now, average in zip(
        start, model.generator.get_weights(), model.generator_average.get_weights(), strict=True
    ):
        np.testing.assert_allclose(average, 0.96 * first + 0.04 * now, atol=1e-6)


def test_same_seed_same_step_other_seed_other_step(small, particle_batch):
    batch = {k: tf.constant(v) for k, v in particle_batch().items()}
    results = []
    for seed in (0, 0, 1):
        model = VAEGAN3D.from_data(None, "uniform_camera", **small, learning_rate=1e-3)
        model.compile(seed=seed)
        model.train_step(batch)
        results.append(np.concatenate([w.ravel() for w in _weights(model)]))
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


def test_saved_model_keeps_weights_and_optimizer_slots(small, particle_batch, tmp_path):
    model = VAEGAN3D.from_data(None, "uniform_camera", **small, learning_rate=1e-3)
    model.compile(seed=5)
    batch = {k: tf.constant(v) for k, v in particle_batch().items()}
    model.train_step(batch)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    assert loaded.seed == 5
    # Equal now, and equal after one more step: the slots and the step came along.
    for one in (model, loaded):
        one.train_step(batch)
    for a, b in zip(_weights(model), _weights(loaded), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_compile_and_fit_as_in_a_notebook(small, particle_batch):
    model = create_model("vaegan3d", preset="uniform_camera", **small)
    model.compile()
    dataset = tf.data.Dataset.from_tensors(particle_batch()).repeat()
    history = model.fit(dataset, steps_per_epoch=2, epochs=2, verbose=0)
    assert len(history.history["wasserstein"]) == 2
    assert int(model.step_counter) == 4
    assert model.predict(particle_batch()["image"], verbose=0).shape == (4, 10)


def test_gradient_penalty_of_a_linear_critic_is_analytic():
    weights = np.random.default_rng(0).normal(size=(6, 1)).astype("float32")
    real, fake = np.ones((3, 6), "float32"), np.zeros((3, 6), "float32")

    def input_gradient(fn, x):
        with tf.GradientTape() as tape:
            x = tf.convert_to_tensor(x)
            tape.watch(x)
            y = fn(x)
        return y, tape.gradient(y, x)

    penalty = gradient_penalty(
        lambda x: x @ weights, real, fake, np.full((3, 1), 0.3, "float32"), input_gradient
    )
    assert float(penalty) == pytest.approx((np.linalg.norm(weights) - 1.0) ** 2, rel=1e-5)


def test_noise_models_add_what_they_say(small):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, 16, 16)).astype("float32")
    sigma, epsilon = np.full((2, 16, 16), 0.5, "float32"), rng.normal(size=(2, 16, 16)).astype("float32")
    for name, expected in (
        ("gaussian", image + 0.5 * epsilon),
        ("poisson", image + np.sqrt(np.abs(image) + 1e-6) * 0.5 * epsilon),
        ("none", image),
    ):
        model = VAEGAN3D.from_data(None, "uniform_camera", **small, noise_model=name)
        np.testing.assert_allclose(np.array(model.add_noise(image, sigma, epsilon)), expected, atol=1e-6)


def test_unknown_ctf_means_no_ctf(small):
    model = VAEGAN3D.from_data(None, "uniform_camera", **small)
    z, angles = np.zeros((1, 10), "float32"), np.array([[10.0, 20.0, 30.0]], "float32")
    nothing = np.array(model.project(z, angles, np.full((1, 9), np.nan, "float32")))
    known = np.array([[15000.0, 15000.0, 0.0, 300.0, 2.7, 0.1, 0.0, 0.0, 1.0]], "float32")
    assert np.isfinite(nothing).all()
    np.testing.assert_array_equal(nothing, np.array(model.project(z, angles)))
    assert np.abs(nothing - np.array(model.project(z, angles, known))).max() > 0


def test_endpoints_have_the_shapes_they_announce(small):
    model = VAEGAN3D.from_data(None, "tiny", **small, search_rings=4)
    results = {}
    for name, endpoint in model.endpoints().items():
        arguments = {
            key: np.zeros([2 if n is None else n for n in each.shape], each.dtype)
            for key, each in endpoint.inputs.items()
        }
        results[name] = {key: tuple(value.shape) for key, value in endpoint.function(**arguments).items()}
    assert results == {
        "encode": {"z_mean": (2, 2), "z_logvar": (2, 2)},
        "density": {"density": (2, 16, 16, 16)},
        "project": {"image": (2, 16, 16, 1)},
        "generate": {"image": (2, 16, 16, 1)},
    }


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"box": 36}, "box=36 cannot be halved 3 times"),
        ({"camera": "free"}, "camera=free: expected one of uniform, trained"),
        ({"camera_latent_dim": 4}, "camera_latent_dim=4: expected 6 to 4096"),
        ({"voxel_size_angstrom": 0.0}, "voxel_size_angstrom=0.0"),
        ({"box": 16, "pose_search": True}, "search_rings=8: expected 1 to 7 for a box of 16"),
        ({"pose_search": True, "search_in_plane": 7}, "search_in_plane=7: expected an even number"),
        ({"shift_pixels": 33}, "shift_pixels=33.0: expected 0 to 32"),
        ({"latent_start": 0.5, "latent_full": 0.2}, "latent_start=0.5: comes after latent_full=0.2"),
        ({"no_such_thing": 1}, "no_such_thing"),
    ],
)
def test_values_that_cannot_be_are_refused(overrides, words):
    with pytest.raises(ZooError, match=words):
        VAEGAN3D.from_data(None, "paper", **overrides)


@pytest.mark.parametrize("preset", ["paper", "no_invariance", "tiny"])
def test_every_weight_that_is_drawn_follows_the_seed(preset, small_search):
    if not PRESETS[preset]["pose_search"]:
        small_search = {k: v for k, v in small_search.items() if not k.startswith("search")}
    first, again, other = (create_model("vaegan3d", None, preset, seed, **small_search) for seed in (3, 3, 4))
    # What begins at chosen values, not only zeros or ones: a grid, amplitudes of shells, Gabor filters.
    chosen = ("grid", "log_amplitude", "log_wavelength", "log_sigma", "orientation", "phase")
    drawn = 0
    for one, same, another in zip(first.weights, again.weights, other.weights, strict=True):
        values, equal, others = _values([one, same, another])
        np.testing.assert_array_equal(values, equal)
        if values.std() == 0 or one.path.endswith(chosen):
            np.testing.assert_array_equal(values, others)
        else:
            drawn += 1
            assert (values != others).mean() > 0.99, one.path
    assert drawn >= 20
    assert first.get_config()["seed"] == 3


def test_camera_crowding_tells_collapsed_from_spread_views(small):
    from zoo.ops.rotations import uniform_rotations

    model = VAEGAN3D.from_data(None, "trainable_camera", **small)
    spread = uniform_rotations(np.random.default_rng(0).normal(size=(64, 6)).astype("float32"))
    same = np.tile(np.eye(3, dtype="float32"), (64, 1, 1))
    assert float(model._camera_crowding(same)) == pytest.approx(0.0, abs=1e-5)
    assert float(model._camera_crowding(spread)) < -1.5
