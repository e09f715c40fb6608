"""``zoo-infer``: what a trained run says about particles: latents, clusters, maps, selections."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo_tools import generate_verbs, map_verbs, mining_verbs
from zoo_tools._options import Overwrite, Run, SourceFile, Stacks
from zoo_tools._reconstruct import reconstruct
from zoo_tools._run import make_app, run
from zoo_tools._segment import segment
from zoo_tools._variability import variability
from zoo_tools.match_verb import match

app = make_app(
    "Encode particles with a trained run, cluster them, write maps, select particles; judge and draw maps."
)

Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Data set of zoo-pack; that of the run by default."),
]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, max=100_000, help="Images encoded at once.")]
By = Annotated[
    str,
    typer.Option(
        "--by",
        help="encoder (one pass), likelihood (all poses searched under the states' maps), or auto: the "
        "likelihood where the run has states.",
    ),
]


@app.command()
def encode(
    folder: Run,
    out: Annotated[Path, typer.Option("--out", metavar="FILE.npz", help="Latents of every particle.")],
    data: Data = None,
    star: Annotated[
        Path | None,
        typer.Option(
            "--star",
            metavar="OUT.star",
            help="Also the source file with columns zooLatent0 … (.star or .cs).",
        ),
    ] = None,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Also cluster (UMAP, HDBSCAN): column zooCluster.")
    ] = False,
    source: SourceFile = None,
    stacks: Stacks = None,
    batch_size: BatchSize = 128,
    by: By = "auto",
) -> None:
    """Write the latent coordinates of every particle."""
    from zoo.analysis.latent import check_npz_name
    from zoo.analysis.selection import check_output, latent_columns, open_source, write_selection
    from zoo.files import check_place
    from zoo.serving.places import check_model, open_data_of

    check_npz_name(out)
    check_place(out)
    check_model(folder, "encode")
    info = open_data_of(folder, data)
    table = open_source(info, source, stacks) if star else None
    if star:
        check_output(star, table)
    # Not before: they take seconds.
    from zoo.analysis.cluster import cluster_latents
    from zoo.analysis.cluster_report import save_clusters
    from zoo.serving.open_model import open_model

    model = open_model(folder, "encode")
    latents = _encode(model, info, batch_size, by)
    found = cluster_latents(latents.z_mean, latents.label) if cluster else None
    if found:
        save_clusters(out, latents, found)
    else:
        latents.save(out)
    print(f"wrote {out}: {len(latents):,} particles, {latents.size} coordinates each, {_ways(latents)}")
    if star:
        write_selection(
            table, latents.source_row, star, latent_columns(latents.z_mean, found and found.cluster)
        )
        print(f"wrote {star}")
        _tell_left_behind(table, star)


@app.command()
def cluster(
    folder: Run,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for tables, maps and figures.")],
    data: Data = None,
    method: Annotated[
        str, typer.Option(help="auto, umap-hdbscan, hdbscan (of the latents themselves) or kmeans.")
    ] = "auto",
    clusters: Annotated[
        int | None, typer.Option("--clusters", metavar="K", help="Number of clusters, for kmeans.")
    ] = None,
    min_cluster_size: Annotated[
        int | None, typer.Option(help="HDBSCAN's smallest cluster; 3 % of the particles by default.")
    ] = None,
    min_samples: Annotated[int, typer.Option(help="HDBSCAN's min_samples.")] = 10,
    assign_all: Annotated[
        bool,
        typer.Option("--assign-all", help="Particles that HDBSCAN leaves out go to their likeliest cluster."),
    ] = False,
    neighbours: Annotated[int, typer.Option(help="UMAP's neighbours.")] = 30,
    min_dist: Annotated[float, typer.Option(help="UMAP's min_dist.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of UMAP and K-means.")] = 0,
    path: Annotated[
        int, typer.Option("--path", metavar="N", min=1, max=1000, help="Maps on each cluster's path.")
    ] = 4,
    truth: Annotated[
        Path | None,
        typer.Option(
            "--truth", metavar="DIR", help="True maps class_*.mrc; maps/ beside the particle file if there."
        ),
    ] = None,
    no_truth: Annotated[bool, typer.Option("--no-truth", help="Do not compare with true maps.")] = False,
    no_selections: Annotated[
        bool, typer.Option("--no-selections", help="Write no particle files per cluster.")
    ] = False,
    source: SourceFile = None,
    stacks: Stacks = None,
    batch_size: BatchSize = 128,
    by: By = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Find the classes: tables, particle files, maps and a path of maps per cluster, figures."""
    from zoo.analysis.cluster import ClusterSettings, cluster_latents
    from zoo.analysis.markers import CLUSTERS
    from zoo.files import check_folder, whole_folder
    from zoo.serving.places import check_model, open_data_of

    settings = ClusterSettings(
        method,
        clusters,
        neighbours,
        min_dist,
        min_samples,
        min_cluster_size,
        random_state=seed,
        assign_all=assign_all,
    )
    check_folder(out, CLUSTERS, overwrite)
    check_model(folder, "encode", "density")
    info = open_data_of(folder, data)
    settings.check(info.count)
    # Not before: they take seconds.
    from zoo.analysis.cluster_cubes import holds_cubes
    from zoo.analysis.cluster_report import format_report, write_report
    from zoo.analysis.groups import GROUPS_NAME
    from zoo.analysis.selection import open_source
    from zoo.analysis.truth import read_truths, truth_folder

    with whole_folder(out, CLUSTERS, overwrite) as partial:
        from zoo.serving.open_model import open_model

        table = None if no_selections else open_source(info, source, stacks)
        model = open_model(folder, "encode", "density")
        cubes = info if holds_cubes(info) else None
        # Cubes of a tomogram lie in any pose and hold neighbours: compared with true maps only when asked to.
        truths = truth or (None if cubes else truth_folder(source or info.source.get("path")))
        truths = (
            read_truths(truths, model.box, model.voxel_size_angstrom) if truths and not no_truth else None
        )
        latents = _encode(model, info, batch_size, by)
        print(f"clustering {len(latents):,} particles ({method}; latents {_ways(latents)}) …")
        found = cluster_latents(latents.z_mean, latents.label, settings)
        report = write_report(
            partial,
            model,
            latents,
            found,
            table,
            path,
            truths,
            lambda step: print(f"  {step} …"),
            cubes,
            {"run": str(Path(folder).absolute() if folder.exists() else folder), "data": str(info.path)},
        )
    print(format_report(report))
    picture = "montage.png" if cubes else "slices.png"
    print(f"wrote {out}: clusters.npz, clusters.csv, latent.png, {picture}, maps.cxc, cluster_00/ …")
    if cubes:
        print(
            f"look at {out / picture} and put the clusters that you recognise into groups: "
            f"{out / GROUPS_NAME}"
        )


