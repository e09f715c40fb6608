"""Subtomogram averaging: an iteration of `faml` against one of RELION on the same files.

20 simulated subtomograms (tilt series, CTF, noise; embedded structure or --structure) and one reference, the
truth filtered to --start-angstrom. RELION 3.1 searches 15° and ±5 pixels with --relion-iterations of
``relion_refine``, whose mean time counts; it is stopped after --relion-limit seconds, and then the ratio is a
lower bound. Ours is compiled first; the median of the iterations after it counts. CPU seconds of both are
printed beside the wall time, as other work on the machine spoils that. The correlation is with the truth,
after alignment.

    python benchmarks/averaging.py [--structure 1mnf.pdb.gz] [--box 32] [--relion-limit 1800] [--no-relion]
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from zoo.data.formats.mrc import read_volume, write_volume
from zoo.data.info import DatasetInfo
from zoo.data.packing.pack_subtomograms import OWN_BOX, pack_subtomograms
from zoo.data.packing.shards import PackSettings
from zoo.data.records.numpy_subtomograms import sequential_arrays
from zoo.metrics.alignment import align_maps
from zoo.simulate.classes import ClassMaps
from zoo.simulate.embedded import embedded_classes
from zoo.simulate.gather import gather_classes, structure_sources
from zoo.simulate.subtomogram_settings import SubtomogramSettings
from zoo.simulate.subtomograms import simulate_subtomograms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--structure", type=Path, help="PDB or mmCIF; left out: an embedded structure")
    parser.add_argument("--box", type=int, default=32)
    parser.add_argument("--voxel", type=float, default=12.0, help="Å, for --structure")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--snr", type=float, default=0.1)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--start-angstrom", type=float, default=80.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--relion-iterations", type=int, default=1)
    parser.add_argument("--relion-limit", type=float, default=1800.0, help="seconds")
    parser.add_argument("--no-relion", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        truth, voxel = make_set(options, folder)
        start = filtered(truth, voxel, options.start_angstrom)
        write_volume(folder / "set" / "start.mrc", start, voxel)
        ours = run_faml(options, folder, start, truth)
        theirs = None if options.no_relion else run_relion(options, folder / "set", truth, voxel)
    if theirs is not None:
        sign = "at least " if theirs["stopped"] else ""
        print(f"ratio {sign}{theirs['wall'] / ours['wall']:.0f} in wall time, ", end="")
        print(f"{sign}{theirs['cpu'] / ours['cpu']:.0f} in CPU time (faml / relion_refine)")


def make_set(options, folder: Path):
    """Simulate and pack; returns the truth and its voxel size."""
    if options.structure is None:
        classes = embedded_classes(options.box)
    else:
        classes = gather_classes([], structure_sources([options.structure]), options.box, options.voxel)
    one = ClassMaps(classes.maps[[-1]], classes.voxel_size_angstrom, (classes.names[-1],))
    settings = SubtomogramSettings(options.count, snr=options.snr, seed=1)
    simulate_subtomograms(one, folder / "set", settings)
    packing = PackSettings(box=OWN_BOX, dtype="float32", normalisation="none", contrast=1)
    pack_subtomograms(folder / "set" / "subtomograms.star", folder / "packed", packing, processes=1)
    return read_volume(folder / "set" / "maps" / "class_0.mrc")


def filtered(volume, voxel, angstrom):
    """Gaussian low-pass: half amplitude at ``angstrom``."""
    k = np.stack(np.meshgrid(*[np.fft.fftfreq(len(volume), voxel)] * 3, indexing="ij"))
    weight = np.exp(-np.log(2.0) * (k**2).sum(0) * angstrom**2)
    return np.fft.ifftn(np.fft.fftn(volume) * weight).real.astype("float32")


def run_faml(options, folder: Path, start, truth) -> dict:
    import tensorflow as tf

    from zoo.models.faml.model import Faml
    from zoo.training.allocator import keep_freed_memory

    keep_freed_memory()  # as zoo-train does
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    info = DatasetInfo.load(folder / "packed")
    model = Faml.from_data(info, "default")
    model.set_references(start[None])
    batch = {**next(sequential_arrays(info, options.count)), "weight": np.ones(options.count, "float32")}
    batch = {name: tf.convert_to_tensor(batch[name]) for name in ("volume", "wedge", "weight", "index")}
    expect = tf.function(model.e_step, autograph=False, jit_compile=True)
    prepare = tf.function(model.prepare, autograph=False)
    add(model, model.start_step(batch))
    walls, cpus = [], []
    for iteration in range(options.iterations + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        add(model, expect(batch, prepare()))
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
        if iteration in (0, options.iterations):
            report(f"faml, iteration {iteration + 1}", model.average_maps(), truth)
    found = {"wall": float(np.median(walls[1:])), "cpu": float(np.median(cpus[1:]))}
    print(f"faml: {found['wall']:.2f} s wall, {found['cpu']:.2f} s CPU per iteration of {options.count}")
    print(f"faml: the first one {walls[0]:.0f} s, compilation included", flush=True)
    return found


def add(model, sums) -> None:
    for name, variable in model.sums.items():
        variable.assign(sums[name])
    model.m_step()


def report(name: str, maps, truth) -> None:
    aligned = align_maps(np.asarray(maps)[0], truth, allow_mirror=False)
    print(f"{name}: correlation with the truth {aligned.correlation:.3f}", flush=True)


def run_relion(options, folder: Path, truth, voxel: float) -> dict:
    (folder / "relion").mkdir()
    command = "relion_refine --i subtomograms.star --ref start.mrc --o relion/run --K 1 --ctf"
    command += f" --iter {options.relion_iterations}"
    command += f" --healpix_order 2 --offset_range 5 --offset_step 2 --oversampling 1 --j {options.threads}"
    command += f" --particle_diameter {0.8 * options.box * voxel:.0f} --zero_mask --norm --scale --pad 1"
    command += f" --ini_high {options.start_angstrom:g} --firstiter_cc --flatten_solvent --random_seed 1"
    before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(
        command.split(), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    stopped = False
    try:
        _, errors = process.communicate(timeout=options.relion_limit)
    except subprocess.TimeoutExpired:
        stopped = True
        process.kill()
        _, errors = process.communicate()
    wall, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode and not stopped:
        raise SystemExit(f"relion_refine failed: {errors.strip()[-500:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"relion_refine: {wall:.0f} s wall, {cpu:.0f} s CPU" + (" when it was stopped" if stopped else ""))
    for iteration in range(1, options.relion_iterations + 1):
        result = folder / "relion" / f"run_it{iteration:03d}_class001.mrc"
        if result.exists():
            report(f"relion_refine, iteration {iteration}", read_volume(result)[0][None], truth)
    count = options.relion_iterations
    return {"wall": wall / count, "cpu": cpu / count, "stopped": stopped}


if __name__ == "__main__":
    main()
