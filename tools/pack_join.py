"""``zoo-pack join``: labelled boxes of several tomograms → one data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo_tools._run import make_app, run

app = make_app("Join data sets whose voxels are labelled.")


@app.command()
def join(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR... OUT", help="Data sets of zoo-pack; last the new folder.")
    ],
    seed: Annotated[int, typer.Option(help="Of the one shuffle of all records.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the set in OUT.")] = False,
) -> None:
    """Join boxes of several tomograms with a label for each voxel: labels of one name are one class."""
    import shlex
    import sys

    from zoo.data.packing.join import join_labelled

    *sets, out = folders
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    info = join_labelled(sets, out, overwrite, seed, command).info
    counts = ", ".join(f"{number} {name}" for number, name in enumerate(info.label_names()))
    print(f"{info.path}: {info.count} subtomograms of {info.box} voxels; voxels are {counts}")


def main() -> None:
    """The words after ``zoo-pack join``."""
    import sys

    run(app, "zoo-pack join", [word for word in sys.argv[2:]])
