"""A fit of an atomic model into a map, from files to a folder: structure, curve, figure, numbers, script."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from zoo.analysis.curves import write_fsc
from zoo.analysis.figures import save_slices
from zoo.analysis.fit import Fit, MapFrame, fit_atoms
from zoo.analysis.markers import FIT
from zoo.data.formats.mrc import read_header, read_volume, require_cubic
from zoo.data.formats.structures import read_structure, write_moved_structure
from zoo.errors import ZooError
from zoo.files import write_json
from zoo.input_files import existing_file
from zoo.simulate.map_set import STRUCTURE_SUFFIXES, measured_sign
from zoo.simulate.resample import border_level

_SURE_OF_HAND = 0.005  # differences of correlation below this say nothing


def read_frame(
    path: str | os.PathLike,
    pixel_size_angstrom: float | None = None,
    sign: int = 0,
    notes: Callable[[str], None] = lambda text: None,
) -> MapFrame:
    """A map (MRC, EM) in its own frame, dense matter positive.

    ``sign`` 0 measures the contrast, +1 and -1 give it. A given pixel size stands for that of the header, and
    scales its corner where that counts voxels. Raises ZooError for what is no map of cubic voxels, and where
    nobody states a voxel size.
    """
    path = existing_file(path)
    if os.path.splitext(path.removesuffix(".gz"))[1].lower() in STRUCTURE_SUFFIXES:
        raise ZooError(
            f"{path}: an atomic model, expected a map; give it with --structure, and the map first"
        )
    density, voxel = read_volume(path)
    corner = (0.0, 0.0, 0.0)
    if not path.lower().endswith((".em", ".em.gz")):
        header = read_header(path)
        require_cubic(header)
        corner = header.corner_xyz_angstrom
        if pixel_size_angstrom and not any(header.origin_xyz_angstrom):
            x, y, z = (start * pixel_size_angstrom for start in header.start_xyz_voxels)
            corner = (x, y, z)
    if pixel_size_angstrom is not None:
        if not (np.isfinite(pixel_size_angstrom) and pixel_size_angstrom > 0):
            raise ZooError(f"--pixel-size {pixel_size_angstrom:g}: expected more than 0 Å")
        if voxel > 0 and abs(voxel - pixel_size_angstrom) > 0.01 * voxel:
            notes(f"{path}: voxels of {pixel_size_angstrom:g} Å as given; its header says {voxel:g} Å")
        voxel = float(pixel_size_angstrom)
    if voxel <= 0:
        raise ZooError(f"{path}: its header states no voxel size; give --pixel-size in Å")
    frame = MapFrame(density, voxel, corner, path)
    measured = measured_sign(density - border_level(density))
    if (sign or measured) < 0:
        if not sign:
            notes(f"{path}: dark, its sign was changed for the fit (--contrast +1 keeps it)")
        frame = MapFrame(-density, voxel, corner, path)
    return frame


def fit_structure(
    map_path: str | os.PathLike,
    structure: str | os.PathLike,
    assembly: str | None = None,
    resolution_angstrom: float | None = None,
    pixel_size_angstrom: float | None = None,
    sign: int = 0,
    notes: Callable[[str], None] = lambda text: None,
    progress: Callable[[str], None] = lambda text: None,
) -> Fit:
    """`zoo.analysis.fit.fit_atoms` of files; hydrogens and waters take no part in it."""
    atoms = read_structure(structure, assembly)
    frame = read_frame(map_path, pixel_size_angstrom, sign, notes)
    return fit_atoms(atoms, frame, resolution_angstrom, progress, os.fspath(structure))


def format_fit(fit: Fit) -> str:
    """What a person should know of a fit."""
    lines = [
        f"correlation {fit.correlation:.3f} over the map, {fit.correlation_inside:.3f} inside the model "
        f"(density of the model at {fit.resolution_angstrom:.1f} Å)",
        f"FSC 0.5 of map and model at {_half(fit, 'masked')} in a mask of the model, "
        f"{_half(fit, 'whole')} without",
    ]
    both = f"{fit.mirrored_correlation:.3f} against {fit.searched_correlation:.3f}"
    if abs(fit.mirrored_correlation - fit.searched_correlation) < _SURE_OF_HAND:
        lines.append(f"the mirror image of the map fits as well ({both}): it does not tell its hand")
    elif fit.mirror_fits_better:
        lines.append(
            f"the mirror image of the map fits better ({both}): the map may have the wrong hand; "
            "nothing was mirrored"
        )
    else:
        lines.append(f"the mirror image of the map fits less well ({both})")
    return "\n".join(lines)


def _half(fit: Fit, name: str) -> str:
    """Where a curve falls below 0.5, and whether it does for good: what the model lacks spoils low shells."""
    curve, first = fit.fsc[name], fit.fsc_half_angstrom[name]
    above = np.flatnonzero(curve[1:] >= 0.5) + 1
    last = fit.edge_angstrom / above[-1] if above.size else np.inf
    again = f" (above it again up to {last:.1f} Å)" if last < 0.8 * first else ""
    return _angstrom(first) + again


def _angstrom(value: float) -> str:
    return f"{value:.1f} Å" if np.isfinite(value) else "no shell"


def write_fit(
    folder: Path, fit: Fit, map_path, structure, assembly: str | None = None, final: Path | None = None
) -> list[str]:
    """Write fitted.pdb or .cif (as the structure is), fsc.csv and .png, slices.png, fit.json and fit.cxc.

    ``final`` is where the folder will lie, for the way from the script to the map. Returns the names.
    """
    folder = Path(folder)
    stem = os.fspath(structure).removesuffix(".gz").lower()
    suffix = ".pdb" if stem.endswith((".pdb", ".ent")) else ".cif"
    fitted = write_moved_structure(
        structure, folder / f"fitted{suffix}", fit.rotation, fit.translation_angstrom, assembly
    )
    frame = fit.frame
    write_fsc(fit.fsc, fit.edge_angstrom, folder, "map and model", threshold=0.5)
    _write_slices(folder / "slices.png", fit)
    name = os.path.basename(fitted)
    numbers = {
        "map": os.path.abspath(map_path),
        "structure": os.path.abspath(structure),
        "assembly": assembly,
        "fitted": name,
        "voxel_size_angstrom": frame.voxel_size_angstrom,
        "corner_angstrom": list(frame.corner_angstrom),
        "resolution_angstrom": fit.resolution_angstrom,
        "rotation": fit.rotation.tolist(),
        "translation_angstrom": fit.translation_angstrom.tolist(),
        "correlation": fit.correlation,
        "correlation_inside": fit.correlation_inside,
        "searched_correlation": fit.searched_correlation,
        "mirrored_correlation": fit.mirrored_correlation,
        "fsc_half_angstrom": {n: v if np.isfinite(v) else None for n, v in fit.fsc_half_angstrom.items()},
    }
    way = os.path.relpath(os.path.abspath(map_path), os.path.abspath(final or folder))
    (folder / "fit.cxc").write_text(_script(way, name, frame), encoding="utf-8")
    write_json(folder / FIT, numbers)
    return [name, "fsc.csv", "fsc.png", "slices.png", FIT, "fit.cxc"]


def _script(way: str, fitted: str, frame: MapFrame) -> str:
    lines = [
        "close session",
        f'open "{way}"',
        f'open "{fitted}"',
        f"volume #1 voxelSize {frame.voxel_size_angstrom:g} style surface step 1 sdLevel 3 transparency 0.6",
        "hide #2 atoms",
        "show #2 cartoons",
        "set bgColor white",
        "view",
    ]
    return "\n".join(lines) + "\n"


def _write_slices(path: Path, fit: Fit) -> None:
    """Slices of map and model through the middle of the model, each with a spread of 1 inside it."""
    model = fit.densities[1]
    inside = model > 0.1 * model.max()
    middle = np.argwhere(inside).mean(0).round().astype(int)
    shift = tuple(len(model) // 2 - middle)
    cubes = [np.roll(each / each[inside].std(), shift, axis=(0, 1, 2)) for each in fit.densities]
    save_slices(path, cubes, ["map", "model"], level=0.3 * float(cubes[1].max()))
