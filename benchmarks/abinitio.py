"""Reconstruction from nothing: NMI, resolution against the truth and time of ``abinitio3d``, seed by seed.

The embedded particles (three states, 3,000 images each of --box px, noise of --sigma) are made on first use.
No pose, reference or label is read. FSC 0.5 is against the true map of most of a class's images, after one
alignment each and with one hand for all; beside it what plain inversion with the true poses gives. Poses are
compared after the common turn is taken off. With --noise the images are replaced by white noise of --sigma:
nothing should be found. --poses known gives the true poses and asks for the classes alone. --png writes
central slices of the maps, found above true.

    python benchmarks/abinitio.py [--seeds 1 2 3] [--classes 3] [--sigma 1] [--poses known] [--png FOLDER]
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

from zoo.data.formats.images import ImageReader
from zoo.data.formats.mrc import read_volume
from zoo.data.particles import read_particles
from zoo.metrics.alignment import align_maps, mirror
from zoo.metrics.clustering import clustering_scores
from zoo.metrics.fsc import fsc, resolution_at
from zoo.models.abinitio3d.config import PRESETS, from_preset
from zoo.models.abinitio3d.solve import reconstruct
from zoo.models.given_poses import GivenPoses
from zoo.ops import fourier_volume as fv
from zoo.simulate.embedded import embedded_dataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--classes", type=int, default=3)
    parser.add_argument("--box", type=int, default=32)
    parser.add_argument("--count", type=int, default=3000, help="images per state")
    parser.add_argument("--sigma", type=float, default=1.0)
    parser.add_argument("--noise", action="store_true", help="control: white noise in place of the images")
    parser.add_argument("--poses", choices=("find", "known"), default="find")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="default")
    parser.add_argument("--png", type=Path, help="folder for pictures of the maps")
    options = parser.parse_args()
    table, images, truth = load(options)
    if not options.noise:
        print("true poses, plain inversion:", inversion(table, images, truth), flush=True)
    for seed in options.seeds:
        one_seed(options, seed, table, images, truth)


def load(options):
    """Table, images and true maps (3, n, n, n)."""
    folder = embedded_dataset(options.box, options.count, options.sigma).parent / "particles"
    table = read_particles(folder / "particles.star")
    images = ImageReader(table).read(np.arange(len(table)))
    if options.noise:
        images = np.random.default_rng(0).standard_normal(images.shape, np.float32) * options.sigma
    return table, images, np.stack([read_volume(folder / "maps" / f"class_{k}.mrc")[0] for k in range(3)])


def one_seed(options, seed, table, images, truth):
    print(f"seed {seed}, classes {options.classes}, sigma {options.sigma:g}, load {os.getloadavg()[0]:.1f}")
    started, processor = time.perf_counter(), time.process_time()

    def say(line):
        print(f"  {time.perf_counter() - started:6.1f} s  {line}", flush=True)

    config = from_preset(options.preset, classes=options.classes, poses=options.poses)
    euler, origin = table.euler_deg(), table.shift_angstrom()
    poses = GivenPoses(euler, origin, table.random_subset) if options.poses == "known" else None
    found = reconstruct(images, table.ctf(), table.pixel_size_angstrom, config, seed, say, poses)
    wall, processor = time.perf_counter() - started, time.process_time() - processor
    if not found.found:
        print(f"seed {seed}: nothing found; {wall:.0f} s ({processor:.0f} s of CPU)", flush=True)
        return
    label = np.asarray(table.label, int)
    scores = clustering_scores(label, found.class_number)
    counts = np.zeros((len(found.maps), len(truth)), int)
    np.add.at(counts, (found.class_number, label), 1)
    print(f"  images of each state by class: {counts.tolist()}")
    print(f"  half-map FSC 0.143 px: {[half_resolution(c, found) for c in found.fsc]}")
    laid, hand = lay_over(found.maps, truth, counts.argmax(1))
    pixels = []
    for k, alignment in enumerate(laid):
        state = int(counts[k].argmax())
        resolution = resolution_at(fsc(alignment.aligned, truth[state])).pixels
        error = pose_errors(table, found, k, alignment, hand, label == state)
        pixels.append(resolution)
        print(
            f"  class {k + 1}, state {state}: FSC 0.5 at {resolution:.2f} px, correlation "
            f"{alignment.correlation:.4f}, pose error median {np.median(error):.2f}°, "
            f"within 5° {(error < 5).mean():.3f}, 10° {(error < 10).mean():.3f}"
        )
    print(
        f"seed {seed}: states {len(found.maps)}, NMI {scores['nmi']:.4f}, px "
        f"{' '.join(f'{p:.2f}' for p in pixels)}, {wall:.0f} s ({processor:.0f} s of CPU)",
        flush=True,
    )
    if options.png:
        picture(options.png / f"seed{seed}-classes{options.classes}.png", laid, truth, counts.argmax(1))


def half_resolution(curve, found):
    return round(resolution_at(curve, 0.143, box=found.maps.shape[-1]).pixels, 2)


def lay_over(maps, truth, states):
    """Alignments of all maps in the hand that fits better on the whole, and that hand."""
    by_hand = {
        hand: [
            align_maps(volume if hand > 0 else mirror(volume), truth[state], allow_mirror=False)
            for volume, state in zip(maps, states, strict=True)
        ]
        for hand in (1, -1)
    }
    hand = max(by_hand, key=lambda h: sum(a.correlation for a in by_hand[h]))
    return by_hand[hand], hand


def pose_errors(table, found, k, alignment, hand, of_state):
    """Angles in degrees between found and true orientations of a class's images of its state."""
    rows = (found.class_number == k) & of_state
    true = fv.matrices_of_frames(fv.frames_of_euler(table.euler_deg()[rows]))
    frames = found.frames[rows] @ (np.diag([hand, 1, 1]) @ alignment.rotation.T)
    cosine = (np.einsum("nij,nij->n", fv.matrices_of_frames(frames), true) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def inversion(table, images, truth):
    """What true poses and labels give, in words: the bound that the data set.

    FSC 0.5 of each state, and the NMI of the images' states by likelihood, each image at its true pose under
    the maps of the half set that it is not in.
    """
    box = images.shape[-1]
    plane, grid = fv.HalfPlane(box, (box - 1) // 2), fv.FourierGrid(box)
    values, ctf = plane.transform(images)[0], plane.ctf(table.ctf(), table.pixel_size_angstrom)
    frames = fv.frames_of_euler(table.euler_deg())
    shifts = (-table.shift_angstrom() / table.pixel_size_angstrom[:, None]).astype(np.float32)
    label, row = np.asarray(table.label, int), np.arange(len(table))
    sums = np.zeros((6, grid.side, grid.side, grid.side, 3), np.float32)
    ones = np.ones(len(row), np.float32)
    fv.insert(sums, 2 * label + row % 2, row, frames, shifts, ones, values, ctf, plane.points, box)
    mask = grid.sphere(0.4 * box, 3.0 * box / 32)
    solved = [
        fv.solve_halves(grid, sums[2 * k : 2 * k + 2], plane.radius, mask, 0.005) for k in range(len(truth))
    ]
    maps = [one.whole for one in solved]
    pixels = [resolution_at(fsc(a, b)).pixels for a, b in zip(maps, truth, strict=True)]
    grids = np.stack([grid.transform(half) for one in solved for half in one.halves])
    weights = np.full((len(grids), plane.radius + 1), 1 / np.mean(plane.background(images)))
    loss = [
        fv.refine_poses(
            grids, 2 * k + 1 - row % 2, row, frames, shifts, values, ctf, plane, weights, plane.radius, 0, box
        ).loss
        for k in range(len(truth))
    ]
    nmi = clustering_scores(label, np.argmin(loss, axis=0))["nmi"]
    return " ".join(f"{p:.2f}" for p in pixels) + f" px, NMI {nmi:.4f}"


def picture(path, laid, truth, states):
    """Central slices along z, y and x of each found map, and of the truth below it."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    path.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = pyplot.subplots(2 * len(laid), 3, figsize=(6, 4 * len(laid)), squeeze=False)
    for k, (alignment, state) in enumerate(zip(laid, states, strict=True)):
        for row, volume in ((2 * k, alignment.aligned), (2 * k + 1, truth[state])):
            for axis in range(3):
                axes[row, axis].imshow(volume.take(volume.shape[0] // 2, axis), cmap="gray")
                axes[row, axis].axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=60)
    pyplot.close(figure)
    print(f"  {path}")


if __name__ == "__main__":
    main()
