"""Subtomograms → RELION STAR files: 3.1, and with the columns of RELION 5."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd

from zoo.data.formats.star_blocks import write_star_blocks
from zoo.data.formats.star_write import as_text
from zoo.data.tables.particle_table import image_uids
from zoo.data.tables.subtomogram_table import SubtomogramTable
from zoo.errors import ZooError

ANGLES = {"rot_deg": "rlnAngleRot", "tilt_deg": "rlnAngleTilt", "psi_deg": "rlnAnglePsi"}
ORIGINS = {f"shift_{axis}_angstrom": f"rlnOrigin{axis.upper()}Angst" for axis in "xyz"}
TILTS = {"tilt_min_deg": "zooTiltMinDeg", "tilt_max_deg": "zooTiltMaxDeg"}


def write_subtomograms(
    table: SubtomogramTable,
    path: str | os.PathLike,
    box: int,
    extra_columns: dict | None = None,
    relion5: bool = False,
) -> None:
    """Write a table as a RELION 3.1 STAR of 3D particles, atomically; names relative to ``path``'s folder.

    With ``relion5`` as RELION 4 and 5 lay them out (``rlnTomo...``, centred coordinates; 3D, no 2D stacks).
    ``extra_columns`` maps names to one value per particle. A selection of a STAR file keeps its columns.
    """
    path = os.path.abspath(os.fspath(path))
    if not len(table):
        raise ZooError(f"{path}: no subtomograms to write")
    if table.source is not None and table.source.format == "star" and not relion5:
        blocks, target = dict(table.source.blocks), table.source.particle_block
        particles = blocks[target].iloc[table.source_row].reset_index(drop=True).copy()
        comments = dict(table.source.comments)
        if table.source.image_root and table.source.image_root != os.path.dirname(path):
            comments["image_root"] = table.source.image_root
    else:
        blocks = {"general": {"rlnTomoSubTomosAre2DStacks": "0"}} if relion5 else {}
        blocks["optics"], groups = _optics(table, box, relion5)
        particles, target = _particles(table, path, groups, relion5), "particles"
        comments = {"version": "# version 50001" if relion5 else "# version 30001"}
    for name, values in (extra_columns or {}).items():
        values = np.asarray(values)
        if values.shape != (len(table),):
            raise ZooError(f"{path}: column {name} holds {values.shape} values, expected {len(table)}")
        particles[name.lstrip("_")] = as_text(values)
    blocks[target] = particles
    write_star_blocks(path, blocks, comments)


def _optics(table: SubtomogramTable, box: int, relion5: bool) -> tuple[pd.DataFrame, np.ndarray]:
    shared = ("voltage_kv", "cs_mm", "amplitude_contrast", "pixel_size_angstrom")
    keys = np.stack([table.optics_group, *(getattr(table, name) for name in shared)], axis=1)
    keys = np.nan_to_num(keys, nan=-1.0)  # NaN is never equal to NaN
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    numbers = np.arange(1, len(first) + 1)
    optics = {
        "rlnOpticsGroup": as_text(numbers),
        "rlnOpticsGroupName": [f"opticsGroup{number}" for number in numbers],
    }
    # RELION wants these of every set; what is not known does not act where the CTF is a volume
    for name, column, default in (
        ("cs_mm", "rlnSphericalAberration", 2.7),
        ("voltage_kv", "rlnVoltage", 300.0),
        ("amplitude_contrast", "rlnAmplitudeContrast", 0.1),
    ):
        optics[column] = as_text(np.nan_to_num(getattr(table, name)[first], nan=default))
    size = as_text(table.pixel_size_angstrom[first])
    if relion5:
        optics |= {"rlnTomoTiltSeriesPixelSize": size, "rlnTomoSubtomogramBinning": ["1"] * len(first)}
        optics["rlnCtfDataAreCtfPremultiplied"] = ["0"] * len(first)
    optics |= {"rlnImagePixelSize": size, "rlnImageSize": [str(box)] * len(first)}
    optics["rlnImageDimensionality"] = ["3"] * len(first)
    return pd.DataFrame(optics), numbers[inverse.reshape(-1)]


def _particles(table: SubtomogramTable, path: str, groups: np.ndarray, relion5: bool) -> pd.DataFrame:
    folder = os.path.dirname(path)
    places = table.coordinates_voxel()
    placed = np.isfinite(places).all(axis=1)
    columns = {}
    files = [os.path.relpath(name, folder) for name in table.stack_paths]
    images = [files[index] for index in table.stack_index.tolist()]
    if relion5:
        columns["rlnTomoName"] = ["tomogram_1"] * len(table)
        columns["rlnTomoParticleName"] = [f"tomogram_1/{number}" for number in range(1, len(table) + 1)]
        centred = np.where(placed[:, None], places, 0.0) * table.pixel_size_angstrom[:, None]
        for number, axis in enumerate("XYZ"):
            columns[f"rlnCenteredCoordinate{axis}Angst"] = as_text(centred[:, number])
    elif placed.any():
        columns["rlnTomoName"] = images
        for number, axis in enumerate("XYZ"):
            columns[f"rlnCoordinate{axis}"] = as_text(places[:, number])
    if not placed.all():
        columns["rlnImageName"] = images
    if (table.wedge_index >= 0).all():
        wedges = [os.path.relpath(name, folder) for name in table.wedge_paths]
        columns["rlnCtfImage"] = [wedges[index] for index in table.wedge_index.tolist()]
    for ours, theirs in (ANGLES | ORIGINS | TILTS).items():
        values = getattr(table, ours)
        if np.isfinite(values).any():
            columns[theirs] = as_text(values)
    columns["rlnOpticsGroup"] = as_text(groups)
    if (table.random_subset > 0).any():
        columns["rlnRandomSubset"] = as_text(table.random_subset)
    if (table.label >= 0).any():
        columns["zooLabel"] = as_text(table.label)
    if not np.array_equal(table.uid, image_uids(table.image_names())):
        columns["zooUid"] = as_text(table.uid)
    return pd.DataFrame(columns)