@app.command()
def maps(
    folder: Run,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the maps.")],
    latents: Annotated[
        Path | None, typer.Option("--latents", metavar="FILE.npz", help="One map per latent of this file.")
    ] = None,
    clusters: Annotated[
        Path | None,
        typer.Option("--clusters", metavar="DIR", help="One map per cluster of zoo-infer cluster."),
    ] = None,
    pca: Annotated[
        int | None,
        typer.Option(
            "--pca",
            metavar="N",
            min=1,
            max=1000,
            help="N maps from the 5th to the 95th percentile of a principal component: of the latents, of "
            "each cluster, or of the run's own data (10, if nothing else is asked for).",
        ),
    ] = None,
    component: Annotated[int, typer.Option(help="Which principal component, from 0.")] = 0,
    data: Data = None,
    batch_size: BatchSize = 128,
    overwrite: Overwrite = False,
) -> None:
    """Write maps of latents, of clusters, or along a principal component, and a ChimeraX script."""
    from zoo.analysis.markers import SERIES
    from zoo.files import check_folder, whole_folder
    from zoo.serving.places import check_model, open_data_of

    if latents is not None and clusters is not None:
        raise typer.BadParameter("give --latents or --clusters, not both")
    check_folder(out, SERIES, overwrite)
    check_model(folder, "density")
    # Not before: it takes seconds.
    from zoo.analysis.map_folder import choose_series, write_series

    with whole_folder(out, SERIES, overwrite) as partial:
        from zoo.serving.open_model import open_model

        model = open_model(folder, "density")
        if latents is None and clusters is None:
            latents = _encode(model, open_data_of(folder, data), batch_size)
            pca = pca or 10
        series = choose_series(model, latents, clusters, pca, component)
        written = write_series(partial, model, series)
    print(f"wrote {out}: {len(written)} maps; open them with: chimerax {out / next(iter(series))}.cxc")


