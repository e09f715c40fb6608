"""Maps to particle stacks with known poses, optics, noise and labels, written as RELION reads them."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from zoo.errors import ZooError
from zoo.files import require_space, whole_folder
from zoo.simulate.classes import ClassMaps
from zoo.simulate.draw import draw_columns, draw_noise
from zoo.simulate.project import Projector
from zoo.simulate.settings import ParticleSettings

_PILOT_VIEWS = 100
_PILOT_STREAM = 1


@dataclass(frozen=True)
class SimulationResult:
    """What was written: the STAR file, the number of images, and how maps and noise were scaled."""

    star: Path
    count: int
    calibration: "Calibration"


@dataclass(frozen=True)
class Calibration:
    """Factor on each map, noise standard deviation and resulting SNR (infinity without noise)."""

    scales: tuple[float, ...]
    sigma: float
    snr: float


def simulate_particles(
    classes: ClassMaps,
    out: str | os.PathLike,
    settings: ParticleSettings,
    overwrite: bool = False,
    batch_size: int = 256,
    progress: Callable[[int, int], None] = lambda done, total: None,
    command: str = "",
) -> SimulationResult:
    """Write OUT/particles.star, particles.mrcs, maps/class_K.mrc (the truth) and simulation.json.

    Rows go round the classes (0, 1, .., 0, 1, ..); `zooLabel` is the class, half sets alternate. The result
    is a pure function of maps and settings, whatever `batch_size`; memory does not grow with the count.
    The folder appears when all is written; `progress` gets (images done, images in all).
    Raises ZooError if OUT holds a set already (unless `overwrite`) or cannot be written.
    """
    from zoo.data.formats.mrc import StackWriter, write_volume
    from zoo.data.particles import write_particles

    out = Path(os.path.abspath(out))
    if settings.shift_max_px > classes.box / 2:
        raise ZooError(
            f"--shift {settings.shift_max_px:g}: expected at most half the box, {classes.box / 2:g} pixels"
        )
    count = len(classes.maps) * settings.count
    require_space(
        out, 4 * count * classes.box**2, "the set", "give a smaller --count or --box, or another --out"
    )
    with whole_folder(out, "particles.star", overwrite, keep_others=True) as work:
        calibration = calibrate(classes, settings)
        maps = classes.maps * np.array(calibration.scales, np.float32)[:, None, None, None]
        box, voxel = classes.box, classes.voxel_size_angstrom
        table = _draw_table(work / "particles.mrcs", len(maps), settings, voxel)
        projectors = [Projector(density, voxel) for density in maps]
        with StackWriter(work / "particles.mrcs", box, voxel) as writer:
            for start in range(0, len(table), batch_size):
                rows = np.arange(start, min(start + batch_size, len(table)))
                images = _noise_free(projectors, table.select(rows), settings.apply_ctf)
                if calibration.sigma > 0:
                    images += calibration.sigma * draw_noise(rows, box, settings.seed)
                writer.write(images)
                progress(start + len(rows), len(table))
        write_particles(table, work / "particles.star", {"rlnClassNumber": table.label + 1})
        for number, density in enumerate(maps):
            write_volume(work / "maps" / f"class_{number}.mrc", density, voxel)
        _write_summary(work / "simulation.json", classes, settings, calibration, len(table), command)
    return SimulationResult(out / "particles.star", len(table), calibration)


def calibrate(classes: ClassMaps, settings: ParticleSettings) -> Calibration:
    """Measure noise-free projections (100 views a class, CTF applied) and set scale and noise by them."""
    box = classes.box
    axis = np.arange(box) - box // 2
    circle = np.hypot(axis[:, None], axis) < box / 2
    columns = draw_columns(_PILOT_VIEWS, settings, classes.voxel_size_angstrom, _PILOT_STREAM)
    euler = np.stack([columns[name] for name in ("rot_deg", "tilt_deg", "psi_deg")], axis=1)
    ctf = None
    if settings.apply_ctf:
        from zoo.data.tables.particle_table import CTF_COLUMNS

        ctf = np.stack([columns[name] for name in CTF_COLUMNS], axis=1)
    inside, whole = [], []  # mean variance per map
    for density in classes.maps:
        views = Projector(density, classes.voxel_size_angstrom)(euler, ctf=ctf).astype(np.float64)
        inside.append(views[:, circle].var(axis=1).mean())
        whole.append(views.var(axis=(1, 2)).mean())
    inside, whole = np.array(inside), np.array(whole)
    if settings.scale:
        scales = 1 / np.sqrt(inside if settings.scale_each else np.full_like(inside, inside.mean()))
    else:
        scales = np.ones_like(inside)
    signal_variance = np.mean(whole * scales**2)
    if settings.snr is not None:
        sigma = float(np.sqrt(signal_variance / settings.snr))
    else:
        sigma = 1.0 if settings.sigma is None else float(settings.sigma)
    snr = float(signal_variance / sigma**2) if sigma > 0 else float("inf")
    return Calibration(tuple(scales.tolist()), sigma, snr)


def _draw_table(stack, kinds, settings, voxel_size_angstrom):
    """The particles of all classes in turn, with everything that is known of them."""
    from zoo.data.tables.particle_table import ParticleTable

    rows = np.arange(kinds * settings.count)
    columns = draw_columns(len(rows), settings, voxel_size_angstrom)
    columns |= {
        "label": rows % kinds,
        "random_subset": rows // kinds % 2 + 1,
        "row_in_stack": rows,
        "pixel_size_angstrom": np.full(len(rows), voxel_size_angstrom),
    }
    return ParticleTable([str(stack)], columns, stack_names=[stack.name])


def _noise_free(projectors, table, apply_ctf):
    """Projections (n, y, x) of the rows of a table, each from the map of its label."""
    origin_px = table.shift_angstrom() / table.pixel_size_angstrom[:, None]
    euler, ctf = table.euler_deg(), table.ctf() if apply_ctf else None
    images = np.empty((len(table), projectors[0].box, projectors[0].box), np.float32)
    for label in np.unique(table.label):
        mine = table.label == label
        images[mine] = projectors[label](euler[mine], origin_px[mine], None if ctf is None else ctf[mine])
    return images


def _write_summary(path, classes, settings, calibration, n, command):
    from zoo import __version__

    summary = {
        "kind": "simulated particles",
        "particles": n,
        "box": classes.box,
        "pixel_size_angstrom": classes.voxel_size_angstrom,
        "classes": [
            {"label": label, "name": name, "map": f"maps/class_{label}.mrc"}
            for label, name in enumerate(classes.names)
        ],
        "settings": asdict(settings),
        "map_scales": calibration.scales,
        "sigma": calibration.sigma,
        "snr": calibration.snr if np.isfinite(calibration.snr) else None,
        "command": command,
        "versions": {"cryozoo": __version__, "numpy": np.__version__},
    }
    path.write_text(json.dumps(summary, indent=2) + "\n")
