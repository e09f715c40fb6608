"""Subtomograms → RELION STAR files: rows of the original file, or new ones; 3.1, and RELION 5's columns."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd

from zoo.data.formats.star_blocks import write_star_blocks
from zoo.data.formats.star_write import as_text, image_root_comment, optics_frame, state_pixel_size
from zoo.data.formats.tomogram_names import tomogram_stem
from zoo.data.tables.particle_table import image_uids
from zoo.data.tables.subtomogram_table import SubtomogramTable
from zoo.errors import ZooError

ANGLES = {"rot_deg": "rlnAngleRot", "tilt_deg": "rlnAngleTilt", "psi_deg": "rlnAnglePsi"}
ORIGINS = {f"shift_{axis}_angstrom": f"rlnOrigin{axis.upper()}Angst" for axis in "xyz"}
TILTS = {"tilt_min_deg": "zooTiltMinDeg", "tilt_max_deg": "zooTiltMaxDeg"}
_PIXEL_ORIGINS = tuple(f"rlnOrigin{axis}" for axis in "XYZ")
# RELION wants these of every set; what is not known does not act where the CTF is a volume
_OPTICS = (
    ("cs_mm", "rlnSphericalAberration", 2.7),
    ("voltage_kv", "rlnVoltage", 300.0),
    ("amplitude_contrast", "rlnAmplitudeContrast", 0.1),
)
_MOVED_TO_OPTICS = (*(column for _, column, _ in _OPTICS), "rlnMagnification", "rlnDetectorPixelSize",
                    "rlnImagePixelSize")  # fmt: skip


def write_subtomograms(
    table: SubtomogramTable,
    path: str | os.PathLike,
    box: int | None = None,
    extra_columns: dict | None = None,
    relion5: bool = False,
) -> None:
    """Write a table as a STAR of 3D particles, atomically: a selection of a STAR file keeps all its columns.

    Rows of another source are made new as RELION 3.1 has them, names relative to ``path``'s folder, ``box``
    voxels (None: that of the files). With ``relion5`` also what RELION 4 and 5 want (``rlnTomo...``; 3D, no
    2D stacks). ``extra_columns`` maps names to one value per particle; angles and origins in them are those
    of the boxes as packed, are brought to the tomogram where these were cut in frames of their own, and
    replace the file's. What was given beside the source (pixel size, wedge, range of tilts,
    moved files) is stated in the rows.
    """
    path = os.path.abspath(os.fspath(path))
    if not len(table):
        raise ZooError(f"{path}: no subtomograms to write")
    extra = _out_of_frames(table, _checked(table, path, extra_columns))
    if table.source is not None and table.source.format == "star":
        blocks, target = dict(table.source.blocks), table.source.particle_block
        particles = blocks[target].iloc[table.source_row].reset_index(drop=True).copy()
        comments = dict(table.source.comments)
        _state_options(table, path, blocks, particles, comments)
        extra = _from_stated_places(table, extra)
        bare = not isinstance(blocks.get("optics"), (pd.DataFrame, dict))
        if bare and (relion5 or set(extra) & set(ORIGINS.values())):
            # RELION takes a file without optics for one of 3.0, whose origins are in pixels
            del blocks[target]
            target, comments["version"] = "particles", "# version 30001"
            blocks, particles = _with_optics(table, blocks, particles, _box(table, box))
    else:
        blocks = {}
        blocks["optics"], groups = _optics(table, _box(table, box))
        particles, target = _new_rows(table, path, groups), "particles"
        comments = {"version": "# version 30001"}
    if set(extra) & set(ORIGINS.values()):
        particles = particles.drop(columns=[name for name in _PIXEL_ORIGINS if name in particles])
    for name, values in extra.items():
        particles[name] = as_text(values)
    blocks[target] = particles
    if relion5 and table.tilts is None:  # a file of 2D tilt stacks has all of it
        blocks = _for_relion5(table, blocks, target)
        comments["version"] = "# version 50001"
    write_star_blocks(path, blocks, comments)


def _checked(table: SubtomogramTable, path: str, extra_columns: dict | None) -> dict[str, np.ndarray]:
    extra = {name.lstrip("_"): np.asarray(values) for name, values in (extra_columns or {}).items()}
    for name, values in extra.items():
        if values.shape != (len(table),):
            raise ZooError(f"{path}: column {name} holds {values.shape} values, expected {len(table)}")
    return extra


def _out_of_frames(table: SubtomogramTable, extra: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Poses of particles in cubes that were cut turned and moved → poses in boxes cut straight."""
    if table.frames is None or not set(extra) & {*ANGLES.values(), *ORIGINS.values()}:
        return extra
    none, voxel = np.zeros(len(table)), table.pixel_size_angstrom
    euler_deg = np.stack([extra.get(name, none) for name in ANGLES.values()], axis=1)
    origin = np.stack([extra.get(name, none) / voxel for name in ORIGINS.values()], axis=1)
    euler_deg, origin = table.frames.to_tomogram(euler_deg.astype(np.float64), origin)
    found = dict(zip(ANGLES.values(), euler_deg.T, strict=True))
    found |= dict(zip(ORIGINS.values(), (origin * voxel[:, None]).T, strict=True))
    return extra | found


