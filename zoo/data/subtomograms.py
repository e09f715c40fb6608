"""Subtomograms from RELION STAR files, folders of volumes and picks in a tomogram → subtomogram table."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from zoo.data.formats.mrc import read_header
from zoo.data.formats.star_blocks import split_values
from zoo.data.formats.tomograms_star import is_optimisation_set, read_optimisation_set
from zoo.data.tables.cube_frames import CubeFrames
from zoo.data.tables.particle_table import EULER_COLUMNS, Source
from zoo.data.tables.subtomogram_table import SHIFT_COLUMNS_3D, SubtomogramTable
from zoo.errors import ZooError
from zoo.input_files import existing_file, resolve_images

VOLUME_SUFFIXES = (".mrc", ".map", ".ccp4", ".em", ".rec", ".mrc.gz", ".map.gz", ".ccp4.gz", ".em.gz")
_HEAD_BYTES = 1 << 16
_TOMO_COLUMNS = re.compile(rb"^_?rln(Tomo\w+|CtfImage)\b", re.MULTILINE)
_IMAGE_IN_STACK = re.compile(rb"\d@\S+\.(mrcs|st)\b")
_WEIGHT_NAME = re.compile(r"(?:^|[_-])(?:ctf|wedge|weights?)(?=[_-]|$)", re.IGNORECASE)
_MASK_NAME = re.compile(r"(?:^|[_-])mask(?=[_-]|$)", re.IGNORECASE)
_VOLUME_COLUMNS = re.compile(
    rb"^_?rln(Tomo\w+|CtfImage|OriginZ(Angst)?|CoordinateZ|CenteredCoordinateZAngst)\b", re.MULTILINE
)


def holds_subtomograms(path: str | os.PathLike) -> bool:
    """Whether ``path`` is a folder of volumes, or a STAR file of subtomograms or of places in a tomogram.

    Looks at the start of the file only. 2D tilt stacks count, and so do optimisation sets of RELION 5.
    """
    path = Path(path)
    if path.is_dir():
        return any(item.name.lower().endswith(VOLUME_SUFFIXES) for item in path.iterdir())
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
        if b"data_optics" not in head:  # it may stand behind the particles
            file.seek(max(os.path.getsize(path) - _HEAD_BYTES, len(head)))
            head += b"\n" + file.read(_HEAD_BYTES)
    if b"data_" not in head or b"\0" in head:
        return False
    if is_optimisation_set(path):
        return True
    lines = re.sub(rb"^[ \t]*_", b"", head, flags=re.MULTILINE)
    stated = _stated_dimension(lines)
    if stated == b"3":
        return True
    if stated == b"2":  # a column of zeros for the third axis makes no volume; 2D tilt stacks are in 3D
        return bool(_TOMO_COLUMNS.search(lines))
    if _IMAGE_IN_STACK.search(lines) and not _TOMO_COLUMNS.search(lines):
        return False
    return bool(_VOLUME_COLUMNS.search(lines))


def read_subtomograms(
    source: str | os.PathLike,
    tomogram: str | os.PathLike | None = None,
    pixel_size_angstrom: float | None = None,
    wedge: str | os.PathLike | None = None,
    tilt_range_deg: tuple[float, float] | None = None,
    tomogram_name: str | None = None,
    stacks: str | os.PathLike | None = None,
    tomograms: str | os.PathLike | None = None,
    pose_normalise: bool = False,
) -> SubtomogramTable:
    """Subtomograms of a STAR file or a folder of MRC/EM files; with ``tomogram`` the places in it.

    ``source`` is then STAR, text with columns x, y, z (voxels, 0-based) or copick's JSON
    (`read_coordinates`); ``tomogram_name`` is how it names this tomogram. ``wedge`` (a mask file) and
    ``tilt_range_deg`` hold for all and override the file; a set without either counts as measured everywhere.
    ``pixel_size_angstrom`` overrides what the files say; ``stacks`` is the folder that volumes
    or tomogram have moved to. Of 2D tilt stacks ``tomograms`` (tomograms.star) describes the tilts; it is
    found beside the file, or ``source`` is an optimisation_set.star. With ``pose_normalise`` the angles and
    origins of the file are the frames that its boxes are cut in (`CubeFrames`). What was given is kept in
    ``table.source.options``. Raises ZooError with file, row, what was found and what was expected.
    """
    source = os.path.abspath(os.fspath(source))
    stacks = None if stacks is None else os.path.abspath(stacks)
    if tomogram is None and tomogram_name is not None:
        raise ZooError(
            f"--tomogram-name {tomogram_name}: is how a list of places names --tomogram; give that"
        )
    if is_optimisation_set(source):
        source, named = read_optimisation_set(source)
        tomograms = named if tomograms is None else tomograms
    if tomograms is not None and (tomogram is not None or os.path.isdir(source)):
        raise ZooError(f"{source}: --tomograms is only for STAR files of 2D tilt stacks; leave it out")
    if tomogram is not None:
        from zoo.data.formats.coordinates import read_coordinates

        if stacks is not None:
            tomogram = resolve_images([os.fspath(tomogram)], os.getcwd(), moved_to=stacks)[0][0]
        tomogram = existing_file(tomogram)
        table = read_coordinates(source, tomogram, pixel_size_angstrom, tomogram_name)
        if pose_normalise:
            _take_frames(table)
    elif os.path.isdir(source):
        table = _read_folder(source)
    else:
        from zoo.data.formats.subtomogram_star import read_subtomogram_star

        given = None if tomograms is None else os.path.abspath(tomograms)
        table = read_subtomogram_star(existing_file(source), stacks, pixel_size_angstrom, given)
    if pixel_size_angstrom is not None:
        if not 0 < pixel_size_angstrom <= 10_000:
            raise ZooError(f"pixel size {pixel_size_angstrom:g} Å given, expected more than 0, at most 10000")
        table.pixel_size_angstrom = np.full(len(table), float(pixel_size_angstrom))
    _set_wedge(table, wedge, tilt_range_deg)
    given = {
        "tomogram": tomogram,
        "pixel_size_angstrom": None if pixel_size_angstrom is None else float(pixel_size_angstrom),
        "wedge": None if wedge is None else os.path.abspath(wedge),
        "tilt_range_deg": None if tilt_range_deg is None else [float(tilt) for tilt in tilt_range_deg],
        "tomogram_name": tomogram_name,
        "stacks": stacks,
        "tomograms": None if table.tilts is None else table.tilts.files[0],
        "pose_normalise": pose_normalise or None,
    }
    table.known_source().options = {name: value for name, value in given.items() if value is not None}
    return table


def _take_frames(table: SubtomogramTable) -> None:
    """The poses of ``table`` become frames; those of the particles in the cubes are then not known."""
    poses = np.hstack([table.euler_deg(), table.shift_angstrom()])
    bad = np.flatnonzero(~np.isfinite(poses).all(axis=1))
    if bad.size:
        row = table.source_row[bad[0]] + 1
        raise ZooError(
            f"{table.known_source().path}: row {row}: no angles or origins, so no frame to cut its box in; "
            "pack the places again with --pose-normalise"
        )
    table.frames = CubeFrames.from_pose(poses[:, :3], poses[:, 3:] / table.pixel_size_angstrom[:, None])
    for name in (*EULER_COLUMNS, *SHIFT_COLUMNS_3D):
        setattr(table, name, np.full(len(table), np.nan))


def _read_folder(folder: str) -> SubtomogramTable:
    names = sorted(
        (name for name in os.listdir(folder) if name.lower().endswith(VOLUME_SUFFIXES)), key=_natural_order
    )
    if not names:
        raise ZooError(f"{folder}: holds no volumes ({', '.join(VOLUME_SUFFIXES)}); expected MRC or EM files")
    names, weights, notes = _sort_out(folder, names)
    paths = [os.path.join(folder, name) for name in names]
    sizes = [np.nan if ".em" in name.lower() else read_header(path).pixel_size_angstrom or np.nan
             for name, path in zip(names, paths, strict=True)]  # fmt: skip
    columns = {"stack_index": np.arange(len(paths)), "row_in_stack": np.zeros(len(paths), int)}
    columns["pixel_size_angstrom"] = np.array(sizes)
    if weights:
        columns["wedge_index"] = np.arange(len(paths))
    source = Source("folder", folder, image_root=folder, notes=notes)
    return SubtomogramTable(paths, columns, source, names, [os.path.join(folder, name) for name in weights])


def _sort_out(folder: str, names: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Subtomograms, their CTF volumes (all or none), and lines about files that are neither.

    ``x_ctf.mrc`` belongs to ``x.mrc`` (RELION), ``x_ctf_5.00A.mrc`` to ``x_5.00A.mrc`` (Warp).
    """
    stems = {re.sub(r"(\.gz|\.[A-Za-z0-9]+)$", "", re.sub(r"\.gz$", "", name)): name for name in names}
    weights, others, notes = {}, [], []
    for stem, name in stems.items():
        base = _WEIGHT_NAME.sub("", stem)
        if base != stem and base in stems:
            weights[stems[base]] = name
        elif base != stem or _MASK_NAME.search(stem):
            others.append(name)
    volumes = [name for name in names if name not in others and name not in weights.values()]
    if others:
        shown = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
        notes.append(
            f"{len(others)} files in {folder} are masks or wedges by their names and left out: {shown} (give "
            "a wedge of all with --wedge)"
        )
    if not volumes:
        raise ZooError(f"{folder}: holds masks and wedges by their names and no subtomograms; rename them")
    if weights:
        lacking = [name for name in volumes if name not in weights]
        if lacking:
            raise ZooError(
                f"{folder}: {lacking[0]} and {len(lacking) - 1} other volumes have no CTF volume beside "
                f"them, {len(weights)} have; give all of them one, or none"
            )
        notes.append(f"the CTF volumes beside the subtomograms ({len(weights)} files) are their wedges")
    return volumes, [weights[name] for name in volumes] if weights else [], notes


