"""Reconstruction and local refinement of shaken poses against the truth, and back-projection against RELION.

Simulates --count images of one map (--map, else an embedded one) with noise of --sigma, turns and moves every
pose at random (--turn degrees rms about each axis, --move pixels along each), and refines the halves apart.
Pose errors are medians after the common turn is taken off; FSC 0.5 is against the true map, 0.143 between the
halves. Then the time of the reconstruction alone beside that of relion_reconstruct on the same file, where it
is installed, on as many threads.

    python benchmarks/reconstruction.py [--box 64] [--count 2000] [--sigma 1] [--turn 2] [--map FILE]
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from zoo.analysis.reconstruction.images import ParticleImages
from zoo.analysis.reconstruction.refinement import Refinement, reconstruct
from zoo.analysis.reconstruction.volume import Poses
from zoo.data.formats.mrc import read_volume
from zoo.data.particles import read_particles
from zoo.metrics.fsc import fsc, resolution_at
from zoo.metrics.mask import sphere_mask
from zoo.ops.fourier_volume import frames_of_euler
from zoo.ops.fourier_volume.threads import cores
from zoo.simulate.classes import ClassMaps
from zoo.simulate.embedded import embedded_classes
from zoo.simulate.gather import gather_classes
from zoo.simulate.particles import simulate_particles
from zoo.simulate.settings import ParticleSettings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--box", type=int, default=64)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--sigma", type=float, default=1.0)
    parser.add_argument("--turn", type=float, default=2.0, help="degrees rms about each axis")
    parser.add_argument("--move", type=float, default=1.0, help="pixels rms along each axis")
    parser.add_argument("--map", type=Path, help="MRC file; an embedded complex by default")
    parser.add_argument("--pixel", type=float, default=5.0, help="Å")
    parser.add_argument("--forget", action="store_true", help="as for poses that one model found")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(options, Path(folder) / "set")


def measure(options, folder: Path) -> None:
    """Simulate, shake, refine, compare."""
    if options.map:
        classes = gather_classes([options.map], [], options.box, options.pixel)
    else:
        all_three = embedded_classes(options.box, options.pixel)
        classes = ClassMaps(all_three.maps[[2]], all_three.voxel_size_angstrom, (all_three.names[2],))
    settings = ParticleSettings(options.count, sigma=options.sigma, shift_max_px=2, seed=1)
    star = simulate_particles(classes, folder, settings).star
    table = read_particles(star)
    truth, voxel = read_volume(folder / "maps" / "class_0.mrc")
    images = ParticleImages(table, options.box)
    true = poses_of(table, voxel)
    rng = np.random.default_rng(2)
    turns = Rotation.from_rotvec(rng.normal(size=(len(table), 3)) * np.radians(options.turn)).as_matrix()
    moved = true.shifts + rng.normal(size=(len(table), 2)) * options.move
    shaken = Poses((true.frames @ turns).astype("f4"), moved.astype("f4"), true.weights, true.half)
    reconstruct(images, true, Refinement())  # compiles
    mask = sphere_mask(options.box)
    largest = options.box / 4
    for name, poses, asked in (
        ("true poses", true, Refinement()),
        ("shaken", shaken, Refinement()),
        ("refined", shaken, Refinement(12, options.forget, None, largest, 1)),
    ):
        started = time.monotonic()
        found = reconstruct(images, poses, asked)
        seconds = time.monotonic() - started
        to_truth = resolution_at(fsc(found.volume.filtered(found.fsc) * mask, truth), 0.5, voxel)
        halves = resolution_at(found.fsc, 0.143, voxel)
        angle, distance = errors(found.poses, true)
        print(
            f"{name}: {angle:.2f}°, {distance:.3f} px; FSC 0.5 to the truth {to_truth.angstrom:.2f} Å "
            f"({to_truth.pixels:.2f} px), 0.143 of halves {halves.angstrom:.2f} Å; {len(found.rounds) - 1} "
            f"rounds, {seconds:.0f} s",
            flush=True,
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.2f} GB")
    against_relion(star, options)


def against_relion(star: Path, options) -> None:
    """Wall time of one reconstruction of all images, files read, beside that of RELION."""
    if shutil.which("relion_reconstruct") is None:
        print("RELION is not installed")
        return
    started = time.monotonic()
    images = ParticleImages(read_particles(star), options.box)
    reconstruct(images, poses_of(images.table, float(images.pixel_size_angstrom[0])), Refinement())
    ours = time.monotonic() - started
    started = time.monotonic()
    command = "relion_reconstruct --i particles.star --ctf --o back.mrc"
    subprocess.run(command.split(), cwd=star.parent, check=True, capture_output=True)
    theirs = time.monotonic() - started
    print(
        f"half maps, FSC, map and scores {ours:.1f} s on {cores()} threads, one map of relion_reconstruct "
        f"{theirs:.1f} s on one: {theirs / ours:.2f} times as fast"
    )


def poses_of(table, voxel: float) -> Poses:
    """True poses and half sets of a simulated table."""
    shifts = -table.shift_angstrom() / voxel
    return Poses(
        frames_of_euler(table.euler_deg()),
        shifts.astype("f4"),
        np.ones(len(table), "f4"),
        table.random_subset.copy(),
    )


def errors(found: Poses, true: Poses) -> tuple[float, float]:
    """Median angle in degrees and distance in pixels, after the common turn is taken off."""
    a, b = (
        np.concatenate([f, np.cross(f[:, 0], f[:, 1])[:, None]], axis=1).astype(float)
        for f in (found.frames, true.frames)
    )
    u, _, v = np.linalg.svd(np.einsum("nji,njk->ik", a, b))
    common = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
    cosine = (np.einsum("nij,nij->n", a @ common, b) - 1) / 2
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return float(np.median(angle)), float(np.median(np.linalg.norm(found.shifts - true.shifts, axis=1)))


if __name__ == "__main__":
    main()
