"""A tomogram with known content: specimen, tilt series, reconstruction, and the truth about each particle."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy import fft

from zoo.files import whole_folder
from zoo.simulate.classes import ClassMaps
from zoo.simulate.imaging import image_transfer
from zoo.simulate.slab import back_project, project_slab
from zoo.simulate.specimen import Specimen, build_specimen
from zoo.simulate.tomogram_settings import TomogramSettings

_NOISE_STREAM = 20


@dataclass(frozen=True)
class TomogramResult:
    """What was written: the tomogram, the STAR file of its particles, how many were asked for and placed."""

    tomogram: Path
    star: Path
    placed: tuple[int, ...]
    asked: int


def simulate_tomogram(
    classes: ClassMaps,
    out: str | os.PathLike,
    settings: TomogramSettings,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    command: str = "",
) -> TomogramResult:
    """Write OUT/tomogram.mrc, particles.star, tilts.mrcs and .rawtlt, clean.mrc, labels.mrc, simulation.json.

    particles.star holds class (`zooLabel`), pose and place (rlnCoordinateX, .., voxels, 0-based) of each
    particle, as zoo-pack --tomogram takes them. clean.mrc is the specimen, labels.mrc says what lies where
    (0 empty, 1 to k classes, k + 1 membrane, k + 2 beads; labels.names.txt names them). The defocus is the
    same everywhere. The noise has a standard deviation of 1 at the projections. Pure function of maps and
    settings; the folder appears when all is written. Raises ZooError as `build_specimen`, and if OUT holds a
    tomogram (unless `overwrite`).
    """
    from zoo.data.formats.label_volume import write_names
    from zoo.data.formats.mrc import write_stack, write_volume

    out = Path(os.path.abspath(out))
    with whole_folder(out, "tomogram.mrc", overwrite, keep_others=True) as work:
        specimen = build_specimen(classes, settings, progress)
        angles, voxel = settings.imaging.tilts.angles_deg(), classes.voxel_size_angstrom
        images, scale = image_slab(specimen.density, voxel, settings)
        write_volume(work / "clean.mrc", specimen.density * np.float32(scale), voxel)
        write_volume(work / "labels.mrc", specimen.labels, voxel)
        write_names(work / "labels.mrc", label_names(classes))
        write_stack(work / "tilts.mrcs", images, voxel)
        (work / "tilts.rawtlt").write_text("".join(f"{angle:.2f}\n" for angle in angles))
        for number, density in enumerate(classes.maps):
            write_volume(work / "maps" / f"class_{number}.mrc", density * np.float32(scale), voxel)
        _write_star(work, specimen, classes, settings)
        placed = tuple(np.bincount(specimen.particle_class, minlength=len(classes.maps)).tolist())
        _write_summary(work / "simulation.json", classes, settings, placed, scale, command)
        volume = back_project(images, angles, settings.size_voxels[2])
        write_volume(work / "tomogram.mrc", volume, voxel)
    asked = settings.imaging.count_of_each
    return TomogramResult(out / "tomogram.mrc", out / "particles.star", placed, asked)


def label_names(classes: ClassMaps) -> list[str]:
    """The names of the labels in labels.mrc, 0 first."""
    plain = [name.replace(",", "_").replace("=", "_").replace("/", "_") for name in classes.names]
    return ["background", *plain, "membrane", "fiducial"]


def image_slab(
    density: np.ndarray, voxel_size_angstrom: float, settings: TomogramSettings
) -> tuple[np.ndarray, float]:
    """Tilt series (tilts, y, x) of a slab with CTF, MTF and noise, and the factor the density was given."""
    imaging = settings.imaging
    images = project_slab(density, imaging.tilts.angles_deg())
    ny, nx = images.shape[1:]
    frequency = np.stack(np.meshgrid(fft.rfftfreq(nx), fft.fftfreq(ny)))
    factor = image_transfer(frequency.reshape(2, -1), voxel_size_angstrom, imaging).reshape(ny, -1)
    for number, image in enumerate(images):
        images[number] = fft.irfft2(fft.rfft2(image) * factor.astype(np.float32), (ny, nx))
    signal = float(images.var(axis=(1, 2)).mean())
    scale = np.sqrt((1.0 if imaging.snr is None else imaging.snr) / signal)
    images *= np.float32(scale)
    if imaging.snr is not None:
        rng = np.random.default_rng([imaging.seed, _NOISE_STREAM])
        images += rng.standard_normal(images.shape, dtype=np.float32)
    return images, float(scale)


def _write_star(work: Path, specimen: Specimen, classes: ClassMaps, settings: TomogramSettings) -> None:
    from zoo.data.formats.subtomogram_star_write import write_subtomograms
    from zoo.data.tables.subtomogram_table import COORDINATE_COLUMNS, SubtomogramTable

    count = len(specimen.particle_class)
    angles, imaging = settings.imaging.tilts.angles_deg(), settings.imaging
    columns = {
        "stack_index": np.zeros(count, int),
        "row_in_stack": np.zeros(count, int),
        "label": specimen.particle_class,
        "random_subset": _turn(specimen.particle_class) % 2 + 1,  # each class in both half sets
        "pixel_size_angstrom": np.full(count, classes.voxel_size_angstrom),
        "voltage_kv": np.full(count, imaging.voltage_kv),
        "cs_mm": np.full(count, imaging.cs_mm),
        "amplitude_contrast": np.full(count, imaging.amplitude_contrast),
        "tilt_min_deg": np.full(count, angles.min()),
        "tilt_max_deg": np.full(count, angles.max()),
        **{f"shift_{axis}_angstrom": np.zeros(count) for axis in "xyz"},
    }
    for number, name in enumerate(("rot_deg", "tilt_deg", "psi_deg")):
        columns[name] = specimen.euler_deg[:, number]
    for number, name in enumerate(COORDINATE_COLUMNS):
        columns[name] = specimen.centre_voxel[:, number]
    table = SubtomogramTable([str(work / "tomogram.mrc")], columns, stack_names=["tomogram.mrc"])
    write_subtomograms(table, work / "particles.star", classes.box)


def _turn(particle_class: np.ndarray) -> np.ndarray:
    """How many particles of the same class come before each one, (n,)."""
    turn = np.zeros(len(particle_class), int)
    for label in np.unique(particle_class):
        members = np.flatnonzero(particle_class == label)
        turn[members] = np.arange(len(members))
    return turn


def _write_summary(path, classes, settings, placed, scale, command):
    from zoo import __version__

    summary = {
        "kind": "simulated tomogram",
        "voxel_size_angstrom": classes.voxel_size_angstrom,
        "classes": [
            {"label": label, "name": name, "placed": count, "map": f"maps/class_{label}.mrc"}
            for label, (name, count) in enumerate(zip(classes.names, placed, strict=True))
        ],
        "labels": {"membrane": len(classes.maps) + 1, "beads": len(classes.maps) + 2},
        "tilts_deg": settings.imaging.tilts.angles_deg().tolist(),
        "settings": asdict(settings),
        "scale": scale,
        "command": command,
        "versions": {"cryozoo": __version__, "numpy": np.__version__},
    }
    path.write_text(json.dumps(summary, indent=2) + "\n")
