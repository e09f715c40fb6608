"""cryoSPARC particle files (.cs): NumPy structured arrays, joined with their passthrough on uid."""

from __future__ import annotations

import os
import re
import warnings
from glob import escape, glob

import numpy as np

from zoo.data.formats.images import stack_boxes
from zoo.data.formats.star_optics import magnification_note
from zoo.data.tables.particle_table import ParticleTable, Source
from zoo.errors import ZooError
from zoo.files import whole_path
from zoo.input_files import existing_file, resolve_images

_NPY_MAGIC = b"\x93NUMPY"

# table column → (cs column, factor from cs units to ours)
_CTF_FROM_CS = {
    "defocus_u_angstrom": ("ctf/df1_A", 1.0),
    "defocus_v_angstrom": ("ctf/df2_A", 1.0),
    "defocus_angle_deg": ("ctf/df_angle_rad", 180.0 / np.pi),
    "voltage_kv": ("ctf/accel_kv", 1.0),
    "cs_mm": ("ctf/cs_mm", 1.0),
    "amplitude_contrast": ("ctf/amp_contrast", 1.0),
    "phase_shift_deg": ("ctf/phase_shift_rad", 180.0 / np.pi),
    "bfactor_angstrom2": ("ctf/bfactor", 1.0),
    "ctf_scale": ("ctf/scale", 1.0),
}
TRAVELLING_COLUMNS = frozenset(
    ("uid", "blob/path", "blob/idx", "blob/shape", "blob/psize_A", "ctf/exp_group_id")
    + ("alignments3D/pose", "alignments3D/shift", "alignments3D/psize_A", "alignments3D/split")
    + ("zooLabel", "zoo/image_root", *(column for column, _ in _CTF_FROM_CS.values()))
)
"""The .cs columns that a particle table holds, so that they can be written as STAR."""
_CTF_DEFAULTS = {"defocus_angle_deg": 0.0, "phase_shift_deg": 0.0, "bfactor_angstrom2": 0.0, "ctf_scale": 1.0}


def read_cs_array(path: str | os.PathLike) -> np.ndarray:
    """The structured array of a .cs file; Python objects in it are refused, never unpickled."""
    path = existing_file(path)
    with open(path, "rb") as file:
        if file.read(6) != _NPY_MAGIC:
            raise ZooError(f"{path}: not a .cs file (a NumPy array); give a particle .cs file")
    try:
        array = np.load(path, allow_pickle=False)
    except Exception as error:  # NumPy raises many kinds on damaged headers
        if "bject array" in str(error) or "allow_pickle" in str(error):
            raise ZooError(
                f"{path}: holds Python objects, which could run code when read; "
                f"refused, save the columns as numbers and fixed-length text"
            ) from error
        raise ZooError(f"{path}: damaged .cs file: {error}; copy the file again") from error
    if _names(array) is None or array.ndim != 1:
        raise ZooError(f"{path}: an array of shape {array.shape}, expected a table with named columns")
    if "uid" not in _names(array):
        raise ZooError(f"{path}: column uid is missing; it has {', '.join(_names(array)[:8])}")
    _check_columns(path, array)
    return array


