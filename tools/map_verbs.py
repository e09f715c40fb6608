"""The verbs of ``zoo-infer`` that take a map and no model: fit, symmetry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo_tools._options import contrast_sign

Map = Annotated[Path, typer.Argument(metavar="MAP", help="Density map, MRC or EM.")]


def fit(
    map_path: Map,
    structure: Annotated[
        Path, typer.Option("--structure", metavar="FILE", help="Atomic model, PDB or mmCIF (.gz too).")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder for the fitted model, curves and a script."),
    ] = None,
    resolution: Annotated[
        float | None, typer.Option(help="Of the model's density in Å (default: 3 voxels).")
    ] = None,
    assembly: Annotated[
        str | None, typer.Option(help="Biological assembly to build from the structure, such as 1.")
    ] = None,
    pixel_size: Annotated[
        float | None, typer.Option("--pixel-size", "--voxel", help="Å per voxel (default: the map's header).")
    ] = None,
    contrast: Annotated[str, typer.Option(help="auto (measured), +1 (bright) or -1 (dark).")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier fit in DIR.")] = False,
) -> None:
    """Fit an atomic model rigidly into a map: correlation, FSC, and the model in the map's frame."""
    from zoo.analysis.fit_report import fit_structure, format_fit, write_fit
    from zoo.analysis.markers import FIT
    from zoo.files import check_folder, whole_folder

    sign = contrast_sign(contrast)
    if out is not None:
        check_folder(out, FIT, overwrite)
    found = fit_structure(
        map_path,
        structure,
        assembly,
        resolution,
        pixel_size,
        sign,
        notes=lambda text: print(f"note: {text}"),
        progress=lambda text: print(f"{text} …"),
    )
    if out is not None:
        with whole_folder(out, FIT, overwrite) as partial:
            written = write_fit(partial, found, map_path, structure, assembly, final=out)
    print(format_fit(found))
    if out is not None:
        print(f"wrote {out}: {', '.join(written)}")


def symmetry(
    map_path: Map,
    fold: Annotated[int, typer.Option("--fold", metavar="N", help="Turns by 360/N degrees.")],
    axis: Annotated[
        str,
        typer.Option(help="search, or x, y, z, or three numbers with commas: through the middle of the box."),
    ] = "search",
    mask: Annotated[
        Path | None,
        typer.Option("--mask", metavar="FILE", help="Mask of the map's box (default: the largest sphere)."),
    ] = None,
) -> None:
    """Score the N-fold symmetry of a map: mean correlation of all pairs of N copies, turned about an axis."""
    from zoo.data.formats.mrc import read_volume
    from zoo.errors import ZooError
    from zoo.metrics.symmetry import check_fold, find_symmetry_axis, parse_axis, symmetry_score

    check_fold(fold)
    direction = None if axis == "search" else parse_axis(axis)
    volume, _ = read_volume(map_path)
    weight = None if mask is None else read_volume(mask)[0]
    try:
        if direction is not None:
            score, words = symmetry_score(volume, fold, direction, mask=weight), f"about {axis}"
        else:
            found = find_symmetry_axis(volume, fold)
            score = found.score
            if weight is not None:
                score = symmetry_score(volume, fold, found.direction, found.centre_px, weight)
            xyz, at = (", ".join(f"{v:.3f}" for v in each) for each in (found.direction, found.centre_px))
            words = f"about the axis ({xyz}) through ({at}) voxels from the middle of the box"
    except ZooError as error:
        raise ZooError(f"{map_path}: {error}") from error
    print(f"{fold}-fold symmetry {score:.3f} {words}")
