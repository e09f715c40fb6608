"""wgan3d: the paper's sizes, turns by (seed, step), a penalty for each map, what is said of samples."""

import keras
import numpy as np
import pytest

import zoo
from zoo.errors import ZooError
from zoo.models.gradient_model import gradient_penalty

SMALL = {
    "box": 16,
    "voxel_size_angstrom": 20.0,
    "filters": (4, 8),
    "latent_dim": 6,
    "discrimination_kernels": 3,
    "critic_steps": 2,
    "batch_size": 4,
}


def make(seed=0, **more):
    model = zoo.create_model("wgan3d", preset="tiny", seed=seed, **{**SMALL, **more})
    model.compile()
    return model


def batch(count=4, box=16):
    """Balls and rods, off the centre."""
    axis = np.arange(box) - box // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    ball, rod = (x - 2) ** 2 + y**2 + z**2 < 9, (np.hypot(x, y) < 2) & (np.abs(z) < 6)
    maps = np.stack([(7.0 * (ball, rod)[i % 2]) for i in range(count)])
    return {"map": maps[..., None].astype("float32"), "name_index": np.arange(count, dtype="int32")}


def test_the_paper_is_what_the_paper_says():
    model = zoo.create_model("wgan3d", preset="paper")
    # The sizes that the authors' public code has: 4.41 and 6.97 million.
    assert model.generator.count_params() == pytest.approx(4.41e6, rel=0.005)
    assert model.critic.count_params() == pytest.approx(6.97e6, rel=0.005)
    s = model.settings
    assert (s.latent_dim, s.box, s.voxel_size_angstrom, s.turns) == (100, 64, 6.0, 600)
    assert (s.critic_steps, s.batch_size, s.gradient_penalty) == (10, 64, 10.0)
    assert (s.learning_rate, s.beta_1, s.beta_2, s.average_decay) == (1e-4, 0.5, 0.99, 0.0)
    assert model.players == ("critic",) * 10 + ("generator",)
    assert model.generator_average is model.generator
    names = [layer.name for layer in model.critic_features.layers]
    assert not any("norm" in name for name in names) and model.critic_features.output_shape[-1] == 16_384
    kernels = [v for v in model.trainable_variables if v.path.endswith("kernel")]
    assert all(0.015 < float(keras.ops.std(v)) < 0.025 for v in kernels)


def test_the_penalty_has_one_norm_for_each_map():
    """Of a linear critic with weights w the norm is |w| everywhere; of 3 c·x² it is 6 |c x̂|."""
    import tensorflow as tf

    from zoo.engines.tensorflow_engine import input_gradient

    rng = np.random.default_rng(0)
    real, fake = (rng.normal(size=(5, 2, 2, 2, 1)).astype("float32") for _ in range(2))
    mix = rng.uniform(size=(5, 1)).astype("float32")
    weight = rng.normal(size=(2, 2, 2, 1)).astype("float32")
    found = gradient_penalty(
        lambda x: tf.reduce_sum(x * weight, axis=(1, 2, 3)), real, fake, mix, input_gradient
    )
    assert float(found) == pytest.approx((np.linalg.norm(weight) - 1) ** 2, rel=1e-5)
    found = gradient_penalty(
        lambda x: 3.0 * tf.reduce_sum(x * x * weight, axis=(1, 2, 3)), real, fake, mix, input_gradient
    )
    between = mix[:, :, None, None, None] * real + (1 - mix[:, :, None, None, None]) * fake
    norms = np.linalg.norm((6 * between * weight).reshape(5, -1), axis=1)
    assert float(found) == pytest.approx(((norms - 1) ** 2).mean(), rel=1e-5)
    # One norm over the whole batch, as in the authors' code, would be another number.
    assert float(found) != pytest.approx((np.linalg.norm(norms) - 1) ** 2, rel=0.1)


def test_each_update_of_a_step_has_numbers_of_its_own():
    model = make(critic_steps=3)
    specs = model.draw_specs()
    draws = {name: np.random.default_rng(0).normal(size=(4, *spec.shape)) for name, spec in specs.items()}
    seen = [model.draws_for(position, draws) for position in range(4)]
    latents = np.stack([each["z"] for each in seen])
    assert latents.shape == (4, 4, 6) and len(np.unique(latents)) == latents.size
    assert len({each["turn"].tobytes() for each in seen[:3]}) == 3 and seen[0]["mix"].shape == (4, 1)


