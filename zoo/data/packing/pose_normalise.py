"""Boxes cut again from the tomogram, each in the frame of what it shows; a STAR file keeps the frames."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from zoo.data.formats.subtomogram_star_write import ANGLES, ORIGINS, write_subtomograms
from zoo.data.formats.volumes import VolumeReader
from zoo.data.info import INFO_NAME
from zoo.data.packing.label_options import PLACES_NAME
from zoo.data.packing.plan import PackState
from zoo.data.packing.principal_frame import principal_frame
from zoo.data.tables.cube_frames import CubeFrames
from zoo.data.tables.subtomogram_table import SubtomogramTable
from zoo.errors import ZooError
from zoo.files import write_json

STAR_NAME, STATE_NAME = "pose_normalised.star", "pose_normalised.json"
_DECIMALS = 4  # so that another machine's rounding makes the same file


def find_frames(
    reader: VolumeReader, sign: int, progress: Callable[[int, int], None] = lambda done, total: None
) -> CubeFrames:
    """The frame of every cube of ``reader``, cut straight; ``sign`` 1 where particles are bright, else -1."""
    matrices, centres = np.empty((len(reader), 3, 3)), np.empty((len(reader), 3))
    for index in range(len(reader)):
        matrices[index], centres[index] = principal_frame(reader.read([index])[0], sign)
        progress(index + 1, len(reader))
    return CubeFrames(matrices, centres)


def write_frames(table: SubtomogramTable, frames: CubeFrames, path: str | os.PathLike, box: int) -> None:
    """Write the rows of ``table`` with their frames as angles and origins, in place of the file's own."""
    euler_deg, origin_voxel = frames.pose()
    origin = origin_voxel * table.pixel_size_angstrom[:, None]
    columns = dict(zip(ANGLES.values(), np.round(euler_deg, _DECIMALS).T, strict=True))
    columns |= dict(zip(ORIGINS.values(), np.round(origin, _DECIMALS).T, strict=True))
    write_subtomograms(table, path, box, columns)


def frames_in(
    out: Path,
    reader: VolumeReader,
    settings: dict,
    find_contrast: Callable[[VolumeReader], dict],
    overwrite: bool,
    progress: Callable[[int, int], None],
) -> tuple[str, dict]:
    """The STAR file of frames in the data set's folder ``out``, and how the contrast was found.

    Made where it is not there or was made of another source, tomogram or settings (or ``overwrite``).
    """
    star, state = out / STAR_NAME, out / STATE_NAME
    table = reader.table
    key = _key(table, settings)
    if not overwrite and star.exists() and (known := _read(state)).get("key") == key:
        return str(star), known["contrast"]
    contrast = find_contrast(reader)
    frames = find_frames(reader, contrast["sign"], progress)
    out.mkdir(parents=True, exist_ok=True)
    write_frames(table, frames, star, reader.box)
    write_json(state, {"key": key, "contrast": contrast})
    return str(star), contrast


@contextlib.contextmanager
def undone_on_error(out: Path) -> Iterator[None]:
    """Remove frames and places again where bad input ends the first run before anything was packed."""
    names = (STAR_NAME, STATE_NAME, PLACES_NAME)
    had_folder, had = out.exists(), any((out / name).exists() for name in names)
    try:
        yield
    except ZooError:
        begun = (out / INFO_NAME).exists() or PackState.folder_in(out).exists()
        if not begun and not had:
            for name in names:
                (out / name).unlink(missing_ok=True)
            if not had_folder:
                with contextlib.suppress(OSError):  # not empty: what lies there is somebody's
                    out.rmdir()
        raise


def _key(table: SubtomogramTable, settings: dict) -> str:
    """What the frames depend on, in short: the file of places, rows, tomogram and settings."""
    digest = hashlib.sha256(Path(table.known_source().path).read_bytes())
    digest.update(np.ascontiguousarray(table.source_row))
    for path in table.stack_paths:
        found = os.stat(path)
        digest.update(f"{path} {found.st_size} {found.st_mtime_ns}".encode())
    digest.update(json.dumps(settings, sort_keys=True).encode())
    return digest.hexdigest()


def _read(path: Path) -> dict:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
