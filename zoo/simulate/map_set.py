"""Density maps from files of maps and atomic models, brought to one frame: box, voxel, centre, sign, unit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy import ndimage

from zoo.errors import ZooError
from zoo.simulate.classes import (
    StructureSource,
    check_box,
    classes_from_maps,
    classes_from_structures,
)

STRUCTURE_SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif")
_WORDS = {1: "bright", -1: "dark"}


def map_names(paths: Sequence[str | os.PathLike]) -> list[str]:
    """Names of the files without their suffix; with it, where two would be called the same."""
    names = [os.path.basename(os.fspath(path)) for path in paths]
    stems = [os.path.splitext(name.removesuffix(".gz"))[0] for name in names]
    return names if len(set(stems)) < len(stems) else stems  # a.mrc and a.pdb


def each_map(
    paths: Sequence[str | os.PathLike],
    box: int,
    voxel_size_angstrom: float,
    resolution_angstrom: float | None = None,
    sign: int = 0,
    notes: Callable[[str], None] = lambda text: None,
) -> Iterator[np.ndarray]:
    """Density (box, box, box) of each file (MRC, EM; PDB, mmCIF at ``resolution_angstrom`` or 2 voxels).

    Each has its centre of mass at voxel box // 2, dense matter positive (``sign`` 0: measured for each map,
    +1 or -1: as given for maps; models are positive) and a standard deviation of 1. ``notes`` gets which maps
    were turned, and which have another sign than measured. Raises ZooError for files that cannot be read and
    maps without density.
    """
    check_box(box)
    for path in map(os.fspath, paths):
        if os.path.splitext(path.removesuffix(".gz"))[1].lower() in STRUCTURE_SUFFIXES:
            source = [StructureSource(path)]
            one = classes_from_structures(source, box, voxel_size_angstrom, resolution_angstrom).maps[0]
        else:
            one = classes_from_maps([path], box, voxel_size_angstrom).maps[0]
            measured = measured_sign(one)
            one = one * (sign or measured)
            if measured < 0 and not sign:
                notes(f"{path}: dark, its sign was changed (--contrast +1 keeps it)")
            elif sign and sign != measured:
                notes(f"{path}: taken as {_WORDS[sign]}, but what stands out of it is {_WORDS[measured]}")
        yield unit_scale(centred(one, path))


def measured_sign(density: np.ndarray) -> int:
    """+1 where what stands out of a map (its border level is 0) is bright, -1 where it is dark."""
    return -1 if (density.astype(np.float64) ** 3).sum() < 0 else 1


def centred(density: np.ndarray, name: str | os.PathLike) -> np.ndarray:
    """The map (n, n, n), moved by trilinear shifts, with the mass of its dense part around voxel n // 2."""
    dense = np.where(density > 0.1 * density.max(), density, 0)
    if not dense.sum() > 0:
        raise ZooError(f"{name}: holds no density above its border; is the contrast sign right?")
    shift = density.shape[0] // 2 - np.array(ndimage.center_of_mass(dense))
    return ndimage.shift(density, shift, order=1, mode="constant").astype(np.float32)


def unit_scale(density: np.ndarray) -> np.ndarray:
    """The map with a standard deviation of 1 over the box; zero stays zero."""
    spread = density.std()
    return density / spread if spread > 0 else density
