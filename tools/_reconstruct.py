"""``zoo-infer reconstruct``: maps, half maps and FSC of particles whose poses a run or a file knows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo_tools._options import (
    ContrastOfParticles,
    DataMoved,
    MapBox,
    NewHalves,
    OutOfMaps,
    Overwrite,
    Place,
    Poses,
    SourceFile,
    Stacks,
)


def reconstruct(
    place: Place,
    out: OutOfMaps,
    box: MapBox = None,
    poses: Poses = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="COLUMN",
            help="Column of the classes; zooCluster or rlnClassNumber by default; none: one map.",
        ),
    ] = None,
    refine: Annotated[
        bool | None,
        typer.Option(
            "--refine/--no-refine", help="Refine poses locally; by default those of a run, not of a file."
        ),
    ] = None,
    rounds: Annotated[
        int, typer.Option("--rounds", min=1, max=100, help="Most rounds of refinement; ends by itself.")
    ] = 12,
    start_resolution: Annotated[
        float | None,
        typer.Option(
            "--start-resolution",
            metavar="Å",
            help="Forget what the poses know beyond it before the halves are refined apart.",
        ),
    ] = None,
    b_factor: Annotated[
        float | None,
        typer.Option("--b-factor", metavar="Å²", help="Sharpen with it (-100); by default a Guinier fit."),
    ] = None,
    mask: Annotated[
        Path | None, typer.Option("--mask", metavar="FILE.mrc", help="Mask for the FSC; made by default.")
    ] = None,
    new_halves: NewHalves = False,
    contrast: ContrastOfParticles = 0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of new half sets.")] = 0,
    data: DataMoved = None,
    source: SourceFile = None,
    stacks: Stacks = None,
    overwrite: Overwrite = False,
) -> None:
    """Reconstruct each class: half maps, filtered and sharpened map, FSC, poses as STAR or .cs."""
    from zoo.analysis.markers import RECONSTRUCTION
    from zoo.files import check_folder, whole_folder
    from zoo_tools._places import run_of
    from zoo_tools._progress import exit_on_sigterm, image_progress

    check_folder(out, RECONSTRUCTION, overwrite)
    info, aligned = run_of(place, data, poses)
    # Not before: they take seconds.
    from zoo.analysis.reconstruction.command import Wishes, report_lines, write_reconstruction
    from zoo.analysis.reconstruction.sources import open_place

    wanted = None if refine is None else (rounds if refine else 0)
    wishes = Wishes(box, wanted, start_resolution, b_factor, mask, seed)
    wishes.check()
    found = open_place(place, info, aligned, source, stacks, poses, by, new_halves, seed, contrast)
    for line in found.lines:
        print(f"note: {line}")
    exit_on_sigterm()
    with whole_folder(out, RECONSTRUCTION, overwrite) as partial, image_progress("images") as show:
        reports = write_reconstruction(found, partial, wishes, show, lambda text: print(f"  {text}"))
    for line in report_lines(reports, found):
        print(line)
    print(f"wrote {out}: particles.star, maps.cxc, {reports[0].name}/map.mrc, map_half1_unfil.mrc, fsc.csv …")