def read_cs(
    path: str | os.PathLike,
    passthrough: list[str] | None = None,
    moved_to: str | None = None,
    pixel_size_angstrom: float | None = None,
) -> ParticleTable:
    """Read cryoSPARC particles into a table; columns missing in ``path`` come from its passthrough files.

    Without ``passthrough``, files named *passthrough*.cs of the same job beside ``path`` are used if
    the images or the CTF are missing. Angles become degrees, shifts Å, and the pose (the rotation
    vector of the inverse of RELION's matrix) Euler angles. ``moved_to`` is the folder that the stacks lie in
    now, where they have moved; ``pixel_size_angstrom`` is taken instead of the file's, and shifts scale with
    it. Raises ZooError naming row and column.
    """
    path = existing_file(path)
    array = read_cs_array(path)
    if not len(array):
        raise ZooError(f"{path}: holds no particles")
    if passthrough is None:
        needed = {"blob/path", "blob/idx", "ctf/df1_A"}
        passthrough = [] if needed <= set(_names(array)) else _passthrough_beside(path)
    for extra in passthrough:
        array = _join(path, array, extra)
    if pixel_size_angstrom is not None:
        array = _with_pixel_size(array, pixel_size_angstrom)
    missing = [name for name in ("blob/path", "blob/idx") if name not in _names(array)]
    if missing:
        raise ZooError(f"{path}: column {missing[0]} is missing; give the job's passthrough .cs file")
    names = [text.lstrip(">") for text in _text(path, array, "blob/path").tolist()]
    stack_names, stack_index = np.unique(names, return_inverse=True)
    stated_root = _text(path, array[:1], "zoo/image_root")[0] if "zoo/image_root" in _names(array) else ""
    stack_names = stack_names.tolist()
    paths, root = resolve_images(stack_names, os.path.dirname(path), str(stated_root), moved_to)
    columns = {
        "stack_index": stack_index.reshape(-1),
        "row_in_stack": array["blob/idx"],
        "uid": array["uid"],
        "source_row": np.arange(len(array)),
        "pixel_size_angstrom": _pixel_size(path, array),
    }
    if "ctf/exp_group_id" in _names(array):
        columns["optics_group"] = array["ctf/exp_group_id"]
    if "zooLabel" in _names(array):
        columns["label"] = array["zooLabel"]
    has_ctf = "ctf/df1_A" in _names(array)
    for ours, (theirs, factor) in _CTF_FROM_CS.items():
        if theirs in _names(array):
            columns[ours] = array[theirs].astype(np.float64) * factor
        elif has_ctf and ours in _CTF_DEFAULTS:
            known = np.isfinite(array["ctf/df1_A"])
            columns[ours] = np.where(known, _CTF_DEFAULTS[ours], np.nan)
    columns.update(_alignments(path, array, columns["pixel_size_angstrom"]))
    sign = None
    if "blob/sign" in _names(array) and np.all(array["blob/sign"] == array["blob/sign"][0]):
        sign = int(np.sign(array["blob/sign"][0])) or None
    source = Source("cs", path, {"particles": array}, "particles", root, sign, notes=_notes(array))
    return ParticleTable(paths, columns, source, stack_names)


def write_cs(table: ParticleTable, path: str | os.PathLike, extra_columns: dict | None = None) -> None:
    """Write a table as .cs: the original rows and columns where it came from a .cs file, else new ones.

    ``extra_columns`` (name → one value per particle) are added or replaced; known labels become
    ``zooLabel``.
    """
    path = os.path.abspath(os.fspath(path))
    if table.source is not None and table.source.format == "cs":
        array = table.source.blocks["particles"][table.source_row]
    else:
        array = _array_from_table(table)
    added = dict(extra_columns or {})
    if (table.label >= 0).any() and "zooLabel" not in _names(array) and "zooLabel" not in added:
        added["zooLabel"] = table.label
    paths, _ = resolve_images(table.stack_names, os.path.dirname(path))
    if paths != table.stack_paths and table.source is not None and table.source.image_root:
        added["zoo/image_root"] = np.full(len(table), table.source.image_root)
    for name, values in added.items():
        if np.shape(values)[:1] != (len(table),):
            raise ZooError(f"{path}: column {name} holds {np.shape(values)} values, expected {len(table)}")
    array = _with_columns(array, {name: np.asarray(values) for name, values in added.items()})
    with whole_path(path) as temporary, open(temporary, "wb") as file:
        np.save(file, array, allow_pickle=False)


def _with_pixel_size(array: np.ndarray, size_angstrom: float) -> np.ndarray:
    """Rows whose images have another pixel size than they state; that of the alignment follows."""
    if not 0 < size_angstrom <= 10_000:
        raise ZooError(f"pixel size {size_angstrom:g} Å given, expected more than 0, at most 10000")
    sizes = np.full(len(array), size_angstrom, dtype=np.float32)
    columns = {"blob/psize_A": sizes}
    if {"blob/psize_A", "alignments3D/psize_A"} <= set(_names(array)):
        stated = array["blob/psize_A"].astype(np.float64)
        ratio = np.divide(size_angstrom, stated, out=np.ones(len(array)), where=stated > 0)
        columns["alignments3D/psize_A"] = (array["alignments3D/psize_A"] * ratio).astype(np.float32)
    return _with_columns(array, columns)


def euler_from_pose(pose: np.ndarray) -> np.ndarray:
    """cryoSPARC rotation vectors (n, 3) in radians → RELION rot, tilt, psi in degrees, (n, 3).

    The vector describes the inverse of RELION's matrix A, and A is the inverse of the intrinsic ZYZ
    rotation by (rot, tilt, psi): so the ZYZ angles of the vector's own rotation are RELION's.
    """
    from scipy.spatial.transform import Rotation

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # tilt 0: rot and psi are one angle, any split is right
        return Rotation.from_rotvec(np.asarray(pose, dtype=np.float64)).as_euler("ZYZ", degrees=True)


