"""Segmentation: Mvoxel/s of ``zoo-infer segment``'s windows, and edss3d per cube against plain Keras layers.

In one process, in turn: the whole path of a tomogram (read, scale, windows, model, probabilities and classes
written), the network alone on one window, and cubes of 32³ through edss3d and through a plain Keras model of
the same layers, which are also trained for a step: ours by the engine of ``zoo-train``, the other by Keras'
``train_on_batch``. The best time of each counts, and its CPU time. Published for a GTX 1080 (Zeng et al.
2018): 13 ms a cube and epoch to train the autoencoder, 1.2 ms to encode one (`mining.py` has both), 11 ms
to segment one. With TF_NUM_INTRAOP_THREADS=1 each operation keeps to one core.

    python benchmarks/segmentation.py --preset tiny
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
from keras import layers

import zoo
from zoo.analysis.segmentation.segment import SegmentSettings, open_grey, segment
from zoo.data.formats.mrc import write_volume
from zoo.data.formats.tomogram_blocks import TomogramBlocks
from zoo.engines.choose import get_engine
from zoo.models.supervised import HELD_BACK, Supervision
from zoo.serving.open_model import RunModel, compiled

VOXEL, CLASSES, CUBES = 14.2, 4, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--side", type=int, default=144, help="voxels of the tomogram")
    parser.add_argument("--window", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    model = zoo.create_model("edss3d", preset=options.preset, seed=0, classes=CLASSES)
    facts = {"normalisation": "tomogram", "contrast_sign": 1}
    opened = RunModel(model, "run", facts)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tomogram.mrc"
        write_volume(path, rng.normal(size=(options.side,) * 3), VOXEL)
        window = rng.normal(size=(1, *(options.window,) * 3, 1)).astype(np.float32)
        cubes = rng.normal(size=(CUBES, 32, 32, 32, 1)).astype(np.float32)
        peer = plain(model.learning)
        same = compiled(peer)
        labels = rng.integers(0, CLASSES, cubes.shape[:-1]).astype(np.int32)
        learned = zoo.create_model("edss3d", preset=options.preset, seed=0, classes=CLASSES, flips=False)
        learned.compile()
        learner = Supervision(learned, learned.target, learned.learning)
        engine = get_engine(learner, seed=0, global_batch=CUBES)
        batch = {"volume": cubes, learned.target: labels, HELD_BACK: np.zeros(CUBES, np.float32)}
        student = plain(model.learning, None)
        student.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        work = {
            "tomogram": lambda: whole(opened, path, Path(folder) / "out", options.window),
            "window": lambda: opened.apply("segment", {"volume": window}),
            "cubes": lambda: opened.apply("segment", {"volume": cubes}),
            "cubes, plain Keras": lambda: same(cubes),
            "step": lambda: float(engine.step(batch)["loss"]),
            "step, plain Keras": lambda: student.train_on_batch(cubes, labels),
        }
        best = {name: (float("inf"), float("inf")) for name in work}
        for _ in range(options.rounds + 1):  # the first one compiles
            for name, each in work.items():
                started, cpu = time.perf_counter(), time.process_time()
                each()
                spent = time.perf_counter() - started, time.process_time() - cpu
                best[name] = tuple(map(min, best[name], spent))
    for name, voxels in (("tomogram", options.side**3), ("window", options.window**3)):
        seconds, cpu = best[name]
        print(
            f"{name}: {voxels / seconds / 1e6:.3f} Mvoxel/s, {voxels / cpu / 1e6:.3f} per second of CPU time"
        )
    for name, words in (("cubes", "segmented"), ("step", "trained on (flips off)")):
        ours, theirs = np.array(best[name]), np.array(best[f"{name}, plain Keras"])
        wall, cpu = 1e3 * ours / CUBES
        print(
            f"cubes of 32³ {words}: {wall:.1f} ms each, {cpu:.1f} ms of CPU time; "
            f"ratio (plain Keras / edss3d) {theirs[0] / ours[0]:.2f}, {theirs[1] / ours[1]:.2f} in CPU time"
        )


def whole(opened, path: Path, out: Path, window: int) -> None:
    """The path of a tomogram from file to files."""
    out.mkdir(exist_ok=True)
    settings = SegmentSettings(window)
    grey, voxel = open_grey(TomogramBlocks(path), opened, settings, lambda line: None)
    segment(out, opened, grey, voxel, settings)


def plain(s, last: str | None = "softmax") -> keras.Model:
    """The same layers, written down as anybody would; s.levels is 2."""

    def conv(filters, activation="relu"):
        return layers.Conv3D(filters, 3, padding="same", activation=activation)

    volume = keras.Input((32, 32, 32, 1))
    first = conv(s.filters)(volume)
    second = conv(s.filters)(layers.MaxPooling3D(2)(first))
    x = layers.UpSampling3D(2)(conv(s.filters)(layers.MaxPooling3D(2)(second)))
    x = layers.UpSampling3D(2)(conv(s.filters)(layers.Concatenate()([x, second]) if s.skips else x))
    x = conv(s.filters)(layers.Concatenate()([x, first]) if s.skips else x)
    return keras.Model(volume, conv(CLASSES, last)(x))


if __name__ == "__main__":
    main()
