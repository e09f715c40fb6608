"""Run as a program: losses and gradients of every player for given weights, batch and random numbers.

``python backend_losses.py IN.npz OUT.npz PRESET``; the Keras backend is that of KERAS_BACKEND.
"""

import sys

import keras
import numpy as np

from zoo.engines.draws import Draw
from zoo.models.vaegan3d.model import VAEGAN3D

OVERRIDES = {
    "box": 16, "voxel_size_angstrom": 20.0, "siren_width": 16, "gabor_filters": 4, "gabor_kernel": 5,
    "filters": (4, 8), "encoder_filters": (4, 8), "noise_filters": 4, "batch_size": 4, "adversarial_batch": 0,
    "encoder_batch": 0, "search_codes": 2, "search_views": 12, "search_in_plane": 8, "search_rings": 4,
}  # fmt: skip


def numbers(specs: dict[str, Draw], count: int) -> dict[str, np.ndarray]:
    """Random numbers of one step, made by NumPy: equal for all backends."""
    rng = np.random.default_rng(1)
    out = {}
    for name, spec in specs.items():
        shape = (count, *spec.shape) if spec.per_example else spec.shape
        values = rng.normal(size=shape) if spec.kind == "normal" else rng.uniform(size=shape)
        out[name] = values.astype("float32")
    return out


def losses_and_gradients(model, batch, draws, step):
    """player → (loss, gradients) on the backend in use."""
    out = {}
    if keras.backend.backend() == "jax":
        import jax

        from zoo.engines.jax_engine import input_gradient_in

        shared = model.prepare(batch, draws, step)
        for player in dict.fromkeys(model.players):
            moved = model.player_variables(player)

            def loss_of(values, player=player, moved=moved):
                state = {id(v): (v, v.value) for v in model.variables}
                state.update({id(v): (v, value) for v, value in zip(moved, values, strict=True)})
                with keras.StatelessScope(state_mapping=list(state.values())) as scope:
                    gradient = input_gradient_in(scope, [variable for variable, _ in state.values()])
                    return model.player_loss(player, batch, {**draws, **shared}, gradient, step)[0]

            out[player] = jax.value_and_grad(loss_of)([v.value for v in moved])
        return out
    import tensorflow as tf

    from zoo.engines.tensorflow_engine import input_gradient

    shared = model.prepare(batch, draws, step)
    for player in dict.fromkeys(model.players):
        moved = model.player_variables(player)
        with tf.GradientTape() as tape:
            loss = model.player_loss(player, batch, {**draws, **shared}, input_gradient, step)[0]
        out[player] = loss, tape.gradient(loss, [v.value for v in moved], unconnected_gradients="zero")
    return out


def main(source: str, target: str, preset: str) -> None:
    """Read the batch (and weights, where given), write losses, gradients and weights."""
    given = dict(np.load(source))
    model = VAEGAN3D.from_data(None, preset, **OVERRIDES)
    weights = [given[f"weight_{i}"] for i in range(len(model.weights)) if f"weight_{i}" in given]
    if weights:
        for variable, value in zip(model.weights, weights, strict=True):
            variable.assign(value)
    batch = {
        name[6:]: keras.ops.convert_to_tensor(v) for name, v in given.items() if name.startswith("batch_")
    }
    draws = {k: keras.ops.convert_to_tensor(v) for k, v in numbers(model.draw_specs(), 4).items()}
    # Losses move batch statistics: keep what they were before.
    out = {f"weight_{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(model.weights)}
    # Past the fade-in of z: at z = 0 leaky ReLUs stand on their kink, where the backends choose other slopes.
    step = keras.ops.convert_to_tensor(3000, dtype="int32")
    for player, (loss, gradients) in losses_and_gradients(model, batch, draws, step).items():
        out[f"loss_{player}"] = keras.ops.convert_to_numpy(loss)
        flat = [keras.ops.convert_to_numpy(g).ravel() for g in gradients]
        out[f"gradient_{player}"] = np.concatenate(flat)
    np.savez(target, **out)


if __name__ == "__main__":
    main(*sys.argv[1:4])
