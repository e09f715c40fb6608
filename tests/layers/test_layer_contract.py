"""What every layer promises: saved and loaded in a functional model, shapes told, gradients finite."""

import keras
import numpy as np
import pytest
from keras import ops

import zoo.layers as layers

RNG = np.random.default_rng(7)


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


CTF9 = np.tile(np.array([[1.2e4, 1.1e4, 30, 300, 2.7, 0.1, 20, 50, 1]], "float32"), (2, 1))
ROTATIONS = np.stack([np.eye(3), [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]]).astype("float32")

# name: (layer, inputs)
CASES = {
    "CyclicPadding2D": (lambda: layers.CyclicPadding2D((1, (2, 3))), [normal(2, 8, 6, 3)]),
    "CyclicPadding3D": (lambda: layers.CyclicPadding3D(2), [normal(2, 4, 6, 5, 2)]),
    "CyclicConv2D": (lambda: layers.CyclicConv2D(4, (3, 5), activation="relu"), [normal(2, 8, 6, 3)]),
    "CyclicConv2D strided": (lambda: layers.CyclicConv2D(4, 4, strides=2), [normal(2, 8, 6, 3)]),
    "CyclicConv2D dilated": (lambda: layers.CyclicConv2D(4, 3, dilation_rate=2), [normal(2, 8, 7, 3)]),
    "CyclicConv3D": (lambda: layers.CyclicConv3D(3, 3, use_bias=False), [normal(2, 4, 6, 5, 2)]),
    "AdaptivePolyphase2D": (lambda: layers.AdaptivePolyphase2D(blur=True), [normal(2, 8, 6, 3)]),
    "AdaptivePolyphase3D": (lambda: layers.AdaptivePolyphase3D(), [normal(2, 4, 6, 8, 3)]),
    "UpConv3D": (lambda: layers.UpConv3D(4, activation="relu"), [normal(2, 3, 4, 5, 2)]),
    "InvariantGlobalPooling2D": (lambda: layers.InvariantGlobalPooling2D(), [normal(2, 8, 6, 3)]),
    "InvariantGlobalPooling3D": (lambda: layers.InvariantGlobalPooling3D(), [normal(2, 4, 6, 8, 3)]),
    "CanonicalShift2D": (lambda: layers.CanonicalShift2D(), [normal(2, 8, 6, 3)]),
    "GaborBank": (lambda: layers.GaborBank(6, 7, normalise=False), [normal(2, 8, 6, 3)]),
    "MinibatchDiscrimination": (lambda: layers.MinibatchDiscrimination(3, 2), [normal(2, 5)]),
    "MinibatchDiscrimination group": (lambda: layers.MinibatchDiscrimination(3, 2, 2), [normal(4, 5)]),
    "PolarWarp": (lambda: layers.PolarWarp(5, 12, log=True), [normal(2, 8, 6, 3)]),
    "SineDense": (lambda: layers.SineDense(7, "first", omega=25.0), [normal(2, 5, 3)]),
    "SineDense film": (
        lambda: layers.SineDense(7, bound=1 / 128),
        [normal(2, 5, 3), normal(2, 7), normal(2, 1)],
    ),
    "FiLMMapping": (lambda: layers.FiLMMapping(9, hidden=(8, 8)), [normal(2, 10)]),
    "CoordinateGrid": (lambda: layers.CoordinateGrid(6), [ROTATIONS]),
    "FourierSlice": (lambda: layers.FourierSlice(), [normal(2, 6, 6, 6, 1), ROTATIONS]),
    "FourierSlice transform": (lambda: layers.FourierSlice("transform"), [normal(2, 6, 6, 6, 2), ROTATIONS]),
    "FastRotationalMatching": (
        lambda: layers.FastRotationalMatching(candidates=3, step_deg=40.0, search_radius=3),
        [normal(2, 12, 12, 12, 1), np.ones((2, 12, 12, 12), "float32"), normal(1, 1, 12, 12, 12)],
    ),
    "FastRotationalMatching magnitude": (
        lambda: layers.FastRotationalMatching("magnitude", candidates=2, bandwidth=6, search_radius=3),
        [normal(2, 12, 12, 12, 1), np.ones((2, 12, 12, 12), "float32"), normal(1, 2, 12, 12, 12)],
    ),
    "VolumeAssembly": (lambda: layers.VolumeAssembly(mask=False), [normal(2, 6, 6, 6, 2)]),
    "ImageAssembly": (lambda: layers.ImageAssembly(), [normal(2, 6, 6, 2)]),
    "Rotation6D": (lambda: layers.Rotation6D(), [normal(2, 6)]),
    "UniformCamera": (lambda: layers.UniformCamera(), [normal(2, 4)]),
    "TrainedCamera": (lambda: layers.TrainedCamera(16, 1), [normal(2, 64)]),
    "CTFApply": (lambda: layers.CTFApply(), [normal(2, 6, 6, 2), CTF9, np.array([2.0, 3.0], "float32")]),
    "CTFApply image": (
        lambda: layers.CTFApply("image"),
        [normal(2, 6, 6, 1), CTF9, np.array([[2.0], [3.0]], "float32")],
    ),
    "ScalableNoise": (
        lambda: layers.ScalableNoise(24, "poisson", filters=4),
        [normal(2, 24, 24, 1), normal(2, 10), normal(2, 24, 24, 1)],
    ),
    "GaussianReparameterisation": (
        lambda: layers.GaussianReparameterisation(),
        [normal(2, 5), normal(2, 5), normal(2, 5)],
    ),
}