def _state_options(table: SubtomogramTable, path: str, blocks: dict, particles, comments: dict) -> None:
    """Write into rows of a STAR file what was given beside it, so that it reads back as it was packed."""
    options = table.known_source().options
    if "pixel_size_angstrom" in options:
        state_pixel_size(blocks, particles, table.pixel_size_angstrom)
    for name in ("rlnCtfImage",) if {"wedge", "tilt_range_deg"} & set(options) else ():
        if name in particles:
            del particles[name]
    if "tilt_range_deg" in options:
        for ours, theirs in TILTS.items():
            particles[theirs] = as_text(getattr(table, ours))
    if "stacks" in options and "rlnImageName" in particles:
        names = [_placed(name, path) for name in table.stack_paths]
        particles["rlnImageName"] = [names[index] for index in table.stack_index.tolist()]
        comments.pop("image_root", None)
    else:
        image_root_comment(table, path, comments)
    if "wedge" in options or ("stacks" in options and "rlnCtfImage" in particles):
        wedges = [_placed(name, path) for name in table.wedge_paths]
        particles["rlnCtfImage"] = [wedges[index] for index in table.wedge_index.tolist()]
    if table.known_source().place_offset_angstrom is not None or "stacks" in options:
        particles["zooUid"] = as_text(table.uid)


