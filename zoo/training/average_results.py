"""What a run of ``faml`` or ``fa`` leaves: maps, FSC curves, poses as RELION STAR, a ChimeraX script."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from keras import ops

from zoo.data.records import batches
from zoo.errors import ZooError
from zoo.files import whole_file, whole_path


def write_results(model, info, folder: str | Path, batch_size: int) -> list[str]:
    """Write ``folder``: class_K.mrc and half maps, fsc.csv and .png, particles.star (and with the columns
    of RELION 5), averages.cxc; of simulated data truth.csv.

    particles.star has the columns of the STAR that was packed, with the class, pose, half set and
    probability of each subtomogram in it. Returns what a person should be told, a line each.
    """
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    averages = ops.convert_to_numpy(model.average_maps())
    maps = _write_maps(model, averages, folder)
    _write_fsc(model, folder)
    (folder / "averages.cxc").write_text(chimerax_script(maps), encoding="utf-8")
    found = assign(model, info, batch_size)
    lines = [write_star(model, info, folder / "particles.star", found)]
    counts = np.bincount(found["class"], minlength=model.classes)
    sizes = ", ".join(f"class {k + 1}: {count}" for k, count in enumerate(counts))
    return [*lines, f"{folder}: {sizes} subtomograms", *_compare(averages, info, folder, found)]


def assign(model, info, batch_size: int) -> dict[str, np.ndarray]:
    """``model.align`` of every subtomogram in record order, as NumPy columns."""
    import tensorflow as tf

    align = tf.function(model.align, autograph=False, reduce_retracing=True)
    prepared = model.prepare()
    rows = [
        {name: np.asarray(value) for name, value in align(batch["volume"], batch["wedge"], prepared).items()}
        for batch in batches.sequential_batches(info, batch_size)
    ]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def write_star(model, info, path: Path, found: dict[str, np.ndarray]) -> str:
    """Poses, classes and half sets as STAR rows in record order; returns a line about it."""
    from zoo.data.formats.subtomogram_star_write import write_subtomograms
    from zoo.data.subtomograms import read_subtomograms

    order = info.load_table()
    columns = star_columns(found, np.arange(info.count) // model.classes % 2 + 1)
    try:
        table = read_subtomograms(info.source["path"])
        table = table.select(order["source_row"])
        if not np.array_equal(table.uid, order["uid"]):
            raise ZooError(f"{info.source['path']}: has changed since it was packed")
    except ZooError as error:
        _write_bare(path, order, columns)
        return f"{path}: poses without image names ({error})"
    write_subtomograms(table, path, model.box, columns)
    write_subtomograms(table, path.with_name(f"{path.stem}_relion5.star"), model.box, columns, relion5=True)
    return f"{path}: poses and classes of {len(table)} subtomograms"


def _compare(averages, info, folder: Path, found: dict[str, np.ndarray]) -> list[str]:
    """Write truth.csv where something is known of the data; a line for each class."""
    from zoo.analysis.class_truth import compare_classes, write_truth

    labels, source = info.load_table()["label"], info.source.get("path")
    try:
        truth = compare_classes(averages, found["class"], labels, source, info.voxel_size_angstrom)
    except ZooError as error:
        return [f"{folder}: not compared with the truth ({error})"]
    if truth:
        write_truth(truth, folder / "truth.csv")
    return [each.line() for each in truth]


def star_columns(found: dict[str, np.ndarray], half: np.ndarray) -> dict[str, np.ndarray]:
    """RELION 3.1 columns of ``assign``'s result; half sets are 1 and 2."""
    columns = {
        name: found["euler_deg"][:, i].astype(np.float64)
        for i, name in enumerate(("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"))
    }
    for i, axis in enumerate("XYZ"):
        columns[f"rlnOrigin{axis}Angst"] = found["origin_angstrom"][:, i].astype(np.float64)
    return {
        **columns,
        "rlnClassNumber": found["class"].astype(np.int64) + 1,
        "rlnMaxValueProbDistribution": found["posterior"].max(axis=1).astype(np.float64),
        "rlnRandomSubset": np.asarray(half, np.int64),
    }


def chimerax_script(maps: list[Path]) -> str:
    """ChimeraX commands that show the averages side by side."""
    lines = [f"open {path.name}" for path in maps]
    for number in range(1, len(maps) + 1):
        lines.append(f"volume #{number} style surface step 1 sdLevel 3")
    if len(maps) > 1:
        lines.append(f"tile #1-{len(maps)}")
    return "\n".join([*lines, "view", ""])


def _write_maps(model, averages, folder: Path) -> list[Path]:
    from zoo.data.formats.mrc import write_volume

    halves = ops.convert_to_numpy(model.half_maps())
    paths = []
    for k, average in enumerate(averages):
        paths.append(folder / f"class_{k + 1}.mrc")
        write_volume(paths[-1], average, model.voxel_size_angstrom)
        for half in (0, 1):
            path = folder / f"class_{k + 1}_half{half + 1}.mrc"
            write_volume(path, halves[half, k], model.voxel_size_angstrom)
    return paths


def _write_fsc(model, folder: Path) -> None:
    from matplotlib.figure import Figure

    curves = ops.convert_to_numpy(model.fsc)[:, 1:]
    shells = np.arange(1, curves.shape[1] + 1)
    frequency = shells / (model.box * model.voxel_size_angstrom)
    with whole_file(folder / "fsc.csv", "w", newline="") as file:
        writer = csv.writer(file)
        names = [f"class_{k + 1}" for k in range(model.classes)]
        writer.writerow(["shell", "frequency_per_angstrom", *names])
        for shell, where, values in zip(shells, frequency, curves.T, strict=True):
            writer.writerow([shell, f"{where:.6g}", *(f"{value:.6g}" for value in values)])
    figure = Figure(figsize=(5, 3.5), layout="constrained")
    axes = figure.add_subplot()
    for k, curve in enumerate(curves):
        axes.plot(frequency, curve, label=f"class {k + 1}")
    axes.axhline(0.143, color="grey", linewidth=0.8)
    axes.set(xlabel="spatial frequency (1/Å)", ylabel="FSC of the half sets", ylim=(-0.1, 1.02))
    axes.legend()
    with whole_path(folder / "fsc.png") as partial:
        figure.savefig(partial, format="png", dpi=150)


def _write_bare(path: Path, order: dict[str, np.ndarray], columns: dict[str, np.ndarray]) -> None:
    import pandas as pd

    from zoo.data.formats.star_blocks import write_star_blocks
    from zoo.data.formats.star_write import as_text

    rows = {"zooUid": order["uid"], "zooSourceRow": order["source_row"], **columns}
    frame = pd.DataFrame({name: as_text(values) for name, values in rows.items()})
    write_star_blocks(str(path), {"particles": frame}, {"version": "# version 30001"})
