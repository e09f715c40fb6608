"""``zoo-pack``: particle files → a packed data set, or verify one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo_tools._options import Contrast, Outside, TiltConvention, TiltRange, Wedge, contrast_sign
from zoo_tools._run import make_app, run

app = make_app("Pack particles for training.")


@app.command()
def pack(
    particles: Annotated[
        Path,
        typer.Argument(
            metavar="PARTICLES",
            help="RELION .star, cryoSPARC .cs, MRC stack; subtomograms: .star (volumes or 2D tilt stacks), "
            "optimisation_set.star or a folder of MRC/EM volumes.",
        ),
    ],
    out: Annotated[Path | None, typer.Argument(metavar="OUT", help="Folder to write into.")] = None,
    box: Annotated[
        int | None, typer.Option(help="Side of the packed images in pixels (64; subtomograms: their own).")
    ] = None,
    name: Annotated[str, typer.Option(help="Start of the shards' names; left out: that of PARTICLES.")] = "",
    shard_size_mb: Annotated[int, typer.Option(help="Largest shard in MB (100 to 200 is good).")] = 128,
    dtype: Annotated[str, typer.Option(help="float16 or float32 grey values.")] = "float16",
    resample: Annotated[str, typer.Option(help="fourier (crop) or lanczos (anti-aliased).")] = "fourier",
    normalise: Annotated[
        bool, typer.Option("--normalise/--no-normalise", help="Scale each image by its background.")
    ] = True,
    normalisation: Annotated[
        str | None,
        typer.Option(
            help="How: background (mean, std), ramp (plane, std), signal (thesis eq. 49), or tomogram (mean, "
            "std of the whole one). Left out: background; with --labels tomogram."
        ),
    ] = None,
    circle_radius: Annotated[
        float | None, typer.Option(help="Radius of the particle in packed pixels; left out: 3/8 of the box.")
    ] = None,
    contrast: Contrast = "auto",
    pixel_size: Annotated[
        float | None, typer.Option(help="Pixel size of PARTICLES in Å, where the file is wrong or silent.")
    ] = None,
    rescale: Annotated[
        bool,
        typer.Option(
            "--rescale", help="Bring groups of different pixel size and box to one, by Fourier resampling."
        ),
    ] = False,
    passthrough: Annotated[
        list[Path] | None, typer.Option(help="Passthrough .cs that completes a .cs (several allowed).")
    ] = None,
    tomogram: Annotated[
        Path | None, typer.Option(help="Cut boxes of --box voxels from this one, at the places in PARTICLES.")
    ] = None,
    coordinates: Annotated[
        Path | None,
        typer.Option(help="Places in --tomogram (STAR, CSV, text, copick), where PARTICLES is left out."),
    ] = None,
    tomogram_name: Annotated[
        str | None, typer.Option(metavar="NAME", help="How PARTICLES names --tomogram, where that differs.")
    ] = None,
    stacks: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where stacks, volumes or tomogram lie now, if moved.")
    ] = None,
    outside: Outside = "refuse",
    labels: Annotated[
        Path | None,
        typer.Option(metavar="L.mrc", help="What each voxel of --tomogram belongs to, 0 to 127, for edss3d."),
    ] = None,
    label_names: Annotated[
        str | None,
        typer.Option(
            metavar="1=membrane,2=...", help="Names of --labels; those of one name count as one class."
        ),
    ] = None,
    every: Annotated[
        int | None,
        typer.Option(metavar="N", help="Boxes every N voxels of --tomogram, in place of PARTICLES."),
    ] = None,
    pose_normalise: Annotated[
        bool,
        typer.Option("--pose-normalise", help="Cut each box again from --tomogram in its main axes."),
    ] = False,
    wedge: Wedge = None,
    tilt_range: TiltRange = None,
    tilt_convention: TiltConvention = "relion",
    partial_ctf: Annotated[
        str,
        typer.Option(help="Particles whose CTF is known in part: refuse, drop, or ignore (as without CTF)."),
    ] = "refuse",
    tomograms: Annotated[
        Path | None,
        typer.Option(help="tomograms.star of 2D tilt stacks, where it is not beside PARTICLES."),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Pack the first particles only.")] = None,
    seed: Annotated[int, typer.Option(help="Of the one shuffle of all particles.")] = 0,
    processes: Annotated[int | None, typer.Option(help="Worker processes; left out: one per CPU.")] = None,
    num_workers: Annotated[
        int | None, typer.Option(help="Jobs that share the work; left out: what SLURM says, else 1.")
    ] = None,
    worker_index: Annotated[int | None, typer.Option(help="Which of them this one is, from 0.")] = None,
    finalise: Annotated[
        bool, typer.Option("--finalise", help="Only write info.json, once all workers' shards are there.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start anew instead of going on.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Verify every record of OUT, pack nothing.")] = False,
) -> None:
    """Pack PARTICLES or subtomograms into OUT: shuffled TFRecord shards, info.json and table.npz.

    Stopped runs go on where they were when started again; finished ones are left alone.
    """
    if check:
        _check(out or particles, processes)
        return
    import os
    import shlex
    import sys

    from zoo.errors import ZooError
    from zoo.input_files import existing_file

    if coordinates is not None:
        if tomogram is None or out is not None:
            raise ZooError("--coordinates: expected zoo-pack OUT --tomogram T.mrc --coordinates C.star")
        particles, out = coordinates, particles
    if every is not None:
        if tomogram is None or out is not None:
            raise ZooError(
                "--every: expected zoo-pack OUT --tomogram T.mrc --every N --box B, without places"
            )
        particles, out = tomogram, particles
    if out is None:
        raise ZooError("no folder to write to: zoo-pack PARTICLES OUT")
    sign = contrast_sign(contrast)
    if pose_normalise and tomogram is None:
        raise ZooError("--pose-normalise: boxes are cut again from a tomogram; give --tomogram")
    for path in (particles, tomogram, labels, wedge, *(passthrough or [])):
        if path is not None and not path.is_dir():
            existing_file(path)
    # Not before: they take most of a second.
    from zoo.data.packing.partition import worker_share
    from zoo.data.packing.shards import OWN_BOX, PackSettings
    from zoo.data.subtomograms import holds_subtomograms
    from zoo_tools._progress import exit_on_sigterm, image_progress

    volumes = tomogram is not None or holds_subtomograms(particles)
    if not volumes and (wedge is not None or tilt_range is not None or tilt_convention != "relion"):
        raise ZooError(
            f"{particles}: holds no subtomograms; --tilt-convention, --wedge and --tilt-range are only for "
            "these"
        )
    if not volumes and (labels is not None or label_names is not None):
        raise ZooError(f"{particles}: holds no subtomograms; --labels are those of a --tomogram's voxels")
    if not volumes and tomograms is not None:
        raise ZooError(f"{particles}: holds no subtomograms; --tomograms is only for 2D tilt stacks of these")
    settings = PackSettings(
        box=(OWN_BOX if volumes else 64) if box is None else box,
        dtype=dtype,
        resample=resample,
        normalisation=(normalisation or ("background" if labels is None else "tomogram"))
        if normalise
        else "none",
        circle_radius=circle_radius,
        contrast=sign,
        pixel_size_angstrom=pixel_size,
        seed=seed,
        shard_size_mb=shard_size_mb,
        limit=limit,
        partial_ctf=partial_ctf,
        rescale=rescale,
        name=name,
    )
    share = worker_share(num_workers, worker_index, os.environ)
    if share.count > 1:
        print(f"worker {share.index} of {share.count} (from {share.origin})")
    exit_on_sigterm()
    common = {
        "share": share,
        "processes": processes,
        "overwrite": overwrite,
        "finalise_only": finalise,
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }
    notes: list[str] = []
    with image_progress("packing") as progress:
        common["progress"] = progress
        if volumes:
            from zoo.data.packing.pack_subtomograms import VolumeOptions, pack_subtomograms

            options = VolumeOptions(
                tomogram=None if tomogram is None else str(tomogram),
                wedge=None if wedge is None else str(wedge),
                tilt_range_deg=tilt_range,
                outside=outside,
                tilt_convention=tilt_convention,
                tomogram_name=tomogram_name,
                stacks=None if stacks is None else str(stacks),
                tomograms=None if tomograms is None else str(tomograms),
                pose_normalise=pose_normalise,
                labels=None if labels is None else str(labels),
                label_names=label_names,
                every=every,
            )
            source = None if every is not None else particles
            result = pack_subtomograms(source, out, settings, options, notes=notes.append, **common)
        else:
            from zoo.data.packing.pack_particles import pack_particles

            names = [str(path) for path in passthrough or []] or None
            result = pack_particles(
                particles,
                out,
                settings,
                passthrough=names,
                stacks=None if stacks is None else str(stacks),
                notes=notes.append,
                **common,
            )
    for note in notes:
        print(f"note: {note}")
    if result.contrast:
        print(f"contrast: {result.contrast}")
    if result.written:
        rate = f"{result.images / max(result.seconds, 1e-9):.0f} images/s"
        print(f"wrote {result.written} of {result.shards} shards: {result.images} images, {rate}")
    if result.info is None:
        print(f"{result.pending} shards are left to the other workers")
        return
    info = result.info
    state = "packed" if result.written or finalise else "already packed, nothing to do"
    unit = "voxels" if volumes else "pixels"
    print(
        f"{info.path}: {state}: {info.count} {info.kind} of {info.box} {unit} at "
        f"{info.voxel_size_angstrom:.3f} Å in {len(info.shards)} shards"
    )


def _check(folder: Path, processes: int | None) -> None:
    from zoo.data.records.check import check_dataset
    from zoo_tools._progress import exit_on_sigterm, image_progress

    exit_on_sigterm()
    with image_progress("checking") as progress:
        info = check_dataset(folder, processes, progress)
    print(f"{info.path}: all {info.count} records in {len(info.shards)} shards are whole and consistent")


def main() -> None:
    """Entry point of ``zoo-pack``."""
    import sys

    if sys.argv[1:2] == ["maps"]:
        from zoo_tools.pack_maps import main as pack_maps

        return pack_maps()
    if sys.argv[1:2] == ["join"]:
        from zoo_tools.pack_join import main as pack_join

        return pack_join()
    run(app, "zoo-pack")
