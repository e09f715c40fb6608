"""Two steps of a registered model on one device, on two, or on JAX; its state as ``.npz``.

``python engine_states.py NAME DATA STRATEGY OUT``; two processors are pretended for ``mirrored``.
"""

import sys

import numpy as np


def main(name: str, data: str, strategy: str, out: str) -> None:
    """Train the smallest form of ``name`` and write the numbers that a checkpoint would hold."""
    import keras

    if strategy == "mirrored":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    from zoo.registry import get_entry, resolve_config
    from zoo.runs import inputs
    from zoo.training.devices import batches_for, pick_devices
    from zoo.training.learner import make_learner

    entry = get_entry(name)
    small = {key: value for key, value in entry.config.smallest.items() if key != "box"}
    # Adam divides a gradient by its own size: where it is zero but for rounding, the weight moves by a share
    # of the learning rate, whatever the rounding was.
    rates = {key: 1e-4 for key in entry.config.settings() if key.endswith("learning_rate")}
    opened = inputs.open_inputs({role: data for role in entry.takes}, entry.takes, None, name)
    config = {
        "model": name,
        "preset": entry.default_preset,
        "seed": 3,
        "batch_size": 8,
        "hyperparameters": {**resolve_config(name), "box": opened.first.box, **small, **rates},
    }
    for fact in ("voxel_size_angstrom", "count"):
        if fact in config["hyperparameters"]:
            config["hyperparameters"][fact] = getattr(opened.first, fact)
    devices = pick_devices(strategy)
    learner = make_learner(config, opened, devices)
    more = {"held_back": learner.held_back, "with_index": learner.house.numbers_records}
    batches = batches_for(devices, opened.for_model, 8, 3, 0, **more)
    for _ in range(2):
        learner.engine.step(next(batches))
    state = [np.asarray(keras.ops.convert_to_numpy(v)) for _, v in learner.engine.variables()]
    names = [f"{i:04d} {v.path}" for i, (_, v) in enumerate(learner.engine.variables())]
    np.savez(out, **{key.replace("/", "|"): value for key, value in zip(names, state, strict=True)})


if __name__ == "__main__":
    main(*sys.argv[1:])
