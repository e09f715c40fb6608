"""Picking: seconds of ``zoo-pick``'s search against scikit-image's ``blob_dog`` on the same volume.

In one process, in turn. Both smooth, take the difference of two Gaussians of the same widths and look for
its maxima. zoo also measures the contrast sign and the noise, and keeps the picks apart. The best time of
each counts, and its CPU time.

    python benchmarks/picking.py
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage.feature import blob_dog

from zoo.data.formats.mrc import write_volume
from zoo.data.formats.tomogram_blocks import TomogramBlocks
from zoo.picking.pick import pick_particles
from zoo.picking.settings import PickSettings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=160, help="voxels")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    settings = PickSettings()
    volume = noisy_balls(options.side)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tomogram.mrc"
        write_volume(path, volume, 10.0)
        contenders = {
            "zoo-pick": lambda: pick_particles(TomogramBlocks(path), settings),
            "blob_dog": lambda: peer(volume, settings),
        }
        best = {name: (float("inf"), float("inf")) for name in contenders}
        found = {}
        for _ in range(options.rounds):
            for name, work in contenders.items():
                started, cpu = time.perf_counter(), time.process_time()
                found[name] = work()
                spent = time.perf_counter() - started, time.process_time() - cpu
                best[name] = tuple(map(min, best[name], spent))
    for name, (seconds, cpu) in best.items():
        print(f"{name:10s} {seconds:6.2f} s, {cpu:6.2f} s of CPU time; {len(found[name])} found")
    ratios = [theirs / ours for ours, theirs in zip(best["zoo-pick"], best["blob_dog"], strict=True)]
    print(
        f"ratio {ratios[0]:.2f} (blob_dog / zoo-pick) on {options.side}³ voxels, {ratios[1]:.2f} in CPU time"
    )


def peer(volume: np.ndarray, settings: PickSettings) -> np.ndarray:
    """The same smoothing, one pair of Gaussians, a threshold that leaves about as many; pruned by overlap."""
    smooth = ndimage.gaussian_filter(volume, settings.smooth_voxels)
    return blob_dog(
        smooth,
        min_sigma=settings.sigma_voxels,
        max_sigma=settings.sigma_voxels,
        sigma_ratio=settings.sigma_ratio,
        threshold=None,
        threshold_rel=0.3,
        exclude_border=False,
    )


def noisy_balls(side: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    volume = rng.standard_normal((side,) * 3, dtype=np.float32)
    seeds = np.zeros_like(volume)
    seeds[tuple(rng.integers(0, side, (3, side // 2)))] = 1500.0
    return volume + ndimage.gaussian_filter(seeds, 5)


if __name__ == "__main__":
    main()