def _from_stated_places(table: SubtomogramTable, extra: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Origins counted from the places that the file states, not from the voxels that boxes lie around."""
    offsets = table.known_source().place_offset_angstrom
    if offsets is None:
        return extra
    offsets = offsets[table.source_row]
    return {
        name: values + offsets[:, list(ORIGINS.values()).index(name)] if name in ORIGINS.values() else values
        for name, values in extra.items()
    }


def _with_optics(table: SubtomogramTable, blocks: dict, particles: pd.DataFrame, box: int | None):
    """Rows of RELION 3.0 as those of 3.1: what stands in the optics table leaves them, all else stays."""
    optics, groups = _optics(table, box)
    particles = particles.drop(columns=[name for name in _MOVED_TO_OPTICS if name in particles])
    for ours, theirs in ORIGINS.items():
        values = getattr(table, ours)
        if theirs not in particles and np.isfinite(values).any():
            particles[theirs] = as_text(values)
    particles["rlnOpticsGroup"] = as_text(groups)
    return {"optics": optics, **blocks}, particles.drop(columns=[c for c in _PIXEL_ORIGINS if c in particles])


def _box(table: SubtomogramTable, box: int | None) -> int | None:
    from zoo.data.formats.volumes import volume_file

    cut = np.isfinite(table.coordinates_voxel()).all(axis=1)
    if box is not None or cut.all():
        return box
    file = table.stack_paths[int(table.stack_index[np.flatnonzero(~cut)[0]])]
    return volume_file(file).shape[0] if os.path.exists(file) else None


def _optics(table: SubtomogramTable, box: int | None) -> tuple[pd.DataFrame, np.ndarray]:
    """Optics table of the different optics in a table, and the group of every particle."""
    shared = ("voltage_kv", "cs_mm", "amplitude_contrast", "pixel_size_angstrom")
    keys = np.stack([table.optics_group, *(getattr(table, name) for name in shared)], axis=1)
    keys = np.nan_to_num(keys, nan=-1.0)  # NaN is never equal to NaN
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    numbers = np.arange(1, len(first) + 1)
    optics = {
        "rlnOpticsGroup": as_text(numbers),
        "rlnOpticsGroupName": [f"opticsGroup{number}" for number in numbers],
    }
    for name, column, default in _OPTICS:
        optics[column] = as_text(np.nan_to_num(getattr(table, name)[first], nan=default))
    optics["rlnImagePixelSize"] = as_text(table.pixel_size_angstrom[first])
    if box is not None:
        optics["rlnImageSize"] = [str(box)] * len(first)
    optics["rlnImageDimensionality"] = ["3"] * len(first)
    if table.premultiplied:
        optics["rlnCtfDataAreCtfPremultiplied"] = ["1"] * len(first)
    return pd.DataFrame(optics), numbers[inverse.reshape(-1)]


def _new_rows(table: SubtomogramTable, path: str, groups: np.ndarray) -> pd.DataFrame:
    """Rows as RELION 3.1 has them: volume files, or places in a tomogram."""
    places = table.coordinates_voxel()
    placed = np.isfinite(places).all(axis=1)
    columns = {}
    files = [_placed(name, path) for name in table.stack_paths]
    images = [files[index] for index in table.stack_index.tolist()]
    if placed.any():
        columns["rlnTomoName"] = [tomogram_stem(name) for name in images]
        columns["rlnMicrographName"] = images
        for number, axis in enumerate("XYZ"):
            columns[f"rlnCoordinate{axis}"] = as_text(places[:, number])
    if not placed.all():
        columns["rlnImageName"] = images
    if (table.wedge_index >= 0).all():
        wedges = [_placed(name, path) for name in table.wedge_paths]
        columns["rlnCtfImage"] = [wedges[index] for index in table.wedge_index.tolist()]
    for ours, theirs in (ANGLES | ORIGINS).items():
        values = getattr(table, ours)
        if np.isfinite(values).any():
            columns[theirs] = as_text(values)
    tilts = table.tilt_range_deg()
    if np.isfinite(tilts).any() and not (tilts == [-90, 90]).all():  # everything measured needs no words
        columns |= {theirs: as_text(getattr(table, ours)) for ours, theirs in TILTS.items()}
    columns["rlnOpticsGroup"] = as_text(groups)
    if (table.random_subset > 0).any():
        columns["rlnRandomSubset"] = as_text(table.random_subset)
    if (table.label >= 0).any():
        columns["zooLabel"] = as_text(table.label)
    if placed.any() or not np.array_equal(table.uid, image_uids(images)):
        columns["zooUid"] = as_text(table.uid)
    return pd.DataFrame(columns)


def _placed(name: str, path: str) -> str:
    """A file as ``path`` names it: relative to its folder (RELION runs there)."""
    return os.path.relpath(name, os.path.dirname(path))


def _for_relion5(table: SubtomogramTable, blocks: dict, target: str) -> dict:
    """Blocks with the columns of RELION 4 and 5 that are not there yet, as far as they are known."""
    optics = optics_frame(blocks)
    assert optics is not None  # written above
    particles, optics = blocks[target].copy(), optics.copy()
    groups = {}
    if "rlnOpticsGroup" not in particles and len(optics) == 1:
        groups["rlnOpticsGroup"] = [optics.get("rlnOpticsGroup", pd.Series(["1"])).iloc[0]] * len(particles)
    names = _tomogram_names(table, particles)
    first = {}
    if "rlnTomoName" not in particles or list(particles["rlnTomoName"]) != names:
        first["rlnTomoName"] = names
    if "rlnTomoParticleName" not in particles:
        number = pd.Series(names).groupby(names).cumcount() + 1
        first["rlnTomoParticleName"] = [f"{name}/{count}" for name, count in zip(names, number, strict=True)]
    particles = particles.drop(columns=[name for name in first if name in particles])
    first |= _centred(table, particles)
    particles = pd.concat([pd.DataFrame(first), particles, pd.DataFrame(groups)], axis=1)
    if "rlnTomoTiltSeriesPixelSize" not in optics and "rlnTomoTiltSeriesPixelSize" not in particles:
        optics["rlnTomoTiltSeriesPixelSize"] = optics["rlnImagePixelSize"]
        optics["rlnTomoSubtomogramBinning"] = "1"
    if "rlnCtfDataAreCtfPremultiplied" not in optics and "rlnCtfDataAreCtfPremultiplied" not in particles:
        optics["rlnCtfDataAreCtfPremultiplied"] = str(int(table.premultiplied))
    general = blocks.get("general", {})
    if isinstance(general, dict) and "rlnTomoSubTomosAre2DStacks" not in general:
        general = {**general, "rlnTomoSubTomosAre2DStacks": "0"}
    rest = {name: block for name, block in blocks.items() if name not in ("general", "optics", target)}
    return {"general": general, "optics": optics, **rest, "particles": particles}


def _tomogram_names(table: SubtomogramTable, particles: pd.DataFrame) -> list[str]:
    for column in ("rlnTomoName", "rlnMicrographName"):
        if column in particles:
            return [tomogram_stem(name) for name in particles[column]]
    return ["tomogram_1"] * len(table)


def _centred(table: SubtomogramTable, particles: pd.DataFrame) -> dict[str, list[str]]:
    """Places from the middle of the tomogram in Å, where they are known and not stated yet."""
    from zoo.data.formats.volumes import volume_file

    places = table.coordinates_voxel()
    if "rlnCenteredCoordinateXAngst" in particles or not np.isfinite(places).all():
        return {}
    if not all(os.path.exists(path) for path in table.stack_paths):
        return {}
    middles = np.array([volume_file(path).shape[::-1] for path in table.stack_paths]) / 2
    centred = (places - middles[table.stack_index]) * table.pixel_size_angstrom[:, None]
    source = table.source
    if source is not None and source.place_offset_angstrom is not None and source.format == "star":
        centred = centred + source.place_offset_angstrom[table.source_row]  # origins count from stated places
    return {f"rlnCenteredCoordinate{axis}Angst": as_text(centred[:, i]) for i, axis in enumerate("XYZ")}
