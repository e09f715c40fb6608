"""Particle tables → RELION STAR: the rows of the original file, or RELION 3.1 blocks made new."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd

from zoo.data.formats.images import stack_boxes
from zoo.data.formats.star import AS_STACK, CTF_FROM_STAR
from zoo.data.formats.star_blocks import write_star_blocks
from zoo.data.tables.particle_table import ParticleTable, image_uids
from zoo.errors import ZooError
from zoo.input_files import resolve_images

_WANTED_OPTICS = {"rlnVoltage": "300.0", "rlnSphericalAberration": "2.7", "rlnAmplitudeContrast": "0.1"}


def write_star(table: ParticleTable, path: str | os.PathLike, extra_columns: dict | None = None) -> None:
    """Write a table as STAR: the original rows and blocks where it came from a STAR file, else RELION 3.1.

    ``extra_columns`` (name → one value per particle) are added or replaced; known labels become
    ``zooLabel``. Values of the original file are written as the text they were, so changes made to
    the table's own columns are not; but a pixel size that was given, and names of files that have moved.
    """
    path = os.path.abspath(os.fspath(path))
    comments = {"version": "# version 30001"}
    if table.source is not None and table.source.format == "star":
        blocks = dict(table.source.blocks)
        target = table.source.particle_block
        particles = blocks[target].iloc[table.source_row].reset_index(drop=True).copy()
        comments = dict(table.source.comments)
        if "pixel_size_angstrom" in table.source.options:
            state_pixel_size(blocks, particles, table.pixel_size_angstrom)
        if "stacks" in table.source.options:
            particles["rlnImageName"] = _relion_names(table, path)
            particles["zooUid"] = as_text(table.uid)
            comments.pop("image_root", None)
        else:
            image_root_comment(table, path, comments)
    else:
        names = _relion_names(table, path)
        blocks, target = _blocks_from_table(table, names), "particles"
        particles = blocks["particles"]
    added = dict(extra_columns or {})
    if (table.label >= 0).any() and "zooLabel" not in particles and "zooLabel" not in added:
        added["zooLabel"] = table.label
    for name, values in added.items():
        values = np.asarray(values)
        if values.shape != (len(table),):
            raise ZooError(f"{path}: column {name} holds {values.shape} values, expected {len(table)}")
        particles[name.lstrip("_")] = as_text(values)
    blocks[target] = particles
    write_star_blocks(path, blocks, comments)


def image_root_comment(table: ParticleTable, path: str, comments: dict[str, str]) -> None:
    """Keep in ``comments`` what image names are relative to, where the place of ``path`` does not tell."""
    paths, _ = resolve_images(table.stack_names, os.path.dirname(path))
    comments.pop("image_root", None)
    if paths != table.stack_paths and table.source is not None and table.source.image_root:
        comments["image_root"] = table.source.image_root


def optics_frame(blocks: dict) -> pd.DataFrame | None:
    """The optics table as a data frame, None where there is none."""
    optics = blocks.get("optics")
    if isinstance(optics, dict):
        return pd.DataFrame({name: [str(value)] for name, value in optics.items()})
    return optics


def state_pixel_size(blocks: dict, particles: pd.DataFrame, sizes_angstrom: np.ndarray) -> None:
    """Write a pixel size that was given for all into rows and optics of a STAR file, as RELION reads it."""
    text, optics = as_text(sizes_angstrom[:1])[0], optics_frame(blocks)
    if "rlnImagePixelSize" in particles or (optics is None and "rlnDetectorPixelSize" not in particles):
        particles["rlnImagePixelSize"] = text
    if optics is not None:
        blocks["optics"] = optics.assign(rlnImagePixelSize=text)
    else:  # RELION 3.0: pixel size of the detector in µm over the magnification
        particles["rlnDetectorPixelSize"], particles["rlnMagnification"] = text, "10000"


def _relion_names(table: ParticleTable, path: str) -> list[str]:
    """Image names that RELION opens, for rows made new.

    As the source spells them where that leads from ``path``'s folder (or one above it) to the stack, else
    with its whole path. RELION takes a file for a stack if its name ends in .mrcs or in ``:mrcs``.
    """
    found, _ = resolve_images(table.stack_names, os.path.dirname(path))
    names = [
        name if where == stack else stack
        for name, where, stack in zip(table.stack_names, found, table.stack_paths, strict=True)
    ]
    names = [name if name.lower().endswith(".mrcs") else name + AS_STACK for name in names]
    rows = zip((table.row_in_stack + 1).tolist(), table.stack_index.tolist(), strict=True)
    return [f"{row:06d}@{names[stack]}" for row, stack in rows]


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


def _blocks_from_table(table: ParticleTable, names: list[str]) -> dict[str, pd.DataFrame]:
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
    groups: np.ndarray = table.optics_group[first]
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
    if not np.isfinite(table.defocus_u_angstrom).any():
        # RELION opens no file without these; they do not act where no particle has a defocus
        for theirs, value in _WANTED_OPTICS.items():
            optics.setdefault(theirs, [value] * len(first))
    boxes = stack_boxes(table)[table.stack_index[first]]
    if boxes.all():
        optics["rlnImageSize"] = as_text(boxes)
    optics["rlnImageDimensionality"] = ["2"] * len(first)
    particles = {"rlnImageName": names}
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
    read_back = [name.removesuffix(AS_STACK) for name in names]
    if not np.array_equal(table.uid, image_uids(read_back)):
        particles["zooUid"] = as_text(table.uid)
    return {"optics": pd.DataFrame(optics), "particles": pd.DataFrame(particles)}