def pose_from_euler(euler_deg: np.ndarray) -> np.ndarray:
    """RELION rot, tilt, psi in degrees (n, 3) → cryoSPARC rotation vectors in radians, (n, 3)."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_euler("ZYZ", euler_deg, degrees=True).as_rotvec()


def _notes(array: np.ndarray) -> list[str]:
    """A line for everything that changes the images and that no model here uses."""
    notes = []
    for name, what in {
        "ctf/tilt_A": "beam tilt",
        "ctf/trefoil_A": "trefoil",
        "ctf/tetra_A": "tetrafoil",
        "ctf/shift_A": "beam shift",
    }.items():
        if name in _names(array) and array[name].dtype.kind in "iuf":
            given = (np.nan_to_num(array[name]).reshape(len(array), -1) != 0).any(axis=1)
            if given.any():
                share = f"{int(given.sum())} of {len(array)} particles"
                notes.append(f"{what} ({name}, {share}) is not corrected")
    if "ctf/anisomag" in _names(array):
        values = array["ctf/anisomag"]
        if values.dtype.kind in "iuf" and values.shape[1:] == (4,):  # differences from the unit matrix
            notes += magnification_note(values.astype(np.float64) + [1, 0, 0, 1], "ctf/anisomag")
    return notes


def _check_columns(path: str, array: np.ndarray) -> None:
    """Raise ZooError for a column that is read here and has another type or number of values per row."""
    text, whole, real = ("SU", "text"), ("iu", "a whole number"), ("iuf", "a number")
    wanted = {
        "uid": (whole, ()),
        "blob/path": (text, ()),
        "blob/idx": (whole, ()),
        "blob/psize_A": (real, ()),
        "blob/sign": (real, ()),
        "ctf/exp_group_id": (whole, ()),
        "zooLabel": (whole, ()),
        "zoo/image_root": (text, ()),
        "alignments3D/pose": (real, (3,)),
        "alignments3D/shift": (real, (2,)),
        "alignments3D/psize_A": (real, ()),
        "alignments3D/split": (whole, ()),
        **{name: (real, ()) for name, _ in _CTF_FROM_CS.values()},
    }
    for name, ((kinds, what), shape) in wanted.items():
        if name not in _names(array):
            continue
        column = array[name]
        if column.dtype.kind not in kinds or column.shape[1:] != shape:
            each = f"{shape[0]} numbers" if shape else what
            raise ZooError(
                f"{path}: column {name} holds {column.dtype} of shape {column.shape[1:]}, expected "
                f"{each}; is it a particle .cs file?"
            )


def _text(path: str, array: np.ndarray, name: str) -> np.ndarray:
    column = array[name]
    if column.dtype.kind != "S":
        return column.astype(str)
    try:
        return np.char.decode(column, "utf-8")
    except UnicodeDecodeError as error:
        bad = next(row for row, value in enumerate(column.tolist()) if not _is_utf8(value))
        raise ZooError(
            f"{path}: row {bad + 1}: {name} is {column[bad]!r}, which is no UTF-8 text; rename the files"
        ) from error


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _passthrough_beside(path: str) -> list[str]:
    job = re.search(r"J\d+(?=_|\b)", os.path.basename(path))
    beside = sorted(glob(os.path.join(escape(os.path.dirname(path)), "*passthrough*.cs")))
    return [
        other
        for other in beside
        if other != path and (job is None or re.search(job.group() + r"(?!\d)", os.path.basename(other)))
    ]


def _join(path: str, array: np.ndarray, extra_path: str) -> np.ndarray:
    """``array`` with the columns that only ``extra_path`` has, row by row of equal uid."""
    extra = read_cs_array(extra_path)
    order = np.argsort(extra["uid"], kind="stable")
    place = np.searchsorted(extra["uid"], array["uid"], sorter=order)
    rows = order[np.minimum(place, len(extra) - 1)] if len(extra) else np.zeros(len(array), dtype=np.int64)
    lost = np.flatnonzero(extra["uid"][rows] != array["uid"]) if len(extra) else np.arange(len(array))
    if lost.size:
        raise ZooError(
            f"{path}: row {lost[0] + 1}: uid {array['uid'][lost[0]]} is not in {extra_path} "
            f"({lost.size} of {len(array)} are not); give the passthrough file of the same job"
        )
    names = [name for name in _names(extra) if name not in _names(array)]
    return _with_columns(array, {name: extra[name][rows] for name in names})


def _names(array: np.ndarray) -> tuple[str, ...]:
    """The columns of a structured array."""
    return array.dtype.names or ()


def _with_columns(array: np.ndarray, columns: dict[str, np.ndarray]) -> np.ndarray:
    """A copy of a structured array with columns added or replaced; text becomes fixed-length bytes."""
    columns = {
        name: np.char.encode(values.astype(str), "utf-8") if values.dtype.kind in "UO" else values
        for name, values in columns.items()
    }
    kept = [(name, array.dtype[name]) for name in _names(array) if name not in columns]
    new = [(name, values.dtype, values.shape[1:]) for name, values in columns.items()]
    out = np.empty(len(array), dtype=kept + new)
    for name, _ in kept:
        out[name] = array[name]
    for name, values in columns.items():
        out[name] = values
    return out


def _pixel_size(path: str, array: np.ndarray) -> np.ndarray:
    if "blob/psize_A" not in _names(array):
        return np.full(len(array), np.nan)
    sizes = array["blob/psize_A"].astype(np.float64)
    bad = np.flatnonzero(~(sizes > 0) | ~np.isfinite(sizes))
    if bad.size:
        raise ZooError(
            f"{path}: row {bad[0] + 1}: pixel size {sizes[bad[0]]:g} Å (blob/psize_A), "
            f"expected a positive number"
        )
    return sizes


def _alignments(path: str, array: np.ndarray, pixel_size: np.ndarray) -> dict[str, np.ndarray]:
    """Poses in degrees, shifts in Å and half sets, from the alignments3D columns."""
    columns = {}
    if "alignments3D/pose" in _names(array):
        pose = array["alignments3D/pose"].astype(np.float64)
        bad = np.flatnonzero(~np.isfinite(pose).all(axis=1))
        if bad.size:
            raise ZooError(f"{path}: row {bad[0] + 1}: alignments3D/pose {pose[bad[0]]}, expected 3 numbers")
        columns["rot_deg"], columns["tilt_deg"], columns["psi_deg"] = euler_from_pose(pose).T
    if "alignments3D/shift" in _names(array):
        if "alignments3D/psize_A" in _names(array):  # the shift is in pixels of the alignment
            pixel_size = array["alignments3D/psize_A"].astype(np.float64)
        shift = array["alignments3D/shift"].astype(np.float64) * pixel_size[:, None]
        columns["shift_x_angstrom"], columns["shift_y_angstrom"] = shift.T
    if "alignments3D/split" in _names(array):
        columns["random_subset"] = array["alignments3D/split"].astype(np.int32) + 1
    return columns


def _array_from_table(table: ParticleTable) -> np.ndarray:
    """The .cs columns of a table that came from elsewhere; unknown ones are left out."""
    columns = {
        "uid": table.uid,
        "blob/path": np.array(table.stack_names)[table.stack_index],
        "blob/idx": table.row_in_stack.astype(np.uint32),
    }
    box = stack_boxes(table)[table.stack_index].astype(np.uint32)
    if box.all():
        columns["blob/shape"] = np.stack([box, box], axis=1)
    if np.isfinite(table.pixel_size_angstrom).all():
        columns["blob/psize_A"] = table.pixel_size_angstrom.astype(np.float32)
    columns["ctf/exp_group_id"] = table.optics_group.astype(np.uint32)
    for ours, (theirs, factor) in _CTF_FROM_CS.items():
        values = getattr(table, ours)
        if np.isfinite(values).any():
            columns[theirs] = (values / factor).astype(np.float32)
    if np.isfinite(table.euler_deg()).all():
        columns["alignments3D/pose"] = pose_from_euler(table.euler_deg()).astype(np.float32)
        if np.isfinite(table.shift_angstrom()).all() and "blob/psize_A" in columns:
            pixels = table.shift_angstrom() / table.pixel_size_angstrom[:, None]
            columns["alignments3D/shift"] = pixels.astype(np.float32)
            columns["alignments3D/psize_A"] = columns["blob/psize_A"]
        if (table.random_subset > 0).any():
            columns["alignments3D/split"] = np.maximum(table.random_subset - 1, 0).astype(np.uint32)
    return _with_columns(np.zeros(len(table), dtype=[]), columns)