@app.command()
def select(
    particles: Annotated[
        Path,
        typer.Argument(
            metavar="PARTICLES",
            help="Folder of zoo-infer cluster, latents .npz, data set of zoo-pack, or a .star or .cs file.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Selected particles, .star or .cs.")],
    keep: Annotated[
        str | None, typer.Option("--keep", metavar="0,2", help="Clusters to keep (-1: the unassigned).")
    ] = None,
    uids: Annotated[
        Path | None,
        typer.Option("--uids", metavar="FILE", help="Particles of these uids, one a line or .npy."),
    ] = None,
    rows: Annotated[
        Path | None,
        typer.Option("--rows", metavar="FILE", help="These rows of the file, from 0, one a line or .npy."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where", metavar="'COLUMN > 1'", help="Range of any column (several allowed: all hold)."
        ),
    ] = None,
    complement: Annotated[
        bool, typer.Option("--complement", help="All particles but those that were chosen.")
    ] = False,
    source: SourceFile = None,
    stacks: Stacks = None,
) -> None:
    """Write some of the particles or subtomograms back as the file that they came from."""
    from zoo.analysis.choose_rows import choose, open_particles
    from zoo.analysis.cluster_report import parse_clusters
    from zoo.analysis.selection import check_output

    clusters = None if keep is None else parse_clusters(keep)
    found = open_particles(particles, out, source, stacks)
    check_output(out, found.table)
    count = found.write(choose(found, clusters, uids, rows, where or (), complement), out)
    print(f"wrote {out}: {count:,} of {len(found):,} {found.table.kind}")
    _tell_left_behind(found.table, out)


def _tell_left_behind(table, path: Path) -> None:
    from zoo.data.particles import columns_left_behind

    lost = columns_left_behind(table, path)
    if lost:
        print(f"note: columns of {table.source.path} that {path.suffix} has no place for: {', '.join(lost)}")


@app.command()
def align(
    folder: Run,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE.star", help="The source file with poses and classes.")
    ],
    data: Data = None,
    source: SourceFile = None,
    stacks: Stacks = None,
    batch_size: BatchSize = 16,
) -> None:
    """Write the pose and class of every particle or subtomogram against what the run has learned."""
    from zoo.analysis.selection import check_output, check_place
    from zoo.serving.places import check_model, open_data_of

    check_place(out)
    check_model(folder, "align")
    info = open_data_of(folder, data)
    table = _open_if_there(info, source, stacks)
    if table is not None:
        check_output(out, table)
    elif out.suffix.lower() != ".star":
        raise typer.BadParameter(f"{out}: poses are written as .star, not {out.suffix or 'without a suffix'}")
    # Not before: they import Keras.
    from zoo.analysis.columns import write_columns
    from zoo.analysis.rows import fit_notes, rows_of
    from zoo.models.outcome import pose_columns
    from zoo.serving.open_model import open_model
    from zoo_tools._progress import image_progress

    model = open_model(folder, "align")
    for note in fit_notes(model, info):
        _note(note)
    _note(info.contrast_note())
    with image_progress("aligning") as show:
        found = rows_of(model, "align", info, batch_size, progress=show)
    print(write_columns(info, out, pose_columns(found), table))


def _open_if_there(info, source, stacks):
    """The file behind a data set; None, told before hours of work, where nobody said where it went."""
    from zoo.analysis.selection import open_source
    from zoo.errors import ZooError

    try:
        return open_source(info, source, stacks)
    except ZooError as error:
        if source or stacks:
            raise
        _note(f"only poses will be written, without the columns of the packed file: {error}")
        return None


app.command()(mining_verbs.annotate)
app.command()(mining_verbs.labels)
app.command()(map_verbs.fit)
app.command()(map_verbs.symmetry)
app.command()(generate_verbs.generate)
app.command()(generate_verbs.interpolate)
app.command()(generate_verbs.neighbours)
app.command()(reconstruct)
app.command()(variability)
app.command()(segment)
app.command()(match)


def _note(text: str) -> None:
    if text:
        print(f"note: {text}")


def _encode(model, info, batch_size: int, by: str = "encoder"):
    from zoo.analysis.latent import encode_dataset, way_of
    from zoo.analysis.rows import fit_notes
    from zoo_tools._progress import image_progress

    for note in fit_notes(model, info):
        _note(note)
    _note(info.contrast_note())
    way = way_of(model, by)
    with image_progress("encoding") as show:
        return encode_dataset(model, info, batch_size, show, way)


def _ways(latents) -> str:
    if latents.way == "likelihood":
        return "by likelihood (the encoder's own: z_mean_encoder)"
    return "by the encoder"


def main() -> None:
    """Entry point of ``zoo-infer``."""
    run(app, "zoo-infer")
