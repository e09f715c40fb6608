"""Reading: images per second in shuffled float32 batches, against cryoDRGN's loader and plain np.memmap.

All read the same images from disk (after a first round in the page cache), and the clock starts at
the first batch, which leaves out building the pipeline. cryoDRGN is measured four
ways: its loader as its training uses it (window and Hartley transform included) lazily, with its
shuffler, and with the stack in memory; and its bare image source without any transform.

    python benchmarks/reading.py --peer-python /path/to/venv/with/cryodrgn/bin/python
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from zoo.data.formats.mrc import HEADER_BYTES, StackWriter
from zoo.data.packing.pack_particles import pack_particles
from zoo.data.packing.shards import PackSettings
from zoo.data.records.numpy_particles import load_arrays, numpy_batches
from zoo.data.records.particle_pipeline import particle_batches

PEER = """
import json, logging, sys, time
logging.disable(logging.CRITICAL)
import torch
from cryodrgn.dataset import ImageDataset, make_dataloader

path, batch, count, rounds = sys.argv[1], *map(int, sys.argv[2:5])
lazy, eager = ImageDataset(path, lazy=True), ImageDataset(path, lazy=False)

def bare():
    order = torch.randperm(count)
    for start in range(0, count, batch):
        yield lazy.src.images(order[start : start + batch])

ways = {
    "loader, lazy": lambda: make_dataloader(lazy, batch_size=batch, shuffle=True),
    "loader, lazy with shuffler": lambda: make_dataloader(lazy, batch_size=batch, shuffler_size=4096),
    "loader, stack in memory": lambda: make_dataloader(eager, batch_size=batch, shuffle=True),
    "bare images, lazy": bare,
}
rates = {}
for name, make in ways.items():
    rates[name] = 0.0
    for _ in range(rounds):
        batches, images = iter(make()), 0
        next(batches)
        started = time.perf_counter()
        for item in batches:
            images += len(item["y"] if isinstance(item, dict) else item)
            if time.perf_counter() - started > 10:
                break
        rates[name] = max(rates[name], images / (time.perf_counter() - started))
print(json.dumps(rates))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--peer-python", default=os.environ.get("ZOO_PEER_PYTHON"), help="Python with cryodrgn"
    )
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--box", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stack = folder / "particles.mrcs"
        write_noise(stack, options.count, options.box)
        info = pack_particles(stack, folder / "packed", PackSettings(box=options.box)).info
        arrays = load_arrays(info)
        ours = {
            "zoo particle_batches": best_rate(
                lambda: particle_batches(info, options.batch_size, 0).as_numpy_iterator(), options
            ),
            "zoo numpy_batches (in memory)": best_rate(
                lambda: numpy_batches(info, options.batch_size, 0, arrays=arrays), options
            ),
        }
        memmap = best_rate(lambda: memmap_batches(stack, options), options)
        peer = run_peer(stack, options) if options.peer_python else {}
    for program, rate in {
        **ours,
        "np.memmap": memmap,
        **{f"cryoDRGN {k}": v for k, v in peer.items()},
    }.items():
        print(f"{program:38s} {rate:9.0f} images/s")
    rate = ours["zoo particle_batches"]
    print(f"share {rate / memmap:.2f} (zoo particle_batches / np.memmap of shuffled rows)")
    for program, other in peer.items():
        print(f"ratio {rate / other:.2f} (zoo particle_batches / cryoDRGN {program})")
    if not peer:
        print("no ratio: give --peer-python (or ZOO_PEER_PYTHON), a Python that has cryodrgn")


def best_rate(make, options: argparse.Namespace) -> float:
    """Images per second of the best round of one epoch; the clock starts at the first batch."""
    best = 0.0
    for _ in range(options.rounds):
        batches, images = iter(make()), 0
        next(batches)
        started = time.perf_counter()
        for batch in batches:
            images += len(batch["image"])
            if images >= options.count - options.batch_size:
                break
        best = max(best, images / (time.perf_counter() - started))
    return best


def memmap_batches(stack: Path, options: argparse.Namespace):
    """Shuffled rows of the stack gathered with NumPy: what a person would write by hand."""
    shape = (options.count, options.box, options.box)
    images = np.memmap(stack, np.float32, "r", HEADER_BYTES, shape)
    order = np.random.default_rng(0).permutation(options.count)
    for start in range(0, options.count, options.batch_size):
        yield {"image": images[order[start : start + options.batch_size]]}


def run_peer(stack: Path, options: argparse.Namespace) -> dict[str, float]:
    numbers = map(str, (options.batch_size, options.count, options.rounds))
    command = [options.peer_python, "-c", PEER, str(stack), *numbers]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def write_noise(path: Path, count: int, box: int) -> None:
    rng = np.random.default_rng(0)
    with StackWriter(path, box, 1.0) as writer:
        for start in range(0, count, 1000):
            writer.write(rng.standard_normal((min(1000, count - start), box, box), dtype=np.float32))


if __name__ == "__main__":
    main()
