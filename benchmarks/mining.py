"""Mining: training and encoding of `autoencoder3d` per cube against the plain Keras functional model of its
layers.

In one process, in turn, with the same cubes and the paper's hyperparameters: the peer has `UpSampling3D` and
`Conv3D`, the L1 norm as activity regulariser of its code, and Keras' own ``train_on_batch`` and
``predict_on_batch``; ours is the engine of ``zoo-train`` with its held-back records, and the endpoint
``encode``. The best time of each counts.

    python benchmarks/mining.py
"""

from __future__ import annotations

import argparse
import time

import keras
import numpy as np
from keras import layers

import zoo
from zoo.engines.choose import get_engine
from zoo.models.supervised import HELD_BACK, Supervision
from zoo.serving.open_model import RunModel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--box", type=int, default=32, help="voxels")
    parser.add_argument("--filters", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cubes = np.random.default_rng(0).normal(size=(options.batch, *(options.box,) * 3, 1)).astype(np.float32)
    given = {"box": options.box, "filters": options.filters}
    model = zoo.create_model("autoencoder3d", preset="paper", seed=0, **given)
    model.compile()
    engine = get_engine(Supervision(model, "volume", model.learning), seed=0, global_batch=options.batch)
    batch = {"volume": cubes, HELD_BACK: np.zeros(options.batch, np.float32)}
    ours = RunModel(model)
    peer, encoder = functional(options.box, options.filters)
    contenders = {
        "train": (lambda: engine.step(batch), lambda: peer.train_on_batch(cubes, cubes)),
        "encode": (lambda: ours.apply("encode", {"volume": cubes}), lambda: encoder.predict_on_batch(cubes)),
    }
    for name, pair in contenders.items():
        best = [[np.inf, np.inf], [np.inf, np.inf]]
        for number in range(options.rounds + 1):  # the first compiles
            for row, work in enumerate(pair):
                started, cpu = time.perf_counter(), time.process_time()
                found = work()
                np.asarray(next(iter(found.values())) if isinstance(found, dict) else found)  # waits
                spent = time.perf_counter() - started, time.process_time() - cpu
                best[row] = (
                    [min(known, new) for known, new in zip(best[row], spent, strict=True)]
                    if number
                    else best[row]
                )
        ms = 1000 * np.array(best) / options.batch
        print(
            f"{name}: zoo {ms[0, 0]:.2f} ms ({ms[0, 1]:.2f} of CPU time) for a cube of {options.box}³, "
            "plain Keras "
            f"{ms[1, 0]:.2f} ({ms[1, 1]:.2f}): ratio {ms[1, 0] / ms[0, 0]:.2f}, {ms[1, 1] / ms[0, 1]:.2f} "
            "in CPU time"
        )


def functional(box: int, filters: int) -> tuple[keras.Model, keras.Model]:
    """The layers of the paper's figure 2a, compiled as in its section 3.2, and its encoder."""

    def conv(count: int, activation: str | None = "relu") -> layers.Layer:
        return layers.Conv3D(count, 3, padding="same", activation=activation)

    cube = keras.Input((box, box, box, 1))
    x = layers.MaxPooling3D(2)(conv(filters)(cube))
    x = layers.Flatten()(layers.MaxPooling3D(2)(conv(filters)(x)))
    code = layers.Dense(32, "relu", activity_regularizer=keras.regularizers.L1(1e-4))(x)
    x = layers.Dense((box // 4) ** 3 * filters, "relu")(code)
    x = layers.Reshape((box // 4,) * 3 + (filters,))(x)
    for _ in range(2):
        x = conv(filters)(layers.UpSampling3D(2)(x))
    peer = keras.Model(cube, conv(1, None)(x))
    peer.compile(keras.optimizers.Adam(1e-3, 0.9, 0.99), "mse")
    return peer, keras.Model(cube, code)


if __name__ == "__main__":
    main()
