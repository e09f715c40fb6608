"""Maps to subtomograms with known poses, labels and wedge, through a tilt series or directly in 3D."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from zoo.errors import ZooError
from zoo.files import check_folder, require_space, whole_folder
from zoo.simulate.classes import ClassMaps
from zoo.simulate.imaging import Calibration, calibrate, make_imager
from zoo.simulate.poses import draw_poses, principal_axis, turn_onto
from zoo.simulate.subtomogram_settings import SubtomogramSettings
from zoo.simulate.tilt_series import euler_matrices

_STAR = "subtomograms.star"
_STAR_5 = "subtomograms_relion5.star"


@dataclass(frozen=True)
class SubtomogramSet:
    """What was written: the STAR file, the number of subtomograms, and how maps and noise were scaled."""

    star: Path
    count: int
    calibration: Calibration


def simulate_subtomograms(
    classes: ClassMaps,
    out: str | os.PathLike,
    settings: SubtomogramSettings,
    overwrite: bool = False,
    relion5: bool = False,
    records: str | os.PathLike | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    command: str = "",
) -> SubtomogramSet:
    """Write OUT/subtomograms.star, subtomograms/N.mrc, ctf.mrc, maps/class_K.mrc, simulation.json.

    Rows go round the classes (0, 1, .., 0, 1, ..), of counts that differ round those that have some left;
    `zooLabel` is the class, half sets alternate in each. maps/ holds
    the truth in the units of the subtomograms, `ctf.mrc` what the tilt series does to a particle, in Fourier
    space (RELION's rlnCtfImage). The result is a pure function of maps and settings. The folder appears when
    all is written; `progress` gets (done, in all). Into `records` the set is packed as zoo-pack does it.
    Raises ZooError if OUT or `records` hold a set already (unless `overwrite`) or cannot be written.
    """
    from zoo.data.formats.mrc import write_volume
    from zoo.data.formats.subtomogram_star_write import write_subtomograms

    out = Path(os.path.abspath(out))
    if settings.shift_max_voxels > classes.box / 2:
        raise ZooError(
            f"--shift {settings.shift_max_voxels:g}: expected at most half the box, {classes.box / 2:g}"
        )
    if records is not None:
        _require_free(Path(records), out, overwrite)
    # Records hold half of what a volume does, and half of that for a wedge.
    volumes = settings.counts(len(classes.maps)).sum() * (1 if records is None else 1.75)
    require_space(
        out, 4 * volumes * classes.box**3, "the set", "give a smaller --count or --box, or another --out"
    )
    with whole_folder(out, _STAR, overwrite, keep_others=True) as work:
        table = draw_table(classes, work, settings)
        poses = euler_matrices(table.euler_deg())
        origins = table.shift_angstrom() / classes.voxel_size_angstrom
        imager = make_imager(classes, settings)
        calibration = calibrate(imager, table.label, poses, origins, settings)
        for row, path in enumerate(table.stack_paths):
            label = int(table.label[row])
            volume = imager.subtomogram(
                label, poses[row], origins[row], calibration.scales[label], calibration.sigma, row
            )
            write_volume(path, volume, classes.voxel_size_angstrom)
            progress(row + 1, len(table))
        write_volume(table.wedge_paths[0], imager.transfer, classes.voxel_size_angstrom)
        for number, density in enumerate(classes.maps):
            truth = density * np.float32(calibration.scales[number])
            write_volume(work / "maps" / f"class_{number}.mrc", truth, classes.voxel_size_angstrom)
        _write_summary(work / "simulation.json", classes, settings, calibration, len(table), command)
        extra = {"rlnClassNumber": table.label + 1}
        # Each lies in the middle of a tomogram of its own: RELION 5 opens no particle without a place.
        extra |= {f"rlnCenteredCoordinate{axis}Angst": np.zeros(len(table)) for axis in "XYZ"}
        if relion5:
            write_subtomograms(table, work / _STAR_5, classes.box, extra, relion5=True)
        write_subtomograms(table, work / _STAR, classes.box, extra)
    if records is not None:
        _pack(out / _STAR, records, overwrite, command)
    return SubtomogramSet(out / _STAR, len(table), calibration)


def draw_table(classes: ClassMaps, folder: Path, settings: SubtomogramSettings):
    """The SubtomogramTable of a set in `folder`: all classes in turn, with all that is known of them."""
    from zoo.data.tables.subtomogram_table import SubtomogramTable

    counts = settings.counts(len(classes.maps))
    turn, label = np.nonzero(np.arange(counts.max())[:, None] < counts)
    rows = np.arange(len(label))
    about = None
    if settings.preferred_axis:
        about = np.stack([_first_turn(density, settings) for density in classes.maps])[label]
    euler, origin = draw_poses(
        len(rows), settings.seed, settings.shift_max_voxels, settings.preferred_axis, about
    )
    angles = settings.tilts.angles_deg()
    columns = {
        "stack_index": rows,
        "row_in_stack": 0 * rows,
        "label": label,
        "random_subset": turn % 2 + 1,
        "pixel_size_angstrom": np.full(len(rows), classes.voxel_size_angstrom),
        "wedge_index": 0 * rows,
        "voltage_kv": np.full(len(rows), settings.voltage_kv),
        "cs_mm": np.full(len(rows), settings.cs_mm),
        "amplitude_contrast": np.full(len(rows), settings.amplitude_contrast),
    }
    if settings.tilts.axis == "y":  # which these columns are about; ctf.mrc says it for any axis
        columns["tilt_min_deg"] = np.full(len(rows), angles.min())
        columns["tilt_max_deg"] = np.full(len(rows), angles.max())
    for number, name in enumerate(("rot_deg", "tilt_deg", "psi_deg")):
        columns[name] = euler[:, number]
    for number, axis in enumerate("xyz"):
        columns[f"shift_{axis}_angstrom"] = np.round(origin[:, number] * classes.voxel_size_angstrom, 6)
    paths = [folder / "subtomograms" / f"{row + 1:06d}.mrc" for row in rows]
    names = [str(path.relative_to(folder)) for path in paths]
    wedge = str(folder / "ctf.mrc")
    return SubtomogramTable([str(path) for path in paths], columns, stack_names=names, wedge_paths=[wedge])


def _require_free(records: Path, out: Path, overwrite: bool) -> None:
    """Raise ZooError where the records cannot be packed, before hours of simulation."""
    from zoo.data.info import INFO_NAME
    from zoo.data.packing.plan import PackState

    if Path(os.path.abspath(records)) == out:
        raise ZooError(f"{records}: is --out too; choose another --records")
    if (records / INFO_NAME).exists() and not overwrite:
        raise ZooError(f"{records}: holds records already; choose another --records or give --overwrite")
    check_folder(records, INFO_NAME, overwrite, keep_others=True)
    if PackState.folder_in(records).exists() and not overwrite:
        raise ZooError(f"{records}: holds half a data set; choose another --records or give --overwrite")


def _pack(star: Path, records, overwrite: bool, command: str) -> None:
    from zoo.data.packing.pack_subtomograms import OWN_BOX, pack_subtomograms
    from zoo.data.packing.shards import PackSettings

    pack_subtomograms(star, records, PackSettings(OWN_BOX, contrast=1), overwrite=overwrite, command=command)


def _first_turn(density, settings):
    if not settings.principal:
        return np.eye(3)
    return turn_onto(principal_axis(density), settings.preferred_axis)


def _write_summary(path, classes, settings, calibration, n, command):
    from zoo import __version__

    summary = {
        "kind": "simulated subtomograms",
        "subtomograms": n,
        "box": classes.box,
        "voxel_size_angstrom": classes.voxel_size_angstrom,
        "classes": [
            {"label": label, "name": name, "map": f"maps/class_{label}.mrc"}
            for label, name in enumerate(classes.names)
        ],
        "tilts_deg": settings.tilts.angles_deg().tolist(),
        "settings": asdict(settings),
        "map_scales": calibration.scales,
        "sigma": calibration.sigma,
        "snr": calibration.snr,
        "snr_projections": calibration.snr_projections,
        "command": command,
        "versions": {"cryozoo": __version__, "numpy": np.__version__},
    }
    path.write_text(json.dumps(summary, indent=2) + "\n")
