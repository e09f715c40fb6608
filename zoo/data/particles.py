"""Particle files of every format, read and written through one pair of functions."""

from __future__ import annotations

import os

import numpy as np

from zoo.data.formats.mrc import MrcHeader, read_header
from zoo.data.tables.particle_table import ParticleTable, Source
from zoo.errors import ZooError
from zoo.input_files import existing_file

STACK_SUFFIXES = (".mrcs", ".mrc", ".st", ".map")


def read_particles(
    path: str | os.PathLike,
    passthrough: list[str] | None = None,
    pixel_size_angstrom: float | None = None,
) -> ParticleTable:
    """Read particles from RELION STAR, cryoSPARC .cs (with passthrough files) or a bare MRC stack.

    ``pixel_size_angstrom`` overrides what the file says. Raises ZooError with file, row, what was
    found and what was expected.
    """
    path = existing_file(path)
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".cs" or _starts_with(path, b"\x93NUMPY"):
        from zoo.data.formats.cryosparc import read_cs

        table = read_cs(path, passthrough)
    elif suffix in STACK_SUFFIXES or _starts_with_mrc(path):
        table = read_stack_table(path)
    elif suffix == ".star" or _is_text(path):
        from zoo.data.formats.star import read_star

        table = read_star(path)
    else:
        raise ZooError(f"{path}: neither a STAR file, a .cs file nor an MRC stack; give one of these")
    if pixel_size_angstrom is not None:
        if not (np.isfinite(pixel_size_angstrom) and pixel_size_angstrom > 0):
            raise ZooError(f"pixel size {pixel_size_angstrom} Å given, expected a positive number")
        table.pixel_size_angstrom = np.full(len(table), float(pixel_size_angstrom))
    return table


def read_stack_table(path: str | os.PathLike) -> ParticleTable:
    """The images of a bare MRC stack as a table without poses and CTF; pixel size from its header."""
    header = read_header(path)
    _require_stack(header)
    count = header.shape[0]
    columns = {"row_in_stack": np.arange(count), "stack_index": np.zeros(count)}
    if header.pixel_size_angstrom > 0:
        columns["pixel_size_angstrom"] = np.full(count, header.pixel_size_angstrom)
    folder, name = os.path.split(header.path)
    return ParticleTable([header.path], columns, Source("mrc", header.path, image_root=folder), [name])


def _require_stack(header: MrcHeader) -> None:
    """Raise ZooError for a map: its sections are no particles; and for pixels that are not square."""
    sections, rows, columns = header.shape
    named = header.path.lower().endswith((".mrcs", ".st"))
    if header.space_group == 401 or (header.space_group and sections > 1 and not named):
        what = "a stack of volumes" if header.space_group == 401 else "one 3D map"
        raise ZooError(
            f"{header.path}: is {what} by its header (space group {header.space_group}, {columns} x {rows} x "
            f"{sections}), expected a stack of images; if it is one name it .mrcs, give subtomograms as STAR "
            "or folder"
        )
    x, y, _ = header.voxel_size_xyz_angstrom
    if abs(x - y) > 0.01 * max(x, y):
        raise ZooError(f"{header.path}: pixels of {x:.4g} x {y:.4g} Å, expected square ones; resample them")


def write_particles(
    table: ParticleTable, path: str | os.PathLike, extra_columns: dict | None = None
) -> None:
    """Write a table as .star or .cs, atomically; a selection keeps every column of the file it came from.

    ``extra_columns`` maps names (``zooCluster``) to one value per particle.
    """
    if not len(table):
        raise ZooError(f"{path}: no particles to write")
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    if suffix == ".star":
        from zoo.data.formats.star_write import write_star

        write_star(table, path, extra_columns)
    elif suffix == ".cs":
        from zoo.data.formats.cryosparc import write_cs

        write_cs(table, path, extra_columns)
    else:
        raise ZooError(f"{path}: particles are written as .star or .cs, not {suffix or 'without a suffix'}")


def _starts_with(path: str, magic: bytes) -> bool:
    with open(path, "rb") as file:
        return file.read(len(magic)) == magic


def _starts_with_mrc(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(212)[208:211] == b"MAP"


def _is_text(path: str) -> bool:
    with open(path, "rb") as file:
        return b"\0" not in file.read(4096)
