"""``zoo-infer segment``: what every voxel of a tomogram is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo_tools._options import Overwrite, Run, contrast_sign


def segment(
    folder: Run,
    tomogram: Annotated[
        Path, typer.Option("--tomogram", metavar="T.mrc", help="The tomogram (MRC or EM), of any size.")
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for volumes, table, picture and script.")
    ],
    picks: Annotated[
        Path | None,
        typer.Option(
            "--picks", metavar="FILE", help="Only in cubes around these places (STAR, CSV, copick)."
        ),
    ] = None,
    tomogram_name: Annotated[
        str | None,
        typer.Option(
            "--tomogram-name", metavar="NAME", help="How --picks names the tomogram, if it differs."
        ),
    ] = None,
    rescale: Annotated[
        bool,
        typer.Option("--rescale", help="Bring the tomogram to the voxel size that the model learned at."),
    ] = False,
    pixel_size: Annotated[
        float | None,
        typer.Option("--pixel-size", help="Voxel size in Å, where the header is wrong or silent."),
    ] = None,
    contrast: Annotated[
        str, typer.Option(help="auto (as in the run's records), +1 (density is bright) or -1 (dark).")
    ] = "auto",
    window: Annotated[
        int, typer.Option(help="Edge of what the model is given at once, in voxels; memory follows it.")
    ] = 96,
    mirrors: Annotated[
        bool,
        typer.Option(
            "--mirrors", help="The mean over the tomogram and its mirror images; eight times the work."
        ),
    ] = False,
    probabilities: Annotated[
        str, typer.Option(help="How the probability of each class is stored: float32, float16 or none.")
    ] = "float32",
    truth: Annotated[
        Path | None,
        typer.Option("--truth", metavar="L.mrc", help="True labels: prints intersection over union."),
    ] = None,
    label_names: Annotated[
        str | None,
        typer.Option("--label-names", metavar="1=membrane,2=...", help="Names of the labels in --truth."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Say of every voxel of a tomogram what it is: classes, probabilities, volumes, pieces, a picture."""
    from zoo.analysis.markers import SEGMENTATION
    from zoo.errors import ZooError
    from zoo.files import check_folder
    from zoo.input_files import existing_file
    from zoo.serving.places import check_model

    sign = contrast_sign(contrast)
    if label_names is not None and truth is None:
        raise ZooError(f"--label-names {label_names}: names the labels of --truth; give these")
    if tomogram_name is not None and picks is None:
        raise ZooError(f"--tomogram-name {tomogram_name}: is how --picks names --tomogram; give these")
    if pixel_size is not None and not 0 < pixel_size < 1e4:
        raise ZooError(f"--pixel-size {pixel_size:g}: expected more than 0 Å")
    for path in (tomogram, picks, truth):
        if path is not None:
            existing_file(path)
    check_folder(out, SEGMENTATION, overwrite)
    check_model(folder, "segment")
    # Not before: they take most of a second.
    from zoo.analysis.segmentation.segment import SegmentSettings
    from zoo.data.formats.tomogram_blocks import TomogramBlocks

    settings = SegmentSettings(window, sign, rescale, probabilities, pixel_size, mirrors)
    blocks = TomogramBlocks(tomogram)
    from zoo.serving.open_model import open_model

    model = open_model(folder, "segment")
    settings.check(int(model.segments["multiple"]), int(model.segments["reach_voxels"]))
    _segment(model, blocks, out, settings, picks, tomogram_name, truth, label_names, overwrite)


def _segment(model, blocks, out, settings, picks, tomogram_name, truth, label_names, overwrite) -> None:
    from zoo.analysis.markers import SEGMENTATION
    from zoo.analysis.segmentation import report
    from zoo.analysis.segmentation.grey_values import RescaledBlocks
    from zoo.analysis.segmentation.pieces import pieces_of
    from zoo.analysis.segmentation.segment import open_grey, segment
    from zoo.analysis.segmentation.truth import places_in, true_labels
    from zoo.data.formats.tomogram_blocks import TomogramBlocks
    from zoo.files import whole_file, whole_folder
    from zoo_tools._progress import exit_on_sigterm, image_progress

    exit_on_sigterm()
    names = model.segments["class_names"]
    grey, voxel = open_grey(blocks, model, settings, lambda line: print(f"note: {line}"))
    factor = grey.blocks.factor if isinstance(grey.blocks, RescaledBlocks) else 1.0
    places = None if picks is None else places_in(picks, blocks, voxel / factor, tomogram_name) / factor
    known = None if truth is None else true_labels(truth, grey, blocks, names, label_names)
    corner = blocks.corner_xyz_angstrom
    with whole_folder(out, SEGMENTATION, overwrite) as partial:
        with image_progress("segmenting", "blocks") as progress:
            found = segment(partial, model, grey, voxel, settings, corner, places, known, progress)
        labels = TomogramBlocks(partial / SEGMENTATION)
        pieces = pieces_of(labels, len(names))
        lines = report.write_classes(partial / "classes.csv", names, found, pieces, voxel)
        report.save_sections(partial / "sections.png", grey.blocks, labels, names)
        levels = settings.probabilities != "none"
        with whole_file(partial / "segmentation.cxc", "w") as file:
            file.write(report.chimerax_script(names, blocks.path, out, levels, blocks.shape[0]))
        labels.close()
    for line in lines:
        print(line)
    files = f"{SEGMENTATION}, " + "probability_NAME.mrc, " * levels + "classes.csv, sections.png"
    print(f"wrote {out}: {files}; open them with: chimerax {out / 'segmentation.cxc'}")
