"""What a reconstruction says of every particle, as columns of STAR and .cs files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.data.formats.cryosparc import pose_from_euler
from zoo.data.particles import write_particles
from zoo.data.tables.particle_table import ParticleTable


@dataclass
class Said:
    """Of n particles: RELION's angles ``euler_deg`` (n, 3) and ``origin_angstrom`` (n, 2).

    ``class_number`` (n,) from 1, ``probability`` (n,) of it, ``half`` (n,), and ``log_likelihood`` (n,) over
    that of no particle, where it is known.
    """

    euler_deg: np.ndarray
    origin_angstrom: np.ndarray
    class_number: np.ndarray
    probability: np.ndarray
    half: np.ndarray
    log_likelihood: np.ndarray | None = None

    def of(self, rows) -> Said:
        """Some of the particles."""
        parts = {name: values[rows] for name, values in vars(self).items() if values is not None}
        return Said(**parts)


def write_particle_files(
    folder: Path, table: ParticleTable, said: Said, more: Mapping[str, np.ndarray] | None = None
) -> None:
    """Write particles.star of a table, and particles.cs where it came from one, with ``more`` columns."""
    write_particles(table, folder / "particles.star", {**star_columns(table, said), **(more or {})})
    if table.known_source().format == "cs":
        write_particles(table, folder / "particles.cs", {**cs_columns(table, said), **(more or {})})


def star_columns(table: ParticleTable, said: Said) -> dict[str, np.ndarray]:
    """RELION's columns; origins in Å, or, in a file of RELION 3.0 that has them so, in pixels."""
    columns = {
        name: said.euler_deg[:, i] for i, name in enumerate(("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"))
    }
    block = table.source.blocks.get(table.source.particle_block) if table.source else None
    names = set(getattr(block, "columns", ()))
    in_pixels = {"rlnOriginX", "rlnOriginY"} & names
    if in_pixels:
        # two statements of one origin would contradict each other
        for i, axis in enumerate("XY"):
            columns[f"rlnOrigin{axis}"] = said.origin_angstrom[:, i] / table.pixel_size_angstrom
    if not in_pixels or "rlnOriginXAngst" in names:
        for i, axis in enumerate("XY"):
            columns[f"rlnOrigin{axis}Angst"] = said.origin_angstrom[:, i]
    columns["rlnClassNumber"] = said.class_number.astype(np.int64)
    columns["rlnMaxValueProbDistribution"] = said.probability
    if said.log_likelihood is not None:
        columns["rlnLogLikeliContribution"] = said.log_likelihood
    columns["rlnRandomSubset"] = said.half.astype(np.int64)
    return {
        name: values.astype(np.float64) if values.dtype.kind == "f" else values
        for name, values in columns.items()
    }


def cs_columns(table: ParticleTable, said: Said) -> dict[str, np.ndarray]:
    """cryoSPARC's alignments3D: rotation vectors, shifts in pixels of ``psize_A``, half sets from 0."""
    pixels = table.pixel_size_angstrom
    columns = {
        "alignments3D/pose": pose_from_euler(said.euler_deg).astype(np.float32),
        "alignments3D/shift": (said.origin_angstrom / pixels[:, None]).astype(np.float32),
        "alignments3D/psize_A": pixels.astype(np.float32),
        "alignments3D/split": (said.half - 1).astype(np.uint32),
        "alignments3D/class": (said.class_number - 1).astype(np.uint32),
        "alignments3D/class_posterior": said.probability.astype(np.float32),
    }
    if said.log_likelihood is not None:
        columns["zooLogLikelihood"] = said.log_likelihood.astype(np.float64)
    return columns
