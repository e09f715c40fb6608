"""``zoo-infer match``: which template a subtomogram holds, and how often chance would do as well."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo_tools._options import Contrast, Outside, TiltConvention, TiltRange, Wedge, contrast_sign


def match(
    subtomograms: Annotated[
        Path,
        typer.Argument(
            metavar="SUBTOMOGRAMS",
            help="STAR (volumes or 2D tilt stacks), optimisation_set.star, folder of volumes; with "
            "--tomogram the places in it.",
        ),
    ],
    templates: Annotated[
        Path,
        typer.Option(
            "--templates",
            metavar="KNOWN",
            help="Folder of maps (MRC, EM) and models (PDB, mmCIF), a data set of zoo-pack maps, or "
            "'embedded': 15 complexes made by code.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for tables and pictures.")],
    null: Annotated[
        Path | None,
        typer.Option(
            "--null",
            metavar="FOLDER",
            help="Maps of the null, as --templates; composites of them beyond their number.",
        ),
    ] = None,
    pseudo: Annotated[
        Path | None,
        typer.Option("--pseudo", metavar="RUN", help="Pseudo-complexes of this run (wgan3d) are the null."),
    ] = None,
    regressor: Annotated[
        Path | None,
        typer.Option(
            "--regressor",
            metavar="RUN",
            help="Inverse of --pseudo (regressor3d): which pseudo-complexes are the template itself.",
        ),
    ] = None,
    count: Annotated[int, typer.Option("--count", metavar="B", help="Draws of the null.")] = 985,
    no_composites: Annotated[
        bool, typer.Option("--no-composites", help="Only the maps of --null themselves.")
    ] = False,
    fdr: Annotated[float, typer.Option("--fdr", help="False discovery rate of passing.star.")] = 0.01,
    box: Annotated[
        int | None,
        typer.Option(help="Voxels a side: of the cut from --tomogram; else a Fourier crop (left out: own)."),
    ] = None,
    step: Annotated[float, typer.Option(help="Degrees between the rotations of the coarse search.")] = 13.0,
    max_shift: Annotated[
        float | None, typer.Option(help="Largest shift in voxels (left out: an eighth of the box).")
    ] = None,
    resolution: Annotated[
        float | None, typer.Option(help="Of the densities of atomic models in Å (left out: 2 voxels).")
    ] = None,
    finest: Annotated[
        float | None,
        typer.Option(
            "--finest",
            help="Finest resolution of the score in Å (left out: a third of the box, 12 shells at most).",
        ),
    ] = None,
    whiten: Annotated[
        bool,
        typer.Option(
            "--whiten/--no-whiten",
            help="Divide every shell of a subtomogram by the root of its power, where noise is not white.",
        ),
    ] = False,
    mirror: Annotated[
        bool,
        typer.Option(
            "--mirror", help="The subtomograms have the other hand: templates and nulls are mirrored in x."
        ),
    ] = False,
    contrast: Contrast = "auto",
    pixel_size: Annotated[
        float | None, typer.Option(help="Voxel size of SUBTOMOGRAMS in Å, where the file is wrong or silent.")
    ] = None,
    tomogram: Annotated[
        Path | None, typer.Option(help="Cut boxes of --box voxels from this one, at the places given.")
    ] = None,
    tomogram_name: Annotated[
        str | None, typer.Option(metavar="NAME", help="How SUBTOMOGRAMS names --tomogram, if that differs.")
    ] = None,
    stacks: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where volumes or tomogram lie now, if moved.")
    ] = None,
    outside: Outside = "refuse",
    wedge: Wedge = None,
    tilt_range: TiltRange = None,
    tilt_convention: TiltConvention = "relion",
    tomograms: Annotated[
        Path | None, typer.Option(help="tomograms.star of 2D tilt stacks, where it is not beside the file.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="The first subtomograms only.")] = None,
    pictures: Annotated[int, typer.Option(help="Histograms of the first N as PNG.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    threads: Annotated[int | None, typer.Option(help="Left out: one per CPU.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also with a --pseudo run that has collapsed.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin anew in DIR.")] = False,
) -> None:
    """Match templates to subtomograms; p-values against nulls, false discovery rates.

    A run that was stopped goes on where it was when started again.
    """
    from zoo.analysis.matching.match_files import MatchInput, check_input, match_files
    from zoo.data.packing.pack_subtomograms import VolumeOptions
    from zoo_tools._progress import exit_on_sigterm, image_progress

    given = MatchInput(
        subtomograms=subtomograms,
        templates=templates,
        null=null,
        count=count,
        composites=not no_composites,
        fdr=fdr,
        box=box,
        step_deg=step,
        max_shift_voxels=max_shift,
        resolution_angstrom=resolution,
        contrast=contrast_sign(contrast),
        mirror=mirror,
        whiten=whiten,
        finest_angstrom=finest,
        pixel_size_angstrom=pixel_size,
        limit=limit,
        pictures=pictures,
        seed=seed,
        threads=threads,
        volumes=VolumeOptions(
            tomogram=None if tomogram is None else str(tomogram),
            wedge=None if wedge is None else str(wedge),
            tilt_range_deg=tilt_range,
            outside=outside,
            tilt_convention=tilt_convention,
            tomogram_name=tomogram_name,
            stacks=None if stacks is None else str(stacks),
            tomograms=None if tomograms is None else str(tomograms),
        ),
    )
    check_input(given, out, pseudo, regressor, overwrite)
    make_source = None
    if pseudo is not None:
        from zoo_tools._pseudo import pseudo_source

        make_source = pseudo_source(pseudo, regressor, seed, force)
    exit_on_sigterm()
    with image_progress("matching", "subtomograms") as progress:
        lines = match_files(
            given, out, make_source, overwrite, notes=lambda text: print(f"note: {text}"), progress=progress
        )
    for line in lines:
        print(line)
    print(f"wrote {out}: matches.star, scores.csv, index.html, histograms/")