def functional(layer, arrays):
    inputs = [keras.Input(array.shape[1:]) for array in arrays]
    outputs = layer(*inputs)
    return keras.Model(inputs, list(outputs) if isinstance(outputs, tuple) else outputs)


def uneven(shape):
    return np.cos(np.arange(np.prod(shape)) ** 1.1).reshape(shape).astype("float32")


def as_list(values):
    return list(values) if isinstance(values, (list, tuple)) else [values]


def test_every_layer_has_a_case():
    assert {name.split()[0] for name in CASES} == set(layers.__all__)


@pytest.mark.parametrize("name", CASES)
def test_saved_model_loads_and_gives_equal_values(name, tmp_path):
    make, arrays = CASES[name]
    model = functional(make(), arrays)
    # Weights that differ from a fresh layer's: a load that forgot them would be seen.
    for weight in model.trainable_weights:
        weight.assign(weight + 0.05 * RNG.normal(size=weight.shape).astype("float32"))
    before = [ops.convert_to_numpy(x) for x in as_list(model(arrays))]
    model.save(tmp_path / "m.keras")
    # Loaded without custom_objects: registration alone has to do.
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    after = [ops.convert_to_numpy(x) for x in as_list(loaded(arrays))]
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)
    assert loaded.layers[-1].get_config() == model.layers[-1].get_config()
    assert type(loaded.layers[-1]).__module__.startswith("zoo.layers")


@pytest.mark.parametrize("name", CASES)
def test_told_shape_is_the_shape(name):
    make, arrays = CASES[name]
    layer = make()
    told = layer.compute_output_shape(*(array.shape for array in arrays))
    told = told if isinstance(told[0], tuple) else [told]
    results = as_list(layer(*arrays))
    assert [tuple(shape) for shape in told] == [tuple(result.shape) for result in results]
    symbolic = functional(make(), arrays)
    for output, result in zip(symbolic.outputs, results, strict=True):
        assert tuple(output.shape[1:]) == tuple(result.shape[1:])


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_finite_and_reach_inputs_and_weights(name, gradients):
    make, arrays = CASES[name]
    model = functional(make(), arrays)

    for weight in model.trainable_weights:  # a layer that starts at 0 hides those before it
        weight.assign(weight + 0.05 * RNG.normal(size=weight.shape).astype("float32"))

    def loss(*inputs):  # uneven weights: a sum of squares of a rotation would be constant
        outputs = as_list(model(list(inputs)))
        return sum(ops.sum(x * uneven(x.shape)) for x in outputs)

    for_inputs, for_weights = gradients(loss, arrays, model)
    for gradient in (*for_inputs, *for_weights):
        assert np.isfinite(gradient).all()
    for weight, gradient in zip(model.trainable_weights, for_weights, strict=True):
        assert np.abs(gradient).max() > 0.0, weight.path
    assert np.abs(for_inputs[0]).max() > 0.0


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_finite_at_zero_input(name, gradients):
    make, arrays = CASES[name]
    model = functional(make(), arrays)

    def loss(*inputs):
        return sum(ops.sum(ops.abs(x - 0.3)) for x in as_list(model(list(inputs))))

    for_inputs, for_weights = gradients(loss, [np.zeros_like(array) for array in arrays], model)
    if name.startswith("CTFApply"):  # 0 kV and 0 Å/pixel are no microscope
        for_inputs, _ = gradients(loss, [np.zeros_like(arrays[0]), *arrays[1:]], model)
    for gradient in (*for_inputs, *for_weights):
        assert np.isfinite(gradient).all()
