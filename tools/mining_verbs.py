"""The verbs of ``zoo-infer`` that take groups of clusters: annotate, labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo_tools._options import Overwrite

_LEVEL = 0.3  # zoo.analysis.mined.DEFAULT_LEVEL, which a test compares: --help imports nothing

Clusters = Annotated[
    Path, typer.Argument(metavar="CLUSTERS", help="Folder of zoo-infer cluster, of cubes of a tomogram.")
]
GroupsFile = Annotated[
    Path | None,
    typer.Option(
        "--groups", metavar="FILE", help="Which clusters are what; groups.yaml in CLUSTERS by default."
    ),
]
Level = Annotated[
    float,
    typer.Option(
        "--level",
        help="Where a decoded cube is something: 0 is its background, 1 its top (99.5th percentile).",
    ),
]
RunFolder = Annotated[
    Path | None, typer.Option("--run", metavar="RUN", help="The run of the clusters, where it has moved.")
]


def annotate(
    clusters: Clusters,
    tomogram: Annotated[
        Path, typer.Option("--tomogram", metavar="FILE", help="The tomogram that the cubes were cut from.")
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for labels, maps, picture and script.")
    ],
    groups: GroupsFile = None,
    level: Level = _LEVEL,
    run: RunFolder = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--source", metavar="FILE", help="The file of places, where it has moved since packing."
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Put the decoded members of each group back into their tomogram: what each voxel is."""
    from zoo.analysis.markers import ANNOTATION
    from zoo.data.formats.tomogram_blocks import TomogramBlocks
    from zoo.files import check_folder, whole_folder

    check_folder(out, ANNOTATION, overwrite)
    blocks = TomogramBlocks(tomogram)
    opened, chosen, model = _open(clusters, groups, level, run)
    # Not before: it takes most of a second.
    from zoo.analysis import annotate as annotations
    from zoo_tools._progress import exit_on_sigterm, image_progress

    exit_on_sigterm()
    with whole_folder(out, ANNOTATION, overwrite) as partial:
        with image_progress("drawing", "cubes") as progress:
            found = annotations.annotate(opened, chosen, model, blocks, level, source, progress)
        voxel = blocks.voxel_size_angstrom or model.voxel_size_angstrom
        written = annotations.write_annotation(partial, found, chosen, blocks, voxel, level, out)
    for number, (name, count) in enumerate(zip(chosen.names, found.cubes.tolist(), strict=True), 1):
        share = float((found.labels == number).mean())
        print(f"{number} {name}: {count:,} cubes, {share:.2%} of the voxels")
    print(f"wrote {out}: {', '.join(written)}")


def labels(
    clusters: Clusters,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the records.")],
    groups: GroupsFile = None,
    level: Level = _LEVEL,
    run: RunFolder = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DIR", help="The records of the clusters, where they have moved."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Pack the cubes of the groups with a label for each voxel: where the decoded cube reaches the level."""
    import shlex
    import sys

    from zoo.data.info import INFO_NAME, DatasetInfo
    from zoo.files import check_folder

    check_folder(out, INFO_NAME, overwrite)
    opened, chosen, model = _open(clusters, groups, level, run)
    info = DatasetInfo.load(opened.data if data is None else data)
    # Not before: it takes most of a second.
    from zoo.analysis.label_records import write_label_records
    from zoo_tools._progress import exit_on_sigterm, image_progress

    exit_on_sigterm()
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    with image_progress("drawing", "cubes") as progress:
        made = write_label_records(out, opened, chosen, model, info, level, overwrite, command, progress)
    voxels = made.count * made.box**3
    for number, name in enumerate(chosen.label_names):
        print(f"{number} {name}: {made.voxel_labels.get(number, 0) / voxels:.2%} of the voxels")
    print(f"wrote {out}: {made.count:,} cubes of {made.box} voxels with a label for each voxel")


def _open(clusters: Path, groups: Path | None, level: float, run: Path | None):
    """The opened clusters, their groups and the model of their run; wrong words before Keras is imported."""
    from zoo.analysis.mined import check_level, open_mined
    from zoo.serving.places import check_model

    check_level(level)
    opened = open_mined(clusters)
    chosen = opened.groups(groups)
    place = opened.run if run is None else run
    check_model(place, "density")
    from zoo.serving.open_model import open_model

    return opened, chosen, open_model(place, "density")
