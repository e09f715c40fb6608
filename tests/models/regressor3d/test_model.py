"""regressor3d: the generator mirrored, a loss that is what it says, a generator that stays, latents found."""

import keras
import numpy as np
import pytest

import zoo
from zoo.engines.choose import get_engine

SMALL = {"box": 16, "voxel_size_angstrom": 20.0, "filters": (4, 8), "latent_dim": 3, "batch_size": 8}


def pair(seed=0, **more):
    generator = zoo.create_model("wgan3d", preset="tiny", seed=seed, **SMALL, critic_steps=1)
    # Latents that matter: a fresh generator makes nearly one map.
    for weight in generator.generator_average.weights:
        if "kernel" in weight.path:
            weight.assign(weight * 8)
    model = zoo.create_model("regressor3d", preset="tiny", seed=seed, **{**SMALL, **more})
    model.compile()
    assert model.start_from(generator) == ["the generator"]
    return generator, model


def maps_of(generator, count=8, seed=0):
    z = np.random.default_rng(seed).normal(size=(count, 3)).astype("float32")
    return z, keras.ops.convert_to_numpy(generator.generate(z))[..., None]


def test_the_paper_mirrors_the_generator():
    model = zoo.create_model("regressor3d", preset="paper")
    ours = [tuple(v.shape) for v in model.regressor.trainable_variables if v.path.endswith("kernel")]
    theirs = [tuple(v.shape) for v in model.generator.weights if v.path.endswith("kernel")]
    # A transposed convolution has its output channels first.
    assert ours == [(*shape[:3], *shape[3:]) if len(shape) == 5 else shape[::-1] for shape in theirs[::-1]]
    s = model.settings
    assert (s.latent_dim, s.batch_size, s.learning_rate, s.beta_1, s.beta_2) == (100, 64, 1e-4, 0.5, 0.99)
    assert s.latent_weight == 0 and s.first_phase().preset == "paper"


def test_the_loss_is_a_sum_of_squared_errors():
    generator, model = pair(latent_weight=0.5, sample_weight=2.0)
    z, samples = maps_of(generator)
    batch = {"map": maps_of(generator, seed=3)[1], "name_index": np.arange(8)}
    turn = np.tile(np.array([1, 0, 0, 0], "float32"), (8, 1))  # the identity
    loss, logs = model.player_loss("regressor", batch, {"z": z, "turn": turn}, None, 0)
    peak = batch["map"].max(axis=(1, 2, 3, 4), keepdims=True)
    both = np.concatenate([batch["map"] / peak, samples])
    latents = model.regressor(both, training=True)
    back = keras.ops.convert_to_numpy(model.generate(latents))
    error = ((both[..., 0] - back) ** 2).sum(axis=(1, 2, 3))
    of_latents = ((keras.ops.convert_to_numpy(latents)[8:] - z) ** 2).sum(axis=1).mean()
    assert float(logs["known_error"]) == pytest.approx(error[:8].mean(), rel=1e-3)
    assert float(logs["sample_error"]) == pytest.approx(error[8:].mean(), rel=1e-3)
    assert float(logs["latent_error"]) == pytest.approx(of_latents, rel=1e-3)
    wanted = error[:8].mean() + 2.0 * error[8:].mean() + 0.5 * of_latents
    assert float(loss) == pytest.approx(wanted, rel=1e-3)


def test_latents_are_found_again_and_the_generator_stays():
    generator, model = pair(learning_rate=5e-3, latent_weight=10.0, training_steps=60)
    before = [np.array(v) for v in model.generator.weights]
    engine = get_engine(model, seed=0, global_batch=8, examples=8)
    batch = {"map": maps_of(generator, seed=3)[1], "name_index": np.arange(8)}
    first = model._of_samples(32)["latents_recovered"]
    for _ in range(60):
        engine.step(batch)
    last = model._of_samples(32)["latents_recovered"]
    assert last > max(0.7, first), (first, last)
    for value, weight in zip(before, model.generator.weights, strict=True):
        np.testing.assert_array_equal(value, np.array(weight))
    found = model.results([batch], None)
    assert len(found.lines) == 2 and "known_00_back" in found.maps
    assert 0 < found.measures["known_00_back"]["correlation"] <= 1


def test_another_generator_is_refused():
    generator, _ = pair()
    other = zoo.create_model("regressor3d", preset="tiny", **{**SMALL, "latent_dim": 4})
    with pytest.raises(ValueError, match="its generator has latent_dim=3; give --set latent_dim=3"):
        other.start_from(generator)
    other = zoo.create_model("regressor3d", preset="tiny", **{**SMALL, "filters": (4, 6)})
    with pytest.raises(ValueError, match="filters=4,8; give --set filters=4,8"):
        other.start_from(generator)
    with pytest.raises(ValueError, match="is no wgan3d"):
        other.start_from(other)
