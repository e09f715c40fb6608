"""Options that several commands have, with one name, one meaning and one help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Run = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="Run folder of zoo-train, folder of zoo-export, or a pretrained name."
    ),
]
Place = Annotated[
    Path,
    typer.Argument(
        metavar="PLACE",
        help="Run folder of zoo-train, folder of zoo-infer cluster, data set of zoo-pack, .star or .cs.",
    ),
]
OutOfMaps = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for maps and particle files.")]
MapBox = Annotated[
    int | None,
    typer.Option("--box", metavar="N", help="Voxels of the maps; the pixels of the images by default."),
]
Poses = Annotated[
    str | None,
    typer.Option(
        "--poses", metavar="FILE|known", help="Poses of another file, or those of the source (known)."
    ),
]
NewHalves = Annotated[
    bool, typer.Option("--new-halves", help="Draw half sets, whatever rlnRandomSubset says.")
]
ContrastOfParticles = Annotated[
    int,
    typer.Option(
        "--contrast",
        min=-1,
        max=1,
        help="-1: particles are dark; by default as packed, or as the file says.",
    ),
]
DataMoved = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Data set of the run, where it has moved."),
]
SourceFile = Annotated[
    Path | None,
    typer.Option("--source", metavar="FILE", help="The particle file, where it has moved since packing."),
]
Stacks = Annotated[
    Path | None,
    typer.Option("--stacks", metavar="DIR", help="Where its images lie now, if they have moved."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result in DIR.")]

Contrast = Annotated[str, typer.Option(help="auto (measured), +1 (bright) or -1 (dark).")]
Outside = Annotated[
    str, typer.Option(help="Boxes beyond the tomogram: refuse, drop, or clip (filled with the mean).")
]
Wedge = Annotated[
    Path | None, typer.Option(help="Fourier mask of all subtomograms: 1 measured, DC in the middle.")
]
TiltRange = Annotated[
    tuple[float, float] | None,
    typer.Option(metavar="MIN MAX", help="Tilts about y of all subtomograms, in degrees."),
]
TiltConvention = Annotated[
    str, typer.Option(help="Sign of --tilt-range: relion (and Warp), or imod (.tlt files, AreTomo).")
]


def contrast_sign(word: str) -> int:
    """The sign that ``--contrast`` gives, 0 for auto; raises ZooError for another word."""
    from zoo.errors import ZooError

    if word not in ("auto", "+1", "1", "-1"):
        raise ZooError(f"--contrast {word}: expected auto, +1 or -1")
    return 0 if word == "auto" else int(word)