def test_turns_are_new_by_default_and_fixed_in_number_where_asked():
    free, fixed = make(), make(turns=3)
    one = {name: np.repeat(value[1:2], 4, axis=0) for name, value in batch().items()}
    rng = np.random.default_rng(0)
    turned = keras.ops.convert_to_numpy(free.turned(one, rng.normal(size=(4, 4)).astype("float32")))
    assert np.ptp(turned, axis=0).max() > 0.5 and 0.7 < turned.max() <= 1.0 + 1e-5
    picks = np.linspace(0, 0.999, 30).astype("float32")[:, None]
    many = {name: np.repeat(value[1:2], 30, axis=0) for name, value in batch().items()}
    found = keras.ops.convert_to_numpy(fixed.turned(many, picks)).reshape(30, -1)
    assert len(np.unique(found.round(4), axis=0)) == 3
    again = keras.ops.convert_to_numpy(make(turns=3).turned(many, picks)).reshape(30, -1)
    np.testing.assert_array_equal(found, again)
    # Of another map the same numbers are other turns.
    other = {**many, "name_index": many["name_index"] + 1}
    assert np.abs(keras.ops.convert_to_numpy(fixed.turned(other, picks)).reshape(30, -1) - found).max() > 0.1


def test_the_unit_of_the_maps_does_not_matter():
    model, turn = make(), np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
    one, other = batch(), batch()
    other["map"] = other["map"] * np.float32(37)
    np.testing.assert_allclose(model.turned(one, turn), model.turned(other, turn), atol=1e-5)
    np.testing.assert_allclose(model.features(one)["features"], model.features(other)["features"], atol=1e-5)


def test_the_critic_learns_to_tell_real_from_generated():
    from zoo.engines.choose import get_engine

    model = make(learning_rate=2e-3, critic_steps=4)
    engine = get_engine(model, seed=1, global_batch=4, examples=4)
    logs = [{k: float(v) for k, v in engine.step(batch()).items()} for _ in range(12)]
    assert logs[-1]["wasserstein"] > logs[0]["wasserstein"] + 0.5
    assert set(logs[0]) == {"wasserstein", "penalty", "generator"}
    average, trained = (getattr(model, name).weights for name in ("generator_average", "generator"))
    gaps = [float(keras.ops.max(keras.ops.abs(a - b))) for a, b in zip(average, trained, strict=True)]
    assert all(np.isfinite(gaps)) and max(gaps) > 0


def test_a_collapse_is_said_once():
    model = make()
    # A generator that makes one map of every latent.
    model.generator_average.layers[0].kernel.assign(0 * model.generator_average.layers[0].kernel)
    model.generator_average.get_layer("norm_0").beta.assign(np.linspace(-1, 1, 8).astype("float32"))
    shown = model.preview(batch())
    assert shown["correlation_samples"].value == pytest.approx(1.0, abs=1e-4)
    assert shown["coverage"].value == pytest.approx(0.25)
    (line,) = model.notices()
    assert line.startswith("the generator has collapsed: its samples correlate 1.00") and "\n" not in line
    assert model.notices() == []
    model._collapse = ""
    assert model.notices() == ["the generator makes maps that differ again"]
    found = model.results([batch()], None)
    assert len(found.lines) == 3 and "has collapsed" in found.lines[-1]
    assert len(found.maps) == 8 and set(found.measures["sample_00"]) == {"volume_nm3", "pieces"}


def test_values_that_do_not_fit_are_one_line():
    for values, words in (
        ({"box": 40, "filters": (4, 4, 4, 4)}, "box=40 cannot be halved 4 times"),
        ({"box": 8, "filters": (4, 4, 4)}, "multiple of 16"),
        ({"batch_size": 6, "discrimination_group": 4}, "discrimination_group=4: batch_size=6"),
    ):
        with pytest.raises(ZooError, match=words) as caught:
            make(**values)
        assert "\n" not in str(caught.value)
