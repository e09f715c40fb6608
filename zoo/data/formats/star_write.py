"""Particle tables → RELION STAR: the rows of the original file, or RELION 3.1 blocks made new."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd

from zoo.data.formats.images import stack_boxes
from zoo.data.formats.star import CTF_FROM_STAR
from zoo.data.formats.star_blocks import write_star_blocks
from zoo.data.tables.particle_table import ParticleTable, image_uids
from zoo.errors import ZooError
from zoo.input_files import resolve_images


def write_star(table: ParticleTable, path: str | os.PathLike, extra_columns: dict | None = None) -> None:
    """Write a table as STAR: the original rows and blocks where it came from a STAR file, else RELION 3.1.

    ``extra_columns`` (name → one value per particle) are added or replaced; known labels become
    ``zooLabel``. Values of the original file are written as the text they were, so changes made to
    the table's own columns are not.
    """
    path = os.path.abspath(os.fspath(path))
    if table.source is not None and table.source.format == "star":
        blocks = dict(table.source.blocks)
        particles = blocks[table.source.particle_block].iloc[table.source_row].reset_index(drop=True)
        comments = dict(table.source.comments)
        target = table.source.particle_block
    else:
        blocks, target = _blocks_from_table(table), "particles"
        particles, comments = blocks["particles"], {"version": "# version 30001"}
    particles = particles.copy()
    added = dict(extra_columns or {})
    if (table.label >= 0).any() and "zooLabel" not in particles and "zooLabel" not in added:
        added["zooLabel"] = table.label
    for name, values in added.items():
        values = np.asarray(values)
        if values.shape != (len(table),):
            raise ZooError(f"{path}: column {name} holds {values.shape} values, expected {len(table)}")
        particles[name.lstrip("_")] = as_text(values)
    blocks[target] = particles
    paths, _ = resolve_images(table.stack_names, os.path.dirname(path))
    comments.pop("image_root", None)
    if paths != table.stack_paths and table.source is not None and table.source.image_root:
        comments["image_root"] = table.source.image_root
    write_star_blocks(path, blocks, comments)


def as_text(values) -> list[str]:
    """Text that reads back as the same number; text stays text."""
    values = np.asarray(values)
    if values.dtype.kind in "biu":
        return [str(int(value)) for value in values.tolist()]
    if values.dtype == np.float64:
        return [repr(value) for value in values.tolist()]
    if values.dtype.kind == "f":
        return [f"{value:.9g}" for value in values.tolist()]
    return [str(value) for value in values.tolist()]


def _blocks_from_table(table: ParticleTable) -> dict[str, pd.DataFrame]:
    """RELION 3.1 blocks of a table that did not come from a STAR file; unknown columns are left out."""
    shared = {
        "voltage_kv": "rlnVoltage",
        "cs_mm": "rlnSphericalAberration",
        "amplitude_contrast": "rlnAmplitudeContrast",
        "pixel_size_angstrom": "rlnImagePixelSize",
    }
    keys = np.stack([table.optics_group, *(getattr(table, name) for name in shared)], axis=1)
    keys = np.nan_to_num(keys, nan=-1.0)  # NaN is never equal to NaN
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1)
    groups = table.optics_group[first]
    if len(np.unique(groups)) < len(groups):  # one group, several pixel sizes: they need a number each
        groups = np.arange(1, len(first) + 1)
    optics = {
        "rlnOpticsGroup": as_text(groups),
        "rlnOpticsGroupName": [f"opticsGroup{group}" for group in groups],
    }
    for ours, theirs in shared.items():
        values = getattr(table, ours)[first]
        if np.isfinite(values).any():
            optics[theirs] = as_text(values)
    boxes = stack_boxes(table)[table.stack_index[first]]
    if boxes.all():
        optics["rlnImageSize"] = as_text(boxes)
    optics["rlnImageDimensionality"] = ["2"] * len(first)
    particles = {"rlnImageName": table.image_names()}
    pairs = [
        ("rot_deg", "rlnAngleRot"),
        ("tilt_deg", "rlnAngleTilt"),
        ("psi_deg", "rlnAnglePsi"),
        ("shift_x_angstrom", "rlnOriginXAngst"),
        ("shift_y_angstrom", "rlnOriginYAngst"),
        *((ours, theirs) for ours, (theirs, _) in CTF_FROM_STAR.items() if ours not in shared),
    ]
    for ours, theirs in pairs:
        values = getattr(table, ours)
        if np.isfinite(values).any():
            particles[theirs] = as_text(values)
    particles["rlnOpticsGroup"] = as_text(groups[inverse])
    if (table.random_subset > 0).any():
        particles["rlnRandomSubset"] = as_text(table.random_subset)
    if not np.array_equal(table.uid, image_uids(table.image_names())):
        particles["zooUid"] = as_text(table.uid)
    return {"optics": pd.DataFrame(optics), "particles": pd.DataFrame(particles)}
