"""``zoo-simulate``: data whose every parameter is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo_tools._run import make_app, run

app = make_app("Simulate data with known truth.")


@app.callback()
def simulate() -> None:
    """Simulate data with known truth."""


@app.command()
def particles(
    out: Annotated[Path, typer.Option(help="Folder to write: particles.star, particles.mrcs, maps/.")],
    map: Annotated[
        list[Path] | None, typer.Option(help="Density map, one class (repeatable; MRC, gzip too, or EM).")
    ] = None,
    structure: Annotated[
        list[Path] | None, typer.Option(help="Atomic model, one class (repeatable; PDB or mmCIF, gzip too).")
    ] = None,
    count: Annotated[int, typer.Option(help="Particles per class.")] = 1000,
    box: Annotated[
        int | None, typer.Option(help="Image side in pixels (default: the map's; models 64, embedded 32).")
    ] = None,
    pixel_size: Annotated[
        float | None,
        typer.Option("--pixel-size", "--voxel", help="Å per pixel (default: the whole map fills the box)."),
    ] = None,
    resolution: Annotated[
        float | None, typer.Option(help="Of --structure densities in Å (default: 2 pixels).")
    ] = None,
    assembly: Annotated[
        str | None, typer.Option(help="Biological assembly to build from each --structure, such as 1.")
    ] = None,
    chains: Annotated[
        list[str] | None,
        typer.Option(help="Chains to keep, A,B,C: one for each --structure in order (- for all)."),
    ] = None,
    remove_chains: Annotated[
        list[str] | None,
        typer.Option(help="Chains to leave out, A,B,C: one for each --structure in order (- for none)."),
    ] = None,
    common_frame: Annotated[
        bool, typer.Option("--common-frame", help="Centre all structures as the first: they are aligned.")
    ] = False,
    morph: Annotated[
        int | None, typer.Option(help="Conformations between two aligned --structure, ends included.")
    ] = None,
    sigma: Annotated[
        float | None, typer.Option(help="Noise, in units of the signal in the circle (default 1).")
    ] = None,
    snr: Annotated[
        float | None, typer.Option(help="Signal variance / noise variance in the box, instead of --sigma.")
    ] = None,
    scale: Annotated[
        bool, typer.Option("--scale/--no-scale", help="Bring the signal in the circle to unit deviation.")
    ] = True,
    scale_each: Annotated[
        bool, typer.Option("--scale-each", help="The same for each class alone: maps in unlike grey units.")
    ] = False,
    ctf: Annotated[bool, typer.Option("--ctf/--no-ctf", help="Apply a contrast transfer function.")] = True,
    defocus: Annotated[
        tuple[float, float], typer.Option(metavar="MIN MAX", help="Range in Å, underfocus positive.")
    ] = (10000.0, 25000.0),
    astigmatism: Annotated[float, typer.Option(help="Largest defocus difference U - V in Å.")] = 200.0,
    voltage: Annotated[float, typer.Option(help="In kV.")] = 300.0,
    cs: Annotated[float, typer.Option(help="Spherical aberration in mm.")] = 2.7,
    amplitude_contrast: Annotated[float, typer.Option(help="Fraction from 0 to below 1.")] = 0.1,
    shift: Annotated[float, typer.Option(help="Largest shift along x and y in pixels.")] = 0.0,
    preferred_share: Annotated[
        float, typer.Option(help="Share of the particles that are seen about one direction, +z of the map.")
    ] = 0.0,
    preferred_within: Annotated[float, typer.Option(help="How near to it these are, in degrees.")] = 20.0,
    seed: Annotated[int, typer.Option(help="Of poses, optics, shifts and noise.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the set in --out.")] = False,
) -> None:
    """Particles from maps or atomic models, as RELION 3.1 reads them.

    Without --map and --structure: the three embedded assembly intermediates.
    """
    import shlex
    import sys

    _require_files(map)
    from zoo.simulate.gather import gather_classes, structure_sources
    from zoo.simulate.particles import simulate_particles
    from zoo.simulate.settings import ParticleSettings
    from zoo_tools._progress import exit_on_sigterm, image_progress

    settings = ParticleSettings(
        count=count,
        sigma=sigma,
        snr=snr,
        seed=seed,
        apply_ctf=ctf,
        defocus_range_angstrom=defocus,
        astigmatism_max_angstrom=astigmatism,
        voltage_kv=voltage,
        cs_mm=cs,
        amplitude_contrast=amplitude_contrast,
        shift_max_px=shift,
        scale=scale,
        scale_each=scale_each,
        preferred_share=preferred_share,
        preferred_within_deg=preferred_within,
    )
    sources = structure_sources(structure or [], assembly, chains or [], remove_chains or [])
    exit_on_sigterm()
    classes = gather_classes(map or [], sources, box, pixel_size, resolution, common_frame, morph)
    with image_progress("simulating") as progress:
        result = simulate_particles(
            classes,
            out,
            settings,
            overwrite=overwrite,
            progress=progress,
            command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        )
    noise = result.calibration
    for label, (name, factor) in enumerate(zip(classes.names, noise.scales, strict=True)):
        print(f"class {label}: {count} particles of {name}, map multiplied by {factor:.4g}")
    print(f"noise: sigma {noise.sigma:.4g}, SNR {noise.snr:.4g}")
    size = f"{classes.box} pixels of {classes.voxel_size_angstrom:.4g} Å"
    print(f"{result.star}: {result.count} images of {size}")


@app.command()
def subtomograms(
    out: Annotated[Path, typer.Option(help="Folder to write: subtomograms.star, subtomograms/, maps/.")],
    map: Annotated[
        list[Path] | None, typer.Option(help="Density map, one class (repeatable; MRC, gzip too, or EM).")
    ] = None,
    structure: Annotated[
        list[Path] | None, typer.Option(help="Atomic model, one class (repeatable; PDB or mmCIF, gzip too).")
    ] = None,
    count: Annotated[
        list[int] | None,
        typer.Option(help="Subtomograms per class: one number, or one for each in turn (default: 100)."),
    ] = None,
    box: Annotated[int | None, typer.Option(help="Side in voxels (default: the map's; models 64).")] = None,
    voxel: Annotated[
        float | None, typer.Option("--voxel", "--pixel-size", help="Å per voxel (default: the map's).")
    ] = None,
    resolution: Annotated[
        float | None, typer.Option(help="Of --structure densities in Å (default: 2 voxels).")
    ] = None,
    assembly: Annotated[
        str | None, typer.Option(help="Biological assembly to build from each --structure, such as 1.")
    ] = None,
    snr: Annotated[
        float | None, typer.Option(help="Signal variance / noise variance in the box (default: no noise).")
    ] = None,
    snr_of: Annotated[str, typer.Option(help="Of what: subtomograms or projections.")] = "subtomograms",
    common_scale: Annotated[
        bool, typer.Option("--common-scale", help="One scale for all classes: their mean has the SNR.")
    ] = False,
    tilt: Annotated[float, typer.Option(help="Largest tilt in degrees; the series goes from - to +.")] = 60.0,
    tilt_range: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="MIN MAX", help="Least and largest tilt, where they are not symmetric."),
    ] = None,
    tilt_step: Annotated[float, typer.Option(help="Degrees between tilts.")] = 3.0,
    tilt_axis: Annotated[str, typer.Option(help="y or x; the beam lies along z.")] = "y",
    quick: Annotated[
        bool, typer.Option("--quick", help="Noise and wedge in 3D: no projections, CTF and MTF.")
    ] = False,
    ctf: Annotated[bool, typer.Option("--ctf/--no-ctf", help="Apply a contrast transfer function.")] = True,
    phase_flip: Annotated[
        bool, typer.Option("--phase-flip/--no-phase-flip", help="Projections as phase-flipped.")
    ] = True,
    defocus: Annotated[float, typer.Option(help="In Å, underfocus positive.")] = 60000.0,
    voltage: Annotated[float, typer.Option(help="In kV.")] = 300.0,
    cs: Annotated[float, typer.Option(help="Spherical aberration in mm.")] = 2.7,
    amplitude_contrast: Annotated[float, typer.Option(help="Fraction from 0 to below 1.")] = 0.1,
    mtf: Annotated[bool, typer.Option("--mtf/--no-mtf", help="Apply a detector's MTF.")] = True,
    shift: Annotated[float, typer.Option(help="Largest shift along x, y and z in voxels.")] = 3.0,
    preferred_axis: Annotated[
        str | None, typer.Option(help="x, y or z: turn about this axis only (default: any rotation).")
    ] = None,
    principal: Annotated[
        bool, typer.Option("--principal/--as-is", help="Bring the particle's main axis onto that axis first.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Of poses, shifts and noise.")] = 0,
    relion5: Annotated[
        bool, typer.Option("--relion5", help="Also write subtomograms_relion5.star, RELION 5's columns.")
    ] = False,
    records: Annotated[
        Path | None, typer.Option(help="Also pack the set into this folder, as zoo-pack would.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the sets in --out and --records.")
    ] = False,
) -> None:
    """Subtomograms from maps or atomic models, through a tilt series, as RELION reads them.

    Without --map and --structure: the three embedded assembly intermediates.
    """
    import shlex
    import sys

    _require_files(map)
    from zoo.simulate.gather import gather_classes, structure_sources
    from zoo.simulate.subtomogram_settings import SubtomogramSettings
    from zoo.simulate.subtomograms import simulate_subtomograms
    from zoo.simulate.tilt_series import TiltSeries
    from zoo_tools._progress import exit_on_sigterm, image_progress

    least_deg, largest_deg = tilt_range or (None, tilt)
    counts = tuple(count or (100,))
    settings = SubtomogramSettings(
        count=counts if len(counts) > 1 else counts[0],
        snr=snr,
        snr_of=snr_of,
        quick=quick,
        tilts=TiltSeries(largest_deg, tilt_step, tilt_axis, least_deg),
        seed=seed,
        apply_ctf=ctf,
        phase_flip=phase_flip,
        defocus_angstrom=defocus,
        voltage_kv=voltage,
        cs_mm=cs,
        amplitude_contrast=amplitude_contrast,
        apply_mtf=mtf,
        shift_max_voxels=shift,
        preferred_axis=preferred_axis,
        principal=principal,
        common_scale=common_scale,
    )
    exit_on_sigterm()
    sources = structure_sources(structure or [], assembly)
    classes = gather_classes(map or [], sources, box, voxel, resolution)
    with image_progress("simulating") as progress:
        result = simulate_subtomograms(
            classes,
            out,
            settings,
            overwrite=overwrite,
            relion5=relion5,
            records=records,
            progress=progress,
            command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        )
    noise, numbers = result.calibration, settings.counts(len(classes.maps))
    for label, name in enumerate(classes.names):
        words = f"SNR {noise.snr[label]:.4g}" if noise.snr else "no noise"
        if noise.snr_projections:
            words += f", {noise.snr_projections[label]:.4g} at the projections"
        print(f"class {label}: {numbers[label]} subtomograms of {name}, {words}")
    size = f"{classes.box} voxels of {classes.voxel_size_angstrom:.4g} Å"
    tilts = len(settings.tilts.angles_deg())
    print(f"{result.star}: {result.count} subtomograms of {size}, {tilts} tilts")
    if records is not None:
        print(f"{records}: packed for zoo-train")


@app.command()
def tomogram(
    out: Annotated[Path, typer.Option(help="Folder to write: tomogram.mrc, particles.star, tilts.mrcs, ...")],
    map: Annotated[
        list[Path] | None, typer.Option(help="Density map, one class (repeatable; MRC, gzip too, or EM).")
    ] = None,
    structure: Annotated[
        list[Path] | None, typer.Option(help="Atomic model, one class (repeatable; PDB or mmCIF, gzip too).")
    ] = None,
    count: Annotated[int, typer.Option(help="Particles of each class to place; as many as fit are.")] = 50,
    size: Annotated[
        tuple[int, int, int], typer.Option(metavar="X Y Z", help="Of the tomogram in voxels.")
    ] = (256, 256, 96),
    box: Annotated[int | None, typer.Option(help="Of a particle in voxels (default: the map's).")] = None,
    voxel: Annotated[
        float | None, typer.Option("--voxel", "--pixel-size", help="Å per voxel (default: the map's).")
    ] = None,
    resolution: Annotated[
        float | None, typer.Option(help="Of --structure densities in Å (default: 2 voxels).")
    ] = None,
    assembly: Annotated[
        str | None, typer.Option(help="Biological assembly to build from each --structure, such as 1.")
    ] = None,
    membranes: Annotated[int, typer.Option(help="Vesicles of two leaflets.")] = 2,
    fiducials: Annotated[int, typer.Option(help="Gold beads of 100 Å.")] = 5,
    snr: Annotated[
        float | None, typer.Option(help="Signal / noise variance of the projections (default: no noise).")
    ] = None,
    tilt: Annotated[float, typer.Option(help="Largest tilt in degrees; the series goes from - to +.")] = 60.0,
    tilt_step: Annotated[float, typer.Option(help="Degrees between tilts.")] = 3.0,
    ctf: Annotated[bool, typer.Option("--ctf/--no-ctf", help="Apply a contrast transfer function.")] = True,
    phase_flip: Annotated[
        bool, typer.Option("--phase-flip/--no-phase-flip", help="Projections as phase-flipped.")
    ] = True,
    defocus: Annotated[float, typer.Option(help="In Å, underfocus positive.")] = 60000.0,
    mtf: Annotated[bool, typer.Option("--mtf/--no-mtf", help="Apply a detector's MTF.")] = True,
    seed: Annotated[int, typer.Option(help="Of places, poses and noise.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the tomogram in --out.")] = False,
) -> None:
    """A crowded tomogram with membranes and fiducials, its tilt series, and the truth about its particles."""
    import shlex
    import sys

    _require_files(map)
    from zoo.simulate.gather import gather_classes, structure_sources
    from zoo.simulate.subtomogram_settings import SubtomogramSettings
    from zoo.simulate.tilt_series import TiltSeries
    from zoo.simulate.tomogram import simulate_tomogram
    from zoo.simulate.tomogram_settings import TomogramSettings
    from zoo_tools._progress import exit_on_sigterm, image_progress

    imaging = SubtomogramSettings(
        count=count,
        snr=snr,
        tilts=TiltSeries(tilt, tilt_step),
        seed=seed,
        apply_ctf=ctf,
        phase_flip=phase_flip,
        defocus_angstrom=defocus,
        apply_mtf=mtf,
    )
    settings = TomogramSettings(imaging, size, membranes, fiducials)
    exit_on_sigterm()
    sources = structure_sources(structure or [], assembly)
    classes = gather_classes(map or [], sources, box, voxel, resolution)
    with image_progress("placing") as progress:
        result = simulate_tomogram(
            classes,
            out,
            settings,
            overwrite=overwrite,
            progress=progress,
            command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        )
    for label, (name, placed) in enumerate(zip(classes.names, result.placed, strict=True)):
        print(f"class {label}: {placed} of {count} particles of {name} found a place")
    print(f"{result.tomogram}: {' x '.join(str(side) for side in size)} voxels; places in {result.star.name}")


def _require_files(maps: list[Path] | None) -> None:
    """Raise ZooError for a map that is not there, before SciPy is imported to read it."""
    from zoo.input_files import existing_file

    for path in maps or []:
        existing_file(path)


def main() -> None:
    """Entry point of ``zoo-simulate``."""
    run(app, "zoo-simulate")
