"""Templates and maps of a null from files: density maps, atomic models, packed maps, embedded complexes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from zoo.data.formats.mrc import read_header
from zoo.data.info import INFO_NAME, DatasetInfo
from zoo.data.kinds import require_kind
from zoo.errors import ZooError
from zoo.simulate.embedded_complexes import embedded_complexes
from zoo.simulate.map_set import STRUCTURE_SUFFIXES, centred, each_map, map_names, unit_scale
from zoo.simulate.resample import resample_map

EMBEDDED = "embedded"
_MAPS = (".mrc", ".map", ".ccp4", ".em", ".rec")


def files_in(place: Path) -> list[Path]:
    """The maps and atomic models of a folder by name, or the one file that ``place`` is.

    Raises ZooError for a place that is not there or holds none.
    """
    if place.is_dir():
        found = sorted(path for path in place.iterdir() if path.is_file() and _suffix(path) in _ALL)
        if not found:
            raise ZooError(f"{place}: holds no maps or atomic models ({', '.join(_ALL)})")
        return found
    if not place.exists():
        raise ZooError(f"{place}: no such file or folder; expected maps (MRC, EM) or models (PDB, mmCIF)")
    return [place]


def read_maps(
    place: Path,
    box: int,
    voxel_size_angstrom: float,
    resolution_angstrom: float | None = None,
    notes: Callable[[str], None] = lambda text: None,
) -> tuple[np.ndarray, list[str]]:
    """Maps (k, n, n, n) float32 in one frame (`zoo.simulate.map_set.each_map`), and their names.

    ``place`` is a folder of files, one file, a data set of ``zoo-pack maps``, or "embedded" (fifteen
    complexes made by code). ``notes`` gets what was resampled. Raises ZooError for what cannot be read,
    and for maps without density.
    """
    if str(place) == EMBEDDED:
        complexes = embedded_complexes(box, voxel_size_angstrom)
        return complexes.maps.astype(np.float32), list(complexes.names)
    if (place / INFO_NAME).is_file():
        return _packed(place, box, voxel_size_angstrom, notes)
    paths = files_in(place)
    sizes = {path: _stated(path) for path in paths}
    others = [path for path, size in sizes.items() if size and abs(size / voxel_size_angstrom - 1) > 0.005]
    if others:
        shown = ", ".join(f"{path.name} ({sizes[path]:.3g} Å)" for path in others[:4])
        more = ", ..." if len(others) > 4 else ""
        notes(f"resampled to voxels of {voxel_size_angstrom:.4g} Å: {shown}{more}")
    maps = np.stack(list(each_map(paths, box, voxel_size_angstrom, resolution_angstrom, notes=notes)))
    return maps.astype(np.float32), map_names(paths)


def _packed(place: Path, box: int, voxel_size_angstrom: float, notes):
    from zoo.data.records.numpy_records import read_rows

    info = DatasetInfo.load(place)
    require_kind(info, "maps")
    names = [str(name) for name in info.names]
    order = [names[int(index)] for index in info.load_table()["name_index"]]
    own = info.voxel_size_angstrom
    if abs(own / voxel_size_angstrom - 1) > 0.005 or info.box != box:
        notes(f"{place}: resampled from voxels of {own:.4g} to {voxel_size_angstrom:.4g} Å")
    maps = []
    for row in read_rows(info):
        density = resample_map(np.squeeze(row["map"]), own, box, voxel_size_angstrom)
        maps.append(unit_scale(centred(density, place)))
    return np.stack(maps).astype(np.float32), order


def _stated(path: Path) -> float:
    """Voxel size in Å that a map's header states; 0 where it states none."""
    if _suffix(path) in STRUCTURE_SUFFIXES or _suffix(path) == ".em":
        return 0.0
    return float(read_header(path).pixel_size_angstrom or 0.0)


def _suffix(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix


_ALL = (*_MAPS, *STRUCTURE_SUFFIXES)
