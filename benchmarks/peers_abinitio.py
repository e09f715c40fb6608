"""Reconstruction from nothing by RELION on the particles of `abinitio.py`: NMI and FSC against time.

``relion_refine --sgd --denovo_3dref --K 3``, the initial model of RELION 3.1 with its default schedule of 300
iterations, reads the embedded particles (three states, 3,000 images each of 32 px, noise of --sigma), without
their poses and classes, on --threads threads and is stopped after --limit seconds. Each iteration that it has
written counts: NMI of its classes with the true states, of the particles that it has seen and of all, and FSC
0.5 of every map against the true map of most of its class's images, in the hand that fits better. Times are
from the start; CPU seconds are told at the end, as other work on the machine spoils wall time. With --ours
`abinitio3d` runs first, on as many threads.

    python benchmarks/peers_abinitio.py [--limit 1500] [--threads 1] [--every 10] [--keep FOLDER] [--ours]
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import starfile

from zoo.data.formats.mrc import read_volume
from zoo.data.particles import read_particles
from zoo.metrics.alignment import align_maps, mirror
from zoo.metrics.clustering import clustering_scores
from zoo.metrics.fsc import fsc, resolution_at
from zoo.simulate.embedded import EMBEDDED_EXTENT_ANGSTROM, embedded_dataset

STATES = 3
_TRUTH = ("rlnAngle", "rlnOrigin", "rlnClass", "rlnRandom", "zoo")
BOX = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=float, default=1500.0, help="seconds after which RELION is stopped")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--every", type=int, default=10, help="iterations between those that are judged")
    parser.add_argument("--sigma", type=float, default=1.0)
    parser.add_argument("--keep", type=Path, help="folder for RELION's files; left out: a temporary one")
    parser.add_argument("--ours", action="store_true", help="run abinitio3d first, on as many threads")
    options = parser.parse_args()
    data = embedded_dataset(BOX, 3000, options.sigma).parent / "particles"
    if options.ours:
        threads = {name: str(options.threads) for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}
        script = Path(__file__).with_name("abinitio.py")
        command = [sys.executable, script, "--sigma", f"{options.sigma:g}", "--seeds", "1"]
        subprocess.run(command, env={**os.environ, **threads}, check=True)
    with tempfile.TemporaryDirectory() as name:
        folder = options.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        hide_truth(data / "particles.star", folder / "hidden.star")
        started = run_relion(options, data, folder.resolve())
        judge(options, data, folder, started)


def hide_truth(path: Path, hidden: Path) -> None:
    """The particles without poses, classes, half sets and labels: RELION would begin from their origins."""
    blocks = starfile.read(path)
    columns = [name for name in blocks["particles"] if not name.startswith(_TRUTH)]
    starfile.write({**blocks, "particles": blocks["particles"][columns]}, hidden)


def run_relion(options, data: Path, folder: Path) -> float:
    """Run it until its end or the limit; returns the time of its start (that of files)."""
    command = (
        f"relion_refine --i {folder}/hidden.star --o {folder}/run --sgd --denovo_3dref --K {STATES} --ctf"
    )
    command += (
        " --sym C1 --flatten_solvent --zero_mask --norm --scale --dont_check_norm --pad 1 --oversampling 1"
    )
    command += f" --healpix_order 1 --offset_range 6 --offset_step 2 --j {options.threads} --random_seed 1"
    command += f" --particle_diameter {0.8 * EMBEDDED_EXTENT_ANGSTROM:.0f}"
    # 10 Å pixels: its defaults of 35 and 15 Å lie at and beyond what these images hold
    command += f" --sgd_ini_resol 60 --sgd_fin_resol 25 --sgd_write_iter {options.every}"
    print(command, flush=True)
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    process = subprocess.Popen(
        command.split(), cwd=data, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    stopped = False
    try:
        _, errors = process.communicate(timeout=options.limit)
    except subprocess.TimeoutExpired:
        stopped = True
        process.kill()
        _, errors = process.communicate()
    wall, after = time.time() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode and not stopped:
        raise SystemExit(f"relion_refine failed: {errors.strip()[-500:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"relion_refine: {wall:.0f} s wall, {cpu:.0f} s CPU" + (" when it was stopped" if stopped else ""))
    return started


def judge(options, data: Path, folder: Path, started: float) -> None:
    """A line for each iteration that was written."""
    table = read_particles(data / "particles.star")
    place = {_short(name): row for row, name in enumerate(table.image_names())}
    label = np.asarray(table.label, int)
    truth = [read_volume(data / "maps" / f"class_{k}.mrc")[0] for k in range(STATES)]
    for path in sorted(folder.glob("run_it*_data.star")):
        if path.name == "run_it000_data.star":
            continue
        found = starfile.read(path)["particles"]
        rows = np.array([place[_short(name)] for name in found["rlnImageName"]])
        classes = found["rlnClassNumber"].to_numpy(int)
        seen = classes > 0
        words = []
        counts = np.zeros((STATES, STATES), int)
        np.add.at(counts, (classes[seen] - 1, label[rows[seen]]), 1)
        maps = [read_volume(_map_of(path, k))[0] for k in range(STATES)]
        for k, volume in enumerate(maps):
            words.append(f"{finest(volume, truth[int(counts[k].argmax())]):.2f}")
        nmi = clustering_scores(label[rows[seen]], classes[seen])["nmi"] if seen.any() else 0.0
        every = clustering_scores(label[rows], classes)["nmi"]
        print(
            f"{path.name[4:9]}: {path.stat().st_mtime - started:6.0f} s, {seen.sum()} particles seen, "
            f"NMI {nmi:.3f} (of all {every:.3f}), FSC 0.5 at {' '.join(words)} px, images of each state by "
            f"class {counts.tolist()}",
            flush=True,
        )


def finest(volume, truth) -> float:
    """px of FSC 0.5 with the truth, in the hand that fits better."""
    laid = [align_maps(each, truth, allow_mirror=False) for each in (volume, mirror(volume))]
    best = max(laid, key=lambda each: each.correlation)
    return resolution_at(fsc(best.aligned, truth)).pixels


def _map_of(path: Path, k: int) -> Path:
    return path.with_name(path.name.replace("_data.star", f"_class{k + 1:03d}.mrc"))


def _short(name: str) -> str:
    number, stack = name.split("@")
    return f"{int(number):06d}@{Path(stack).name}"


if __name__ == "__main__":
    main()
