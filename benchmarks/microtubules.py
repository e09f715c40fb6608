"""Hand-traced microtubules: overlap and centre lines of ``edss3d`` on a patch that it never saw.

Step ``make`` writes the patches (uint8 TIFF, 25 Å) as MRC, for zoo-pack; ``score`` compares a segmentation
with the traced mask. Centre lines are skeletons (scikit-image); one is found where a voxel of the class lies
within 2 voxels, and, more strictly, where the skeleton of the class does. The traced masks are discs in each
section: flat tubes of one to three voxels across z, so that a mask beside its place along z says what an
overlap is worth.

    python benchmarks/microtubules.py make DIR OUT
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=("make", "score"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    if options.step == "make":
        options.target.mkdir(parents=True, exist_ok=True)
        for path in sorted(options.source.glob("*.tif")):
            sections = [np.array(section) for section in ImageSequence.Iterator(Image.open(path))]
            volume = np.stack(sections).astype(np.float32)
            write_volume(options.target / f"{path.stem}.mrc", volume, VOXEL_ANGSTROM)
        return
    true, found = (read_volume(path)[0] == 1 for path in (options.source, options.target))
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
