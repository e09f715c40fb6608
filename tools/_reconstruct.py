"""``zoo-infer reconstruct``: maps, half maps and FSC of particles whose poses a run or a file knows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def reconstruct(
    place: Annotated[
        Path,
        typer.Argument(
            metavar="PLACE",
            help="Run folder of zoo-train, folder of zoo-infer cluster, data set of zoo-pack, .star or .cs.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for maps and particle files.")],
    box: Annotated[
        int | None,
        typer.Option("--box", metavar="N", help="Voxels of the maps; the pixels of the images by default."),
    ] = None,
    poses: Annotated[
        str | None,
        typer.Option(
            "--poses", metavar="FILE|known", help="Poses of another file, or those of the source (known)."
        ),
    ] = None,
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
    new_halves: Annotated[
        bool, typer.Option("--new-halves", help="Draw half sets, whatever rlnRandomSubset says.")
    ] = False,
    contrast: Annotated[
        int,
        typer.Option(
            "--contrast",
            min=-1,
            max=1,
            help="-1: particles are dark; by default as packed, or as the file says.",
        ),
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of new half sets.")] = 0,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DIR", help="Data set of the run, where it has moved."),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--source", metavar="FILE", help="The particle file, where it has moved since packing."),
    ] = None,
    stacks: Annotated[
        Path | None,
        typer.Option("--stacks", metavar="DIR", help="Where its images lie now, if they have moved."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result in DIR.")] = False,
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
