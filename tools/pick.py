"""``zoo-pick``: a tomogram → the places of particles in it, as a STAR file and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo_tools._options import Contrast, contrast_sign
from zoo_tools._run import make_app, run

app = make_app("Find particles in a tomogram, without templates.")


@app.command()
def pick(
    tomogram: Annotated[Path, typer.Argument(metavar="TOMOGRAM", help="MRC (gzip too) or EM.")],
    out: Annotated[Path, typer.Option(help="STAR file to write; the picture lies beside it, as .png.")],
    diameter: Annotated[
        float | None,
        typer.Option(help="Of the particles in Å: sets --sigma, with it --smooth and --distance."),
    ] = None,
    sigma: Annotated[
        float | None, typer.Option(help="Narrower of the two Gaussians in voxels; left out: 5.")
    ] = None,
    ratio: Annotated[float, typer.Option(help="The wider Gaussian, in units of the narrower one.")] = 1.1,
    smooth: Annotated[
        float | None, typer.Option(help="Gaussian smoothing before, in voxels; left out: 2.")
    ] = None,
    distance: Annotated[
        float | None, typer.Option(help="Least distance of two picks in voxels; left out: 10.")
    ] = None,
    threshold: Annotated[
        float, typer.Option(help="Least score: standard deviations of the response above its median.")
    ] = 4.0,
    count: Annotated[int | None, typer.Option(help="At most so many picks, the best.")] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Only where this volume, the size of TOMOGRAM, exceeds 0.5.")
    ] = None,
    exclude_edge: Annotated[
        int, typer.Option(help="No picks nearer to a face, in voxels (boxes of 32 to cut: 16).")
    ] = 0,
    contrast: Contrast = "auto",
    pixel_size: Annotated[
        float | None, typer.Option(help="Voxel size in Å, where the header is wrong or silent.")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="Known places (STAR, CSV, copick): prints precision, recall and F1.")
    ] = None,
    within: Annotated[
        float | None,
        typer.Option(help="A pick is right within so many voxels; left out: half of --distance."),
    ] = None,
    tomogram_name: Annotated[
        str | None, typer.Option(metavar="NAME", help="How STAR files name TOMOGRAM, where that differs.")
    ] = None,
    relion5: Annotated[
        bool, typer.Option("--relion5", help="Also RELION 5's columns: places in Å from the middle.")
    ] = False,
) -> None:
    """Difference of Gaussians, its peaks, best first: blobs of about one size in TOMOGRAM.

    A tomogram larger than memory is read in overlapping blocks.
    """
    from zoo.errors import ZooError
    from zoo.files import check_place
    from zoo.input_files import existing_file
    from zoo.picking.settings import PickSettings, check_diameter, check_voxel_size, settings_for_diameter

    if out.suffix.lower() != ".star":
        raise ZooError(f"{out}: picks are written as .star, not {out.suffix or 'without a suffix'}")
    sign = contrast_sign(contrast)
    if diameter is not None:
        check_diameter(diameter)
        if sigma is not None:
            raise ZooError("--diameter and --sigma both given: they say the same thing; give one")
    if pixel_size is not None:
        check_voxel_size(pixel_size)
    if within is not None and not 0 < within < 1e6:
        raise ZooError(f"--within {within:g}: expected more than 0 voxels")
    if within is not None and truth is None:
        raise ZooError(f"--within {within:g}: is how near a pick must be to --truth; give that")
    given = {"smooth_voxels": smooth, "sigma_voxels": sigma, "distance_voxels": distance}
    settings = PickSettings(
        **{name: value for name, value in given.items() if value is not None},
        sigma_ratio=ratio,
        threshold=threshold,
        count=count,
        exclude_edge_voxels=exclude_edge,
        contrast=sign,
    )
    for path in (tomogram, mask, truth):
        if path is not None:
            existing_file(path)
    picture = out.with_suffix(".png")
    check_place(out)
    check_place(picture)
    # Not before: they take most of a second.
    from zoo.analysis.pick_figure import save_picks
    from zoo.data.formats.tomogram_blocks import TomogramBlocks
    from zoo.picking.pick import pick_particles
    from zoo.picking.pick_files import read_truth, write_picks
    from zoo.picking.truth import score_picks
    from zoo_tools._progress import exit_on_sigterm, image_progress

    blocks = TomogramBlocks(tomogram)
    voxel = pixel_size or blocks.voxel_size_angstrom
    if not voxel:
        raise ZooError(f"{tomogram}: its header states no voxel size; give --pixel-size in Å")
    if diameter is not None:
        settings = settings_for_diameter(settings, diameter, voxel, smooth, distance)
    known = None if truth is None else read_truth(truth, blocks.path, voxel, tomogram_name)
    exit_on_sigterm()
    with image_progress("picking", "blocks") as progress:
        picks = pick_particles(blocks, settings, None if mask is None else TomogramBlocks(mask), progress)
    write_picks(picks, out, blocks.path, voxel, tomogram_name, relion5)
    groups = {"pick": picks.places_voxel}
    if known is not None:
        near = settings.distance_voxels / 2 if within is None else within
        scores = score_picks(picks.places_voxel, known[0], near)
        groups = {
            "right": picks.places_voxel[scores.match >= 0],
            "wrong": picks.places_voxel[scores.match < 0],
            "missed": known[0][~scores.found],
        }
    save_picks(picture, blocks.read, blocks.shape, groups, settings.radius_voxel)
    for note in picks.notes:
        print(f"note: {note}")
    print(f"contrast: {picks.contrast}")
    print(
        f"{out}: {len(picks)} picks with scores from {picks.scores[-1]:.3g} to {picks.scores[0]:.3g}, of "
        f"{picks.peaks} peaks; sigma {settings.sigma_voxels:.3g} voxels fits balls "
        f"{2 * settings.radius_voxel * voxel:.3g} Å across"
    )
    print(f"{picture}: sections with circles around the picks")
    if known is not None:
        _tell_truth(scores, known[1])


def _tell_truth(scores, labels) -> None:
    right, found = int((scores.match >= 0).sum()), scores.found
    print(
        f"truth: {right} of {len(scores.match)} picks are right, {int(found.sum())} of {len(found)} "
        f"particles found within {scores.within_voxels:.3g} voxels: precision {scores.precision:.3f}, recall "
        f"{scores.recall:.3f}, F1 {scores.f1:.3f}"
    )
    classes = sorted({int(label) for label in labels if label >= 0})
    if len(classes) > 1:
        each = (f"class {label}: {int(found[labels == label].sum())} of {int((labels == label).sum())}"
                for label in classes)  # fmt: skip
        print("found of " + ", ".join(each))


def main() -> None:
    """Entry point of ``zoo-pick``."""
    run(app, "zoo-pick")
