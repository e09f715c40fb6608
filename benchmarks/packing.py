"""Packing: images per second of zoo-pack against ``cryodrgn downsample`` on the same stack and box.

zoo-pack does more: it shuffles, normalises, measures the contrast and writes checksums. Both are run
as programs, one after the other in turn, and the best time of each counts.

    python benchmarks/packing.py --peer-python /path/to/venv/with/cryodrgn/bin/python
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from zoo.data.formats.mrc import StackWriter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--peer-python", default=os.environ.get("ZOO_PEER_PYTHON"), help="Python with cryodrgn"
    )
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--source-box", type=int, default=256)
    parser.add_argument("--box", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stack = folder / "particles.mrcs"
        write_noise(stack, options.count, options.source_box)
        commands = {"zoo-pack": zoo_command(stack, folder / "packed", options.box)}
        if options.peer_python:
            commands["cryodrgn downsample"] = peer_command(options, stack, folder / "small.mrcs")
        best = dict.fromkeys(commands, float("inf"))
        for _ in range(options.rounds):
            for program, command in commands.items():
                shutil.rmtree(folder / "packed", ignore_errors=True)
                started = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True)
                best[program] = min(best[program], time.perf_counter() - started)
    for program, seconds in best.items():
        rate = options.count / seconds
        print(f"{program:22s} {rate:8.0f} images/s  ({options.source_box} → {options.box} pixels)")
    if options.peer_python:
        print(f"ratio {best['cryodrgn downsample'] / best['zoo-pack']:.2f} (zoo-pack / cryodrgn downsample)")
    else:
        print("no ratio: give --peer-python (or ZOO_PEER_PYTHON), a Python that has cryodrgn")


def zoo_command(stack: Path, out: Path, box: int) -> list[str]:
    code = "from zoo_tools.pack import main; main()"
    return [sys.executable, "-c", code, str(stack), str(out), "--box", str(box)]


def peer_command(options: argparse.Namespace, stack: Path, out: Path) -> list[str]:
    program = Path(options.peer_python).parent / "cryodrgn"
    return [str(program), "downsample", str(stack), "-D", str(options.box), "-o", str(out)]


def write_noise(path: Path, count: int, box: int) -> None:
    rng = np.random.default_rng(0)
    with StackWriter(path, box, 1.0) as writer:
        for start in range(0, count, 100):
            writer.write(rng.standard_normal((min(100, count - start), box, box), dtype=np.float32))


if __name__ == "__main__":
    main()
