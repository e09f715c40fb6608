"""RELION STAR files of subtomograms, 3.1 to 5 → subtomogram table."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd

from zoo.data.formats.star import StarColumns, ctf_columns, pixel_size, star_uids
from zoo.data.formats.star_blocks import read_star_blocks
from zoo.data.formats.star_optics import ctf_state, optics_notes
from zoo.data.formats.subtomogram_star_write import ANGLES, TILTS
from zoo.data.formats.tilt_particles import is_stack_set, read_tilt_particles
from zoo.data.tables.particle_table import PREMULTIPLIED, Source
from zoo.data.tables.subtomogram_table import SubtomogramTable
from zoo.errors import ZooError
from zoo.input_files import resolve_images

EXPORT_3D = (
    "export 3D subtomograms instead: in RELION 5 the job 'Extract subtomos' with 'Write output as 2D stacks' "
    "set to No"
)


def read_subtomogram_star(
    path: str,
    moved_to: str | None = None,
    pixel_size_angstrom: float | None = None,
    tomograms: str | None = None,
) -> SubtomogramTable:
    """Read a STAR file whose rlnImageName are volumes, with rlnCtfImage and poses where it has them.

    RELION 3.1 names (``x.mrc``) and the tomo columns of RELION 4 and 5; particle columns win over the optics
    table. ``moved_to`` is the folder that the volumes lie in now, where they have moved;
    ``pixel_size_angstrom`` is taken instead of the file's, also for origins in pixels. Of a file of 2D tilt
    stacks (RELION 5, WarpTools) the table has ``tilts``, which ``tomograms`` describes (None: found beside
    it). Raises ZooError naming the row for values that make no sense.
    """
    path = os.path.abspath(path)
    blocks, comments = read_star_blocks(path)
    name = volume_block(path, blocks)
    reader = StarColumns(path, blocks[name], blocks.get("optics"))
    tilts = None
    if is_stack_set(blocks, reader):
        tilts = read_tilt_particles(reader, tomograms)
    elif tomograms is not None:
        raise ZooError(f"{path}: holds volumes; --tomograms is only for 2D tilt stacks, leave it out")
    else:
        refuse_stacks(path, blocks, reader)
    names = _file_names(reader, "rlnImageName")
    count = len(names)
    paths, stack_names, root, index = _resolve(names, path, comments, moved_to)
    size = pixel_size(reader, pixel_size_angstrom)
    columns = {
        "stack_index": index,
        "row_in_stack": np.zeros(count, np.int64),
        "uid": star_uids(reader, names),
        "pixel_size_angstrom": size,
        **pose_columns(reader, size),
        **ctf_columns(reader),
        **label_columns(reader),
    }
    if tilts is None:
        wedge_paths, wedge = wedge_files(reader, path, comments, moved_to)
    else:  # each has its own, made with its volume
        wedge_paths, wedge = [], {"wedge_index": np.arange(count)}
    columns |= wedge
    source = Source("star", path, blocks, name, root, comments=comments)
    source.ctf_state, source.notes = ctf_state(reader), optics_notes(reader)
    premultiplied = source.ctf_state is not None and bool((source.ctf_state == PREMULTIPLIED).all())
    return SubtomogramTable(paths, columns, source, stack_names, wedge_paths, premultiplied, tilts)


def wedge_files(
    reader: StarColumns, path: str, comments: dict, moved_to: str | None = None
) -> tuple[list[str], dict[str, np.ndarray]]:
    """Paths of the CTF volumes and ``wedge_index`` of the rows; both empty where the file names none."""
    if not reader.has("rlnCtfImage"):
        return [], {}
    paths, _, _, index = _resolve(_file_names(reader, "rlnCtfImage"), path, comments, moved_to)
    return paths, {"wedge_index": index}


def volume_block(path: str, blocks: dict) -> str:
    """Name of the block of the subtomograms (or of their places): the first with a name or a coordinate."""
    for wanted in ("rlnImageName", "rlnCenteredCoordinateXAngst", "rlnCoordinateX", "rlnTomoParticleName"):
        for name, block in blocks.items():
            if isinstance(block, dict) and wanted in block:
                blocks[name] = block = pd.DataFrame({key: [str(value)] for key, value in block.items()})
            if isinstance(block, pd.DataFrame) and wanted in block:
                if not len(block):
                    raise ZooError(f"{path}: data_{name} holds no subtomograms")
                return name
    found = ", ".join(f"data_{name}" for name in blocks) or "none"
    raise ZooError(
        f"{path}: neither rlnImageName nor coordinates in any block ({found}); "
        "give the STAR file of the subtomograms"
    )


def refuse_stacks(path: str, blocks: dict, reader: StarColumns) -> None:
    """Raise ZooError for 2D images that are no tilt stacks, and files that only say where particles are."""
    dimension = reader.numbers("rlnImageDimensionality", 3)
    if (dimension == 2).any():
        what = "2D tilt stacks (pseudo-subtomograms of RELION 5)" if _is_tomo(reader) else "2D images"
        raise ZooError(f"{path}: holds {what}, expected volumes; {EXPORT_3D}")
    if not reader.has("rlnImageName"):
        raise ZooError(
            f"{path}: column rlnImageName is missing: the file says where particles are, but names no "
            f"volumes; give the tomogram with --tomogram, or {EXPORT_3D}"
        )
    stacks = [name for name in reader.particles["rlnImageName"] if str(name).endswith((".mrcs", ".st"))]
    if stacks:
        row = reader.particles["rlnImageName"].tolist().index(stacks[0]) + 1
        raise ZooError(
            f"{path}: row {row}: rlnImageName is {stacks[0]}, a stack of 2D images, expected a volume; "
            f"{EXPORT_3D}"
        )


def pose_columns(reader: StarColumns, size: np.ndarray) -> dict[str, np.ndarray]:
    """Angles in degrees and origins in Å (missing origins of posed particles are 0, as in RELION)."""
    columns = {ours: reader.numbers(theirs, np.nan) for ours, theirs in ANGLES.items()}
    posed = all(reader.has(name) for name in ANGLES.values())
    for axis in "XYZ":
        if reader.has(f"rlnOrigin{axis}Angst"):
            shift = reader.numbers(f"rlnOrigin{axis}Angst", np.nan)
        elif reader.has(f"rlnOrigin{axis}"):
            pixels = reader.numbers(f"rlnOrigin{axis}", np.nan)
            shift = np.where(pixels == 0, 0.0, pixels * size)
        else:
            shift = np.full(len(size), 0.0 if posed else np.nan)
        columns[f"shift_{axis.lower()}_angstrom"] = shift
    return columns


def label_columns(reader: StarColumns) -> dict[str, np.ndarray]:
    """Optics group, half set, label and tilt range."""
    columns = {
        "optics_group": reader.integers("rlnOpticsGroup", 1),
        "random_subset": reader.integers("rlnRandomSubset", 0),
        "label": reader.integers("zooLabel", -1),
        "source_row": np.arange(len(reader.particles)),
    }
    return columns | {ours: reader.numbers(theirs, np.nan) for ours, theirs in TILTS.items()}


def _is_tomo(reader: StarColumns) -> bool:
    return any(str(column).startswith("rlnTomo") for column in reader.particles)


def _file_names(reader: StarColumns, column: str) -> list[str]:
    if column not in reader.particles:
        raise ZooError(f"{reader.path}: {column} stands in the optics table, expected it in every row")
    names = []
    for row, name in enumerate(reader.particles[column].tolist(), 1):
        if not isinstance(name, str) or not name:
            raise ZooError(f"{reader.path}: row {row}: {column} is empty, expected a volume file")
        number, at, file = name.rpartition("@")
        if at and number.lstrip("0") not in ("", "1"):
            raise ZooError(
                f"{reader.path}: row {row}: {column} is {name}, an image in a stack, expected a volume; "
                f"{EXPORT_3D}"
            )
        names.append(file)
    return names


def _resolve(names: list[str], path: str, comments: dict, moved_to: str | None):
    """Absolute paths and names of the distinct files, the folder they start from, each row's file."""
    index, distinct = pd.factorize(np.asarray(names, dtype=object))
    distinct = [str(name) for name in distinct]
    root = comments.get("image_root", "")
    paths, root = resolve_images(distinct, os.path.dirname(path), root, moved_to)
    return paths, distinct, root, index
