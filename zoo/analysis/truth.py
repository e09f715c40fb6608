"""Compare maps of clusters with the true maps of simulated data (aligned, either hand, by FSC)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.data.formats.mrc import read_volume
from zoo.errors import ZooError
from zoo.metrics.alignment import align_maps
from zoo.metrics.fsc import fsc, resolution_at
from zoo.simulate.resample import resample_map

PATTERN = "class_*.mrc"


@dataclass(frozen=True)
class TruthMatch:
    """Best true map of one cluster: its index and file, resolution at FSC 0.5, correlation, hand (±1)."""

    truth: int
    name: str
    pixels: float
    angstrom: float
    correlation: float
    hand: int


def truth_folder(source) -> Path | None:
    """``maps/`` beside a particle file if it holds ``class_*.mrc``, as zoo-simulate writes them."""
    if not source:
        return None
    folder = Path(source).parent / "maps"
    return folder if any(folder.glob(PATTERN)) else None


def read_truths(folder, box: int, voxel_size_angstrom: float) -> tuple[list[str], np.ndarray]:
    """Names and maps (k, box, box, box) of ``class_*.mrc`` in `folder`, brought to the model's box.

    Maps of another sampling are resampled. Raises ZooError if there is none, if one says no voxel size,
    or if its extent in Å differs from the model's by more than 1 %.
    """
    paths = sorted(Path(folder).glob(PATTERN), key=_class_number)
    if not paths:
        raise ZooError(f"{folder}: holds no {PATTERN}; name the folder of the true maps with --truth DIR")
    maps = []
    for path in paths:
        volume, voxel = read_volume(path)
        extent, wanted = volume.shape[0] * voxel, box * voxel_size_angstrom
        if abs(extent - wanted) > 0.01 * wanted:
            raise ZooError(
                f"{path}: {volume.shape[0]} voxels of {voxel:g} Å, expected a box {wanted:g} Å wide as the "
                "model's; pad or crop the map"
            )
        maps.append(resample_map(volume, voxel, box, extent / box))
    return [path.name for path in paths], np.stack(maps)


def _class_number(path: Path) -> tuple:
    number = path.stem.removeprefix("class_")
    return (int(number), "") if number.isdigit() else (10**9, number)


def match_truth(
    volume, truths, names, voxel_size_angstrom: float, candidates=None, allow_mirror: bool = True
) -> TruthMatch:
    """The true map that `volume` (n, n, n) resembles most after alignment, mirrored or (if allowed) not.

    `truths` (k, n, n, n); `candidates` limits the search to some of them. No mask is used.
    """
    matches = []
    for index in range(len(truths)) if candidates is None else candidates:
        found = align_maps(volume, truths[index], allow_mirror)
        resolution = resolution_at(
            fsc(found.aligned, truths[index]), 0.5, voxel_size_angstrom, box=len(truths[index])
        )
        matches.append(
            TruthMatch(
                int(index),
                names[index],
                resolution.pixels,
                resolution.angstrom,
                found.correlation,
                found.hand,
            )
        )
    return max(matches, key=lambda match: match.correlation)
