"""The verbs of ``zoo-infer`` that ask a generator of maps: generate, interpolate, neighbours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo_tools._options import Overwrite, Run

Seed = Annotated[int, typer.Option(help="Of the latent vectors: equal for equal seeds.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the maps.")]


def generate(
    folder: Run,
    out: Out,
    count: Annotated[int, typer.Option("--count", metavar="N", min=1, max=1_000_000)] = 16,
    seed: Seed = 0,
    records: Annotated[
        bool, typer.Option("--records", help="Records of the kind maps, as of zoo-pack maps, instead of MRC.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Draw maps that could be complexes: MRC files with a ChimeraX script and a picture, or records."""
    from zoo.analysis.markers import SERIES
    from zoo.analysis.paths import MOST_MAPS
    from zoo.data.info import INFO_NAME
    from zoo.errors import ZooError
    from zoo.files import check_folder
    from zoo.serving.places import check_model

    check_seed(seed)
    check_folder(out, INFO_NAME if records else SERIES, overwrite)
    check_model(folder, "generate")
    if count > MOST_MAPS and not records:
        raise ZooError(f"--count {count}: at most {MOST_MAPS:,} are written as MRC; give --records too")
    # Not before: it imports Keras.
    from zoo.analysis.pseudo_maps import check_generator, draw_latents
    from zoo.serving.open_model import open_model

    model = open_model(folder, "generate")
    latents = draw_latents(count, check_generator(model), seed)
    voxel = model.voxel_size_angstrom
    if records:
        _write_records(model, latents, out, overwrite)
        print(f"wrote {out}: {count:,} maps of {model.box} voxels at {voxel:.4g} Å, as records")
        return
    written = _write_series(model, {"sample": latents}, out, overwrite)
    print(f"wrote {out}: {written} maps of {model.box} voxels at {voxel:.4g} Å; {out / 'sample.cxc'}")


def interpolate(
    folder: Run,
    start: Annotated[Path, typer.Option("--from", metavar="A", help="Map or model (MRC, EM, PDB, mmCIF).")],
    end: Annotated[Path, typer.Option("--to", metavar="B", help="The same.")],
    out: Out,
    steps: Annotated[int, typer.Option(metavar="N", max=1000, help="Maps, both ends included.")] = 8,
    regressor: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Run of regressor3d for this generator; without, the most similar samples are the ends.",
        ),
    ] = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Write the maps on the way from one complex to another, as an MRC series with a ChimeraX script."""
    import numpy as np

    from zoo.analysis.markers import SERIES
    from zoo.files import check_folder
    from zoo.input_files import existing_file
    from zoo.serving.places import check_model

    check_seed(seed)
    check_folder(out, SERIES, overwrite)
    for path in (start, end):
        existing_file(path)
    check_model(folder, "generate")
    if regressor is not None:
        check_model(regressor, "encode", "generate")
    # Not before: they import Keras.
    from zoo.analysis.interpolate import framed_maps, latents_by_regressor, latents_by_search, path_between
    from zoo.analysis.pseudo_maps import check_generator, check_same_generator, generated_maps
    from zoo.metrics.map_sets import correlations
    from zoo.serving.open_model import open_model

    path_between(np.zeros((2, 1)), steps)
    model = open_model(folder, "generate")
    check_generator(model)
    maps = framed_maps([start, end], model, notes=lambda text: print(f"note: {text}"))
    if regressor is not None:
        inverse = open_model(regressor, "encode", "generate")
        check_same_generator(inverse, model)
        ends = latents_by_regressor(inverse, maps)
    else:
        ends = latents_by_search(model, maps, seed=seed)
    found = correlations(maps, np.stack(list(generated_maps(model, ends))))
    written = _write_series(model, {"step": path_between(ends, steps)}, out, overwrite)
    for path, value in zip((start, end), found, strict=True):
        print(f"{path}: correlation {value:.3f} with the end of the way that stands for it")
    print(f"wrote {out}: {written} maps; open them with: chimerax {out / 'step.cxc'}")


def neighbours(
    folder: Run,
    out: Annotated[Path, typer.Option("--out", metavar="FILE.png", help="The picture.")] = Path(
        "neighbours.png"
    ),
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="Known maps; those of the run by default.")
    ] = None,
    count: Annotated[int, typer.Option(metavar="N", min=2, max=100_000, help="Samples.")] = 512,
    turns: Annotated[int, typer.Option(min=1, max=1000, help="Turns of each known map.")] = 16,
    shown: Annotated[int, typer.Option(min=1, max=15, help="Columns of the picture.")] = 5,
    seed: Seed = 0,
) -> None:
    """Draw samples over the known maps nearest to them in the critic's features, and the other way round."""
    from zoo.data.kinds import require_kind
    from zoo.errors import ZooError
    from zoo.files import check_place
    from zoo.serving.places import check_model, open_data_of

    check_seed(seed)
    if out.suffix.lower() != ".png":
        raise ZooError(f"{out}: the picture is a PNG file; name it so")
    check_place(out)
    check_model(folder, "generate", "features")
    info = open_data_of(folder, data)
    require_kind(info, "maps")
    # Not before: they import Keras.
    from zoo.analysis.neighbours import find_neighbours, save_neighbours
    from zoo.serving.open_model import open_model

    found = find_neighbours(open_model(folder, "generate", "features"), info, count, turns, seed)
    save_neighbours(out, found, shown)
    samples, known = (float(each.mean()) for each in found.correlations)
    print(
        f"{count:,} samples beside {len(found.names)} known maps at {turns} turns each: "
        f"{found.coverage:.0%} of the known maps are the nearest of some sample"
    )
    print(f"mean correlation with the nearest: {samples:.3f} of samples, {known:.3f} of known maps")
    print(f"wrote {out}")


def check_seed(seed: int) -> None:
    """Raise ZooError for a seed that NumPy does not take."""
    from zoo.errors import ZooError

    if not 0 <= seed < 2**63:
        raise ZooError(f"--seed {seed}: expected a whole number from 0")


def _write_series(model, series: dict, out: Path, overwrite: bool) -> int:
    from zoo.analysis.map_folder import write_series
    from zoo.analysis.markers import SERIES
    from zoo.files import whole_folder

    with whole_folder(out, SERIES, overwrite) as partial:
        return len(write_series(partial, model, series))


def _write_records(model, latents, out: Path, overwrite: bool) -> None:
    import shlex
    import sys

    from zoo.analysis.pseudo_maps import generated_maps
    from zoo.data.formats.stored_volumes import StoredVolumes
    from zoo.data.packing.pack_arrays import pack_maps
    from zoo.data.packing.shards import PackSettings
    from zoo.simulate.map_set import unit_scale

    settings = PackSettings(box=model.box, normalisation="none", contrast=1, name="sample")
    volumes = StoredVolumes(unit_scale(volume) for volume in generated_maps(model, latents))
    digits = max(3, len(str(len(latents) - 1)))
    pack_maps(
        volumes,
        [f"sample_{i:0{digits}d}" for i in range(len(latents))],
        out,
        settings,
        voxel_size_angstrom=model.voxel_size_angstrom,
        overwrite=overwrite,
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    )
