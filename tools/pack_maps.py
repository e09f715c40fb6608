"""``zoo-pack maps``: density maps and atomic models → a packed data set of maps with names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo_tools._options import contrast_sign
from zoo_tools._run import make_app, run

app = make_app("Pack density maps for training.")


@app.command()
def maps(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE... OUT", help="Maps (MRC, EM), models (PDB, mmCIF); last the folder."),
    ],
    box: Annotated[int, typer.Option(help="Side of the packed maps in voxels.")] = 64,
    voxel: Annotated[float, typer.Option("--voxel", "--pixel-size", help="Å per voxel.")] = 6.0,
    resolution: Annotated[
        float | None, typer.Option(help="Of the densities of models in Å (default: 2 voxels).")
    ] = None,
    contrast: Annotated[str, typer.Option(help="auto (each measured), +1 (bright) or -1 (dark).")] = "auto",
    dtype: Annotated[str, typer.Option(help="float16 or float32 grey values.")] = "float16",
    seed: Annotated[int, typer.Option(help="Of the one shuffle of all maps.")] = 0,
    shard_size_mb: Annotated[int, typer.Option(help="Largest shard in MB: as much is in memory.")] = 128,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the set in OUT.")] = False,
) -> None:
    """Pack density maps into OUT: centred on their mass, dense matter bright, with a standard deviation of 1.

    Their names are those of the files. A folder called maps is packed as ./maps.
    """
    import shlex
    import sys

    from zoo.data.formats.stored_volumes import StoredVolumes
    from zoo.data.packing.pack_arrays import pack_maps
    from zoo.data.packing.shards import PackSettings
    from zoo.errors import ZooError
    from zoo.simulate.map_set import each_map, map_names

    *paths, out = files
    if not paths:
        raise ZooError(f"zoo-pack maps {out}: expected FILE... OUT (a folder called maps is given as ./maps)")
    sign = contrast_sign(contrast)
    settings = PackSettings(
        box=box, dtype=dtype, normalisation="none", contrast=1, seed=seed, shard_size_mb=shard_size_mb
    )
    settings.validate()
    notes: list[str] = []
    volumes = StoredVolumes(each_map(paths, box, voxel, resolution, sign, notes.append))
    info = pack_maps(
        volumes,
        map_names(paths),
        out,
        settings,
        voxel_size_angstrom=voxel,
        paths=[path.absolute() for path in paths],
        overwrite=overwrite,
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    ).info
    for note in notes:
        print(f"note: {note}")
    print(f"{info.path}: {info.count} maps of {info.box} voxels at {info.voxel_size_angstrom:.3f} Å")


def main() -> None:
    """The words after ``zoo-pack maps``."""
    import sys

    run(app, "zoo-pack maps", [word for word in sys.argv[2:]])
