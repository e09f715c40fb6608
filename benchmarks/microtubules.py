"""Hand-traced microtubules: overlap and centre lines of ``edss3d`` on a patch that it never saw.

Step ``make`` writes the patches (uint8 TIFF, 25 Å) as MRC, for zoo-pack, ``--bin`` times smaller: means of
grey values, and traced where a quarter of the voxels is. ``score`` compares a segmentation with the traced
mask, a binned one with the ``--full`` mask as well. Centre lines are skeletons (scikit-image); one is found
where a voxel of the class lies within 2 voxels, and, more strictly, where the skeleton of the class does. The
traced masks are discs in each section: flat tubes of one to three voxels across z, so that a mask beside its
place along z says what an overlap is worth.

    python benchmarks/microtubules.py make DIR OUT --bin 2
    python benchmarks/microtubules.py score OUT/test_4_0_55_98_25_mask.mrc SEGMENTED/segmentation.mrc
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence
from scipy import ndimage
from skimage.morphology import skeletonize

from zoo.data.formats.mrc import read_volume, write_volume
from zoo.metrics.overlap import dice, intersection_over_union, overlap_counts

VOXEL_ANGSTROM = 25.0
WITHIN = 2.0
TRACED_SHARE = 0.25  # of the voxels that a binned one is made of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=("make", "score"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--bin", type=int, default=1, help="voxels along each side that are made one (make)")
    parser.add_argument("--full", type=Path, help="mask that was not binned (score)")
    options = parser.parse_args()
    if options.step == "make":
        options.target.mkdir(parents=True, exist_ok=True)
        for path in sorted(options.source.glob("*.tif")):
            sections = [np.array(section) for section in ImageSequence.Iterator(Image.open(path))]
            volume = binned(np.stack(sections).astype(np.float32), options.bin)
            if path.stem.endswith("_mask"):
                volume = (volume >= TRACED_SHARE).astype(np.float32)
            write_volume(options.target / f"{path.stem}.mrc", volume, VOXEL_ANGSTROM * options.bin)
        return
    true, found = (read_volume(path)[0] == 1 for path in (options.source, options.target))
    score(true, found)
    if options.full is not None:
        full = read_volume(options.full)[0] == 1
        factor = len(full) // len(found)
        print(f"in full, each voxel found as {factor}³ of them:")
        score(full, np.kron(found, np.ones((factor,) * 3, bool)))


def binned(volume: np.ndarray, factor: int) -> np.ndarray:
    """Means of ``factor``³ voxels each; sides are multiples of ``factor``."""
    parts = [part for side in volume.shape for part in (side // factor, factor)]
    return volume.reshape(parts).mean(axis=(1, 3, 5))


def score(true: np.ndarray, found: np.ndarray) -> None:
    """Print overlap and centre lines of two masks."""
    print(f"traced voxels: {int(true.sum())}, found: {int(found.sum())}")
    counts = overlap_counts(found.astype(int), true.astype(int), 2)
    print(f"intersection over union {intersection_over_union(**counts)[1]:.3f}, Dice {dice(**counts)[1]:.3f}")
    for offset in (1, 2):
        counts = overlap_counts(np.roll(true, offset, axis=0).astype(int), true.astype(int), 2)
        overlap = intersection_over_union(**counts)[1]
        print(f"of the traced mask itself, {offset} along z beside its place: {overlap:.3f}")
    line = skeletonize(true)
    for name, near in (("a voxel", found), ("the skeleton", skeletonize(found))):
        share = centre_line_share(line, near)
        print(f"traced centre lines within {WITHIN:g} voxels of {name} that was found: {share:.3f}")
    back = centre_line_share(skeletonize(found), true)
    print(f"skeleton that was found within {WITHIN:g} voxels of what was traced: {back:.3f}")


def centre_line_share(line: np.ndarray, near: np.ndarray) -> float:
    """Share of the voxels of ``line`` that have one of ``near`` within 2 voxels."""
    if not near.any() or not line.any():
        return 0.0
    return float((ndimage.distance_transform_edt(~near)[line] <= WITHIN).mean())


if __name__ == "__main__":
    main()