def _set_wedge(table, wedge, tilt_range_deg) -> None:
    count = len(table)
    if wedge is not None and tilt_range_deg is not None:
        raise ZooError("--wedge and --tilt-range both given: they say the same thing; give one")
    if table.tilts is not None and (wedge is not None or tilt_range_deg is not None):
        raise ZooError(
            f"{table.source.path}: --wedge and --tilt-range are not for 2D tilt stacks, whose tilts are "
            "known; leave them out"
        )
    if wedge is not None:
        table.wedge_paths, table.wedge_index = [existing_file(wedge)], np.zeros(count, np.int32)
    if tilt_range_deg is not None:
        low, high = tilt_range_deg
        if not np.isfinite([low, high]).all():
            raise ZooError(f"--tilt-range {low} {high}: expected two numbers of degrees, from -90 to 90")
        table.wedge_paths, table.wedge_index = [], np.full(count, -1, np.int32)
        table.tilt_min_deg, table.tilt_max_deg = np.full(count, float(low)), np.full(count, float(high))
    unknown = (table.wedge_index < 0) & ~np.isfinite(table.tilt_range_deg()).all(axis=1)
    table.tilt_min_deg[unknown], table.tilt_max_deg[unknown] = -90.0, 90.0
    tilts = table.tilt_range_deg()
    bad = np.flatnonzero((table.wedge_index < 0) & ~((-90 <= tilts[:, 0]) & (tilts[:, 0] < tilts[:, 1])
                                                     & (tilts[:, 1] <= 90)))  # fmt: skip
    if bad.size:
        low, high = tilts[bad[0]]
        where = f"{table.source.path}: row {table.source_row[bad[0]] + 1}: " if table.source else ""
        raise ZooError(
            f"{where}tilts from {low:g} to {high:g} degrees observe nothing or cannot be; "
            "expected -90 <= least < largest <= 90"
        )


def _natural_order(name: str) -> list:
    """2.mrc before 10.mrc."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _stated_dimension(lines: bytes) -> bytes | None:
    """rlnImageDimensionality of the first optics group, from the start of a file (underscores removed)."""
    columns: list[bytes] = []
    inside = False
    for line in lines.splitlines():
        words = [word.encode() for word in split_values(line.decode("utf-8", "replace"))]
        if line.startswith(b"data_"):
            inside, columns = words[0] == b"data_optics", []
        elif inside and words and words[0].startswith(b"rln"):
            columns.append(words[0])
            if words[0] == b"rlnImageDimensionality" and len(words) == 2 and not words[1].startswith(b"#"):
                return words[1]
        elif inside and words and words[0] not in (b"loop_",) and not words[0].startswith(b"#"):
            if b"rlnImageDimensionality" not in columns:
                return None
            index = columns.index(b"rlnImageDimensionality")
            return words[index] if index < len(words) else None
    return None
