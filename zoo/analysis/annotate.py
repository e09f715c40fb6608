"""Decoded members of groups put back where they came from: what every voxel of a tomogram is (Zeng
2018, fig. 5)."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from zoo.analysis.groups import Groups
from zoo.analysis.label_figure import save_labels
from zoo.analysis.maps import cluster_colour
from zoo.analysis.markers import ANNOTATION
from zoo.analysis.mined import Mined, check_level, members, places_of, relative_cubes
from zoo.analysis.selection import read_source
from zoo.data.formats.cut_in_frame import frame_reach
from zoo.data.formats.label_volume import write_names
from zoo.data.formats.mrc import write_labels, write_volume
from zoo.data.formats.tomogram_blocks import TomogramBlocks
from zoo.data.tables.cube_frames import CubeFrames
from zoo.errors import ZooError
from zoo.files import whole_file

PICTURE, SCRIPT = "labels.png", "annotation.cxc"
_SAME_VOXEL = 0.01


@dataclass(frozen=True)
class Annotation:
    """``maps`` (g, z, y, x): the height of each group in every voxel, 0 background, 1 the top of a decoded
    cube.

    ``labels`` (z, y, x) int8: the group, 1 to g, that is highest where it reaches the level; else 0.
    ``cubes`` (g,) counts the members of each.
    """

    maps: np.ndarray
    labels: np.ndarray
    cubes: np.ndarray


def annotate(
    mined: Mined,
    groups: Groups,
    model,
    tomogram: TomogramBlocks,
    level: float,
    source: str | os.PathLike | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Annotation:
    """Draw every member of a group and put it back into the tomogram, turned back where it was cut turned.

    ``source``: the file of places, where it has moved. Where cubes overlap the highest counts. Raises
    ZooError for a ``level`` outside 0 to 1, another tomogram (voxel size, or cubes beyond it) and cubes
    without places.
    """
    check_level(level)
    rows, group = members(mined, groups, model)
    rows, group = rows[group > 0], group[group > 0]
    table = read_source(mined.latents.origin, mined.latents.uid, mined.latents.source_row, source)
    places, frames = places_of(table, mined.latents)
    places, frames = places[rows], None if frames is None else frames.select(rows)
    _check_tomogram(tomogram, model, places)
    maps = np.zeros((len(groups.names), *tomogram.shape), np.float32)
    cubes = relative_cubes(model, mined.latents.z_mean[rows])
    for number, cube in enumerate(cubes):
        frame = None if frames is None else frames.select([number])
        put_back(maps[group[number] - 1], cube, places[number], frame)
        progress(number + 1, len(rows))
    return Annotation(maps, labels_of(maps, level), np.bincount(group, minlength=len(maps) + 1)[1:])


def labels_of(maps: np.ndarray, level: float) -> np.ndarray:
    """The number, from 1, of the map (g, ...) that is highest in each voxel and reaches ``level``; else
    0. int8."""
    return np.where(maps.max(axis=0) >= level, maps.argmax(axis=0) + 1, 0).astype(np.int8)


def put_back(volume: np.ndarray, cube: np.ndarray, place_xyz: np.ndarray, frame: CubeFrames | None) -> None:
    """Raise ``volume`` (z, y, x), in place, to a cube (n, n, n) around a voxel; what reaches beyond is left
    out.

    ``frame`` (one cube's) is what it was cut in: point u of the cube shows place + R^T u + centre.
    """
    box = len(cube)
    low, high = (each[0] for each in frame_reach(frame, box, 1))
    first = np.maximum(np.floor(place_xyz + low), 0).astype(int)
    last = np.minimum(np.ceil(place_xyz + high), np.array(volume.shape[::-1]) - 1).astype(int)
    if (last < first).any():
        return
    part = volume[tuple(slice(a, b + 1) for a, b in zip(first[::-1], last[::-1], strict=True))]
    if frame is None:
        start = first - np.asarray(place_xyz, int) + box // 2
        inside = tuple(slice(a, a + size) for a, size in zip(start[::-1], part.shape, strict=True))
        np.maximum(part, cube[inside], out=part)
        return
    x, y, z = (np.arange(a, b + 1) - at for a, b, at in
               zip(first, last, place_xyz + frame.centres_voxel[0], strict=True))  # fmt: skip
    matrix = frame.matrices[0]
    at = np.stack(
        [
            matrix[i, 0] * x[None, None] + matrix[i, 1] * y[None, :, None] + matrix[i, 2] * z[:, None, None]
            for i in (2, 1, 0)
        ]
    )
    turned = ndimage.map_coordinates(cube, at + box // 2, order=1, mode="constant", cval=0.0)
    np.maximum(part, turned, out=part)


def write_annotation(
    folder: str | os.PathLike,
    found: Annotation,
    groups: Groups,
    tomogram: TomogramBlocks,
    voxel_size_angstrom: float,
    level: float,
    final: str | os.PathLike | None = None,
) -> list[str]:
    """Write labels.mrc (int8) and its names, GROUP.mrc for each, labels.png and annotation.cxc for ChimeraX.

    ``final`` is where ``folder`` will lie in the end: names are relative to it. Returns the names of the
    files.
    """
    folder = Path(folder)
    write_labels(folder / ANNOTATION, found.labels, voxel_size_angstrom)
    write_names(folder / ANNOTATION, groups.label_names)
    for name, volume in zip(groups.names, found.maps, strict=True):
        write_volume(folder / f"{name}.mrc", volume, voxel_size_angstrom)
    try:
        save_labels(folder / PICTURE, tomogram.read, found.labels, groups.names)
    except ZooError as error:
        raise ZooError(f"{tomogram.path}: {error}") from error
    with whole_file(folder / SCRIPT, "w") as file:
        file.write(chimerax_script(groups.names, tomogram, Path(final or folder), level))
    return [ANNOTATION, *(f"{name}.mrc" for name in groups.names), PICTURE, SCRIPT]


def chimerax_script(names, tomogram: TomogramBlocks, folder: Path, level: float) -> str:
    """ChimeraX commands: the middle section of the tomogram, and a surface of each group at the level."""
    place = os.path.relpath(tomogram.path, folder.absolute())
    lines = [
        "close session",
        f'open "{place}"',
        "volume #1 style image",
        f"volume #1 plane z,{tomogram.shape[0] // 2}",
    ]
    for number, name in enumerate(names, 2):
        lines.append(f"open {name}.mrc")
        lines.append(
            f"volume #{number} style surface step 1 level {level:.4g} color {cluster_colour(number - 1)}"
        )
    return "\n".join([*lines, "set bgColor white", "lighting soft", "view", ""])


def _check_tomogram(tomogram: TomogramBlocks, model, places: np.ndarray) -> None:
    if 1 in tomogram.shape:
        raise ZooError(f"{tomogram.path}: one section is an image, expected a tomogram")
    voxel, own = tomogram.voxel_size_angstrom, model.voxel_size_angstrom
    if voxel and abs(voxel / own - 1) > _SAME_VOXEL:
        raise ZooError(
            f"{tomogram.path}: voxels of {voxel:.4g} Å, the cubes have {own:.4g} Å; give their tomogram"
        )
    beyond = ((places < 0) | (places >= np.array(tomogram.shape[::-1]))).any(axis=1)
    if beyond.any():
        x, y, z = places[np.flatnonzero(beyond)[0]]
        size = " x ".join(map(str, tomogram.shape[::-1]))
        raise ZooError(
            f"{tomogram.path}: {size} voxels, but {int(beyond.sum())} cubes lie beyond it (such as at "
            f"{x:g}, {y:g}, "
            f"{z:g}); give the tomogram that they were cut from"
        )
