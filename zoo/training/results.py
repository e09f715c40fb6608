"""What a finished run leaves under ``results/``: maps, FSC curves, and columns in the person's own file."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from zoo.analysis.columns import write_columns
from zoo.analysis.curves import write_fsc
from zoo.data.kinds import kind_of
from zoo.errors import ZooError
from zoo.files import whole_file
from zoo.metrics.clustering import clustering_scores
from zoo.models.outcome import Results


def write_results(results: Results, info, folder: str | Path) -> list[str]:
    """Write ``folder``: NAME.mrc and its half maps, fsc.csv and .png, measures.csv, averages.cxc,
    particles.star (with the columns of RELION 5 too), of particle images in known poses views.csv and .png,
    and of simulated data truth.csv.

    ``info`` is the DatasetInfo of the records that the columns belong to. particles.star has the columns of
    the file that was packed besides those of ``results``. Returns what a person should be told, a line each.
    """
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    lines = []
    voxel = results.voxel_size_angstrom or info.voxel_size_angstrom
    paths = _write_maps(results, voxel, folder)
    if results.fsc:
        write_fsc(results.fsc, info.box * info.voxel_size_angstrom, folder, results.fsc_kind)
    if paths:
        with whole_file(folder / "averages.cxc", "w") as file:
            file.write(chimerax_script(paths))
    if results.measures:
        write_measures(results.measures, folder / "measures.csv")
    if results.columns:
        lines.append(write_columns(info, folder / "particles.star", results.columns))
    lines += [f"{folder}: {line}" for line in results.lines]
    lines += [f"{folder}: {line}" for line in _views(results, info, voxel, folder)]
    return [*lines, *_compare(results, info, voxel, folder)]


def _views(results: Results, info, voxel_size_angstrom: float, folder: Path) -> list[str]:
    """Write views.csv and .png of particle images; a line for each map that is seen unevenly."""
    names = [f"rlnAngle{name}" for name in ("Rot", "Tilt", "Psi")]
    if kind_of(info).schema.ndim != 2 or results.classes is None or not set(names) <= set(results.columns):
        return []
    from zoo.analysis.view_report import write_views

    euler = np.stack([results.columns[name] for name in names], axis=1)
    of_map = {name: euler[results.classes == k] for k, name in enumerate(results.maps)}
    return write_views(of_map, results.half_maps, voxel_size_angstrom, folder)


def _compare(results: Results, info, voxel_size_angstrom: float, folder: Path) -> list[str]:
    """Write truth.csv where something is known of the data; a line for each class."""
    from zoo.analysis.class_truth import compare_classes, write_truth

    if results.classes is None or not results.maps:
        return []
    maps = list(results.maps.values())
    labels, source = info.load_table()["label"], info.source.get("path")
    try:
        truth = compare_classes(maps, results.classes, labels, source, voxel_size_angstrom, results.mirrored)
    except ZooError as error:
        return [f"{folder}: not compared with the truth ({error})"]
    if not truth:
        return []
    write_truth(truth, folder / "truth.csv")
    lines = [each.line() for each in truth]
    if len(set(labels[labels >= 0])) > 1:
        known = labels >= 0
        nmi = clustering_scores(labels[known], results.classes[known])["nmi"]
        lines.append(f"classes against labels: NMI {nmi:.3f} of all {known.sum():,} labelled {info.kind}")
    return lines


def chimerax_script(maps: list[Path]) -> str:
    """ChimeraX commands that show maps side by side."""
    lines = [f"open {path.name}" for path in maps]
    for number in range(1, len(maps) + 1):
        lines.append(f"volume #{number} style surface step 1 sdLevel 3")
    if len(maps) > 1:
        lines.append(f"tile #1-{len(maps)}")
    return "\n".join([*lines, "view", ""])


def _write_maps(results: Results, voxel_size_angstrom: float, folder: Path) -> list[Path]:
    from zoo.data.formats.mrc import write_volume

    paths = []
    for name, volume in results.maps.items():
        paths.append(folder / f"{name}.mrc")
        write_volume(paths[-1], volume, voxel_size_angstrom)
    for name, halves in results.half_maps.items():
        for half, volume in enumerate(halves, start=1):
            write_volume(folder / f"{name}_half{half}.mrc", volume, voxel_size_angstrom)
    return paths


def write_measures(measures: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """A row for each map, a column for each measure; nothing where a map has no such measure."""
    names = list(dict.fromkeys(name for each in measures.values() for name in each))
    with whole_file(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["map", *names])
        for map_name, each in measures.items():
            writer.writerow([map_name, *(f"{each[name]:.6g}" if name in each else "" for name in names)])
