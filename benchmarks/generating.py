"""Generated maps: samples a second of `zoo.analysis.pseudo_maps`, beside Keras' own `predict` of the network.

Both run the same generator, freshly made (its weights do not change the time), in batches of one size, after
one batch for warming up. The ratio is predict's time over ours. Published: 10,000 maps of 64³ in 20 s on a
GTX 1080 Ti (Wang et al. 2018, section 3.1).

    python benchmarks/generating.py [--presets tiny paper] [--count 512] [--batch 16] [--repeats 3]
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

import zoo
from zoo.analysis.pseudo_maps import draw_latents, generated_maps
from zoo.serving.open_model import RunModel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presets", nargs="+", default=["tiny", "paper"])
    parser.add_argument("--count", type=int, default=512)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print("preset   box   maps/s (wall)   maps/s (CPU)   predict maps/s (wall)   ratio")
    for preset in options.presets:
        model = zoo.create_model("wgan3d", preset=preset)
        opened = RunModel(model, preset)
        latents = draw_latents(options.count, model.latent_dim, 0)
        ways = {
            "ours": lambda z, opened=opened: sum(1 for _ in generated_maps(opened, z, options.batch)),
            "predict": lambda z, model=model: len(
                model.generator_average.predict(z, batch_size=options.batch, verbose=0)
            ),
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for way in ways.values():
            way(latents[: options.batch])
        for _ in range(options.repeats):  # in turn: both see the same machine
            for name, way in ways.items():
                wall, cpu = time.perf_counter(), time.process_time()
                assert way(latents) == options.count
                times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
        wall, cpu = (statistics.median(column) for column in np.array(times["ours"]).T.tolist())
        theirs = statistics.median(each for each, _ in times["predict"])
        count = options.count
        print(
            f"{preset:6s} {model.box:5d} {count / wall:15.1f} {count / cpu:14.1f} {count / theirs:23.1f} "
            f"{theirs / wall:7.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
