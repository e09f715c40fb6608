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
    stacks: str | os.PathLike | None = None,
) -> ParticleTable:
    """Read particles from RELION STAR, cryoSPARC .cs (with passthrough files) or a bare MRC stack.

    ``pixel_size_angstrom`` overrides what the file says; ``stacks`` is the folder that the image files have
    moved to. What was given is kept in ``table.source.options``. Raises ZooError with file, row, what was
    found and what was expected.
    """
    path = existing_file(path)
    stacks = None if stacks is None else os.fspath(stacks)
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".cs" or _starts_with(path, b"\x93NUMPY"):
        from zoo.data.formats.cryosparc import read_cs

        table = read_cs(path, passthrough, stacks, pixel_size_angstrom)
    elif suffix in STACK_SUFFIXES or _starts_with_mrc(path):
        table = read_stack_table(path)
    elif suffix == ".star" or _is_text(path):
        from zoo.data.formats.star import read_star

        table = read_star(path, stacks, pixel_size_angstrom)
    else:
        raise ZooError(f"{path}: neither a STAR file, a .cs file nor an MRC stack; give one of these")
    if pixel_size_angstrom is not None:
        # readers of files with origins in pixels have taken it already
        if not (np.isfinite(pixel_size_angstrom) and pixel_size_angstrom > 0):
            raise ZooError(f"pixel size {pixel_size_angstrom} Å given, expected a positive number")
        table.pixel_size_angstrom = np.full(len(table), float(pixel_size_angstrom))
    given = {
        "passthrough": [os.path.abspath(extra) for extra in passthrough] if passthrough else None,
        "pixel_size_angstrom": None if pixel_size_angstrom is None else float(pixel_size_angstrom),
        "stacks": None if stacks is None else os.path.abspath(stacks),
    }
    table.known_source().options = {name: value for name, value in given.items() if value is not None}
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


def write_particles(table: ParticleTable, path: str | os.PathLike, extra_columns: dict | None = None) -> None:
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


def columns_left_behind(table: ParticleTable, path: str | os.PathLike) -> list[str]:
    """Columns of the file of a table that `write_particles` to ``path`` leaves out, as the file spells them.

    None where rows go back to the format that they came from; between STAR and .cs all that has no
    counterpart (the identity travels as ``zooUid``).
    """
    source, suffix = table.source, os.path.splitext(os.fspath(path))[1].lower()
    if source is None or table.image_ndim != 2:
        return []
    if source.format == "cs" and suffix == ".star":
        from zoo.data.formats.cryosparc import TRAVELLING_COLUMNS

        return [name for name in source.blocks["particles"].dtype.names if name not in TRAVELLING_COLUMNS]
    if source.format == "star" and suffix == ".cs":
        from zoo.data.formats.star import TRAVELLING_COLUMNS

        blocks = (source.blocks[source.particle_block], source.blocks.get("optics"))
        names = [str(name) for block in blocks if block is not None for name in block]
        return [name for name in dict.fromkeys(names) if name not in TRAVELLING_COLUMNS]
    return []


def _starts_with(path: str, magic: bytes) -> bool:
    with open(path, "rb") as file:
        return file.read(len(magic)) == magic


def _starts_with_mrc(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(212)[208:211] == b"MAP"


def _is_text(path: str) -> bool:
    with open(path, "rb") as file:
        return b"\0" not in file.read(4096)
