"""``zoo-infer variability``: how particles with known poses vary, and series of maps along each component."""

from __future__ import annotations

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


def variability(
    place: Place,
    out: OutOfMaps,
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
    box: MapBox = None,
    poses: Poses = None,
    new_halves: NewHalves = False,
    contrast: ContrastOfParticles = 0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the random starts.")] = 0,
    data: DataMoved = None,
    source: SourceFile = None,
    stacks: Stacks = None,
    overwrite: Overwrite = False,
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
