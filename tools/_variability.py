"""``zoo-infer variability``: how particles with known poses vary, and series of maps along each component."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def variability(
    place: Annotated[
        Path,
        typer.Argument(
            metavar="PLACE",
            help="Run folder of zoo-train, folder of zoo-infer cluster, data set of zoo-pack, .star or .cs.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for maps and particle files.")],
    components: Annotated[
        int, typer.Option("--components", min=1, max=10, help="Ways to vary that are looked for.")
    ] = 2,
    frames: Annotated[int, typer.Option("--frames", min=2, max=99, help="Maps along each component.")] = 10,
    resolution: Annotated[
        float | None,
        typer.Option(
            "--resolution",
            metavar="Å",
            help="Of the components; by default where the half sets of the mean have an FSC of 0.5.",
        ),
    ] = None,
    clusters: Annotated[
        int,
        typer.Option(
            "--clusters",
            metavar="K",
            min=0,
            max=100,
            help="Part the particles into K classes by their coordinates, for zoo-infer reconstruct.",
        ),
    ] = 0,
    rounds: Annotated[
        int, typer.Option("--rounds", min=1, max=1000, help="Most rounds of each half set; ends by itself.")
    ] = 25,
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
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the random starts.")] = 0,
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
    """Principal components of the density of all particles, and maps along each of them.

    All classes are taken together, in the poses that they have: best of a run with --set classes=1.
    """
    from zoo.analysis.markers import VARIABILITY
    from zoo.files import check_folder, whole_folder
    from zoo_tools._places import run_of
    from zoo_tools._progress import exit_on_sigterm, image_progress

    check_folder(out, VARIABILITY, overwrite)
    info, aligned = run_of(place, data, poses)
    # Not before: they take seconds.
    from zoo.analysis.reconstruction.sources import open_place
    from zoo.analysis.reconstruction.variability_files import VariabilityWishes, write_variability

    wishes = VariabilityWishes(components, frames, resolution, box, rounds, clusters, seed)
    wishes.check()
    found = open_place(place, info, aligned, source, stacks, poses, "none", new_halves, seed, contrast)
    for line in found.lines:
        print(f"note: {line}")
    exit_on_sigterm()
    with whole_folder(out, VARIABILITY, overwrite) as partial, image_progress("images") as show:
        lines = write_variability(found, partial, wishes, show, lambda text: print(f"  {text}"))
    print(*lines, sep="\n")
    print(f"wrote {out}: mean.mrc, component_1.mrc, component_1/series.cxc, coordinates.png, particles.star")
