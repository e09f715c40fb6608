"""The particle table: image, pose, CTF, optics and identity of every particle, in one set of units."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, get_type_hints

import numpy as np
import numpy.typing as npt

from zoo.errors import ZooError
from zoo.ops.known_ctf import CTF_COLUMNS

EULER_COLUMNS = ("rot_deg", "tilt_deg", "psi_deg")
SHIFT_COLUMNS = ("shift_x_angstrom", "shift_y_angstrom")

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Column:
    """How a table holds a column: its dtype, the value that means "unknown", the unit of its numbers.

    ``unknown`` None: a column that is not given is computed from the others.
    """

    dtype: type
    unknown: Any
    unit: str = ""


DEGREES = Column(np.float64, np.nan, "deg")
ANGSTROM = Column(np.float64, np.nan, "angstrom")


def declared_columns(table: type) -> dict[str, Column]:
    """The columns that a class of tables and its bases declare as fields, in that order."""
    hints = get_type_hints(table, include_extras=True)
    found = {name: getattr(hint, "__metadata__", ()) for name, hint in hints.items()}
    return {name: extra[0] for name, extra in found.items() if extra and isinstance(extra[0], Column)}


@dataclass
class Source:
    """Where a table was read from, with all that is needed to write a selection back unchanged.

    ``format`` is "star", "cs", "mrc", "folder", "csv" or "json"; ``blocks`` holds the blocks of the file as
    read (STAR: data frames of text and dicts; cs: one structured array); ``image_root`` is the folder that
    the image names in the file are relative to; ``stated_contrast_sign`` is what the file says about the sign
    of the density (cryoSPARC's ``blob/sign``), None where it says nothing. ``ctf_state`` says for every
    row of the file what was done to the image's CTF (``RAW``, ``FLIPPED``, ``PREMULTIPLIED``), None: raw;
    ``options`` is what was given beside the file and is needed to read it again (plain values, as info.json
    keeps them); ``notes`` is what a person should know about the reading; ``place_offset_angstrom`` (rows of
    the file, 3) is how far the stated places lie from the voxels that boxes are cut around, where there are
    places.
    """

    format: str
    path: str
    blocks: dict[str, Any] = field(default_factory=dict)
    particle_block: str = ""
    image_root: str = ""
    stated_contrast_sign: int | None = None
    comments: dict[str, str] = field(default_factory=dict)
    ctf_state: np.ndarray | None = None
    options: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    place_offset_angstrom: np.ndarray | None = None


RAW, FLIPPED, PREMULTIPLIED = range(3)
"""What was done to an image: nothing; its phases were flipped; it was multiplied with its CTF."""


class ParticleTable:
    """n particles as NumPy columns of equal length n, declared below with dtype, unknown value and unit.

    ``uid`` stays the same wherever an image is written to; ``label`` is the true class where it is known;
    ``optics_group`` and ``random_subset`` (half set) are the file's; ``source_row`` is the row that was read.
    The nine parameters from ``defocus_u_angstrom`` on are the CTF (`ctf`), angles and shifts the pose.
    ``stack_paths`` are absolute paths, ``stack_names`` the same stacks as the source file spells
    them. Columns are attributes: ``table.defocus_u_angstrom``. Raises ZooError for unknown column
    names and for columns of unequal length.
    """

    stack_index: Annotated[Int32, Column(np.int32, 0)]
    row_in_stack: Annotated[Int64, Column(np.int64, None)]
    uid: Annotated[UInt64, Column(np.uint64, None)]
    rot_deg: Annotated[Float64, DEGREES]
    tilt_deg: Annotated[Float64, DEGREES]
    psi_deg: Annotated[Float64, DEGREES]
    shift_x_angstrom: Annotated[Float64, ANGSTROM]
    shift_y_angstrom: Annotated[Float64, ANGSTROM]
    defocus_u_angstrom: Annotated[Float64, ANGSTROM]
    defocus_v_angstrom: Annotated[Float64, ANGSTROM]
    defocus_angle_deg: Annotated[Float64, DEGREES]
    voltage_kv: Annotated[Float64, Column(np.float64, np.nan, "kV")]
    cs_mm: Annotated[Float64, Column(np.float64, np.nan, "mm")]
    amplitude_contrast: Annotated[Float64, Column(np.float64, np.nan)]
    phase_shift_deg: Annotated[Float64, DEGREES]
    bfactor_angstrom2: Annotated[Float64, Column(np.float64, np.nan, "angstrom^2")]
    ctf_scale: Annotated[Float64, Column(np.float64, np.nan)]
    pixel_size_angstrom: Annotated[Float64, ANGSTROM]
    optics_group: Annotated[Int32, Column(np.int32, 1)]
    label: Annotated[Int64, Column(np.int64, -1)]
    random_subset: Annotated[Int32, Column(np.int32, 0)]
    source_row: Annotated[Int64, Column(np.int64, None)]

    column_types: ClassVar[dict[str, tuple[type, Any]]]
    kind: ClassVar[str] = "particles"
    image_ndim: ClassVar[int] = 2

    def __init__(
        self,
        stack_paths: Sequence[str],
        columns: dict[str, Any],
        source: Source | None = None,
        stack_names: Sequence[str] | None = None,
    ):
        self.stack_paths = [str(path) for path in stack_paths]
        self.stack_names = [str(name) for name in (stack_paths if stack_names is None else stack_names)]
        self.source = source
        unknown = sorted(set(columns) - set(self.column_types))
        if unknown:
            known = ", ".join(self.column_types)
            raise ZooError(f"unknown particle column {unknown[0]!r}; the columns are {known}")
        count = _common_length(columns)
        self._count = count
        for name, (dtype, missing) in self.column_types.items():
            if name in columns:
                values = np.asarray(columns[name])
                self._require_range(name, values, dtype)
                setattr(self, name, np.array(np.broadcast_to(values, count), dtype=dtype))
            elif missing is not None:
                setattr(self, name, np.full(count, missing, dtype=dtype))
            elif name in ("row_in_stack", "source_row"):
                setattr(self, name, np.arange(count, dtype=dtype))
        if count and (self.stack_index.min() < 0 or self.stack_index.max() >= len(self.stack_paths)):
            raise ZooError(f"stack_index outside 0..{len(self.stack_paths) - 1} (number of stack paths)")
        if "uid" not in columns:
            self.uid = image_uids(self.image_names())

    def _require_range(self, name: str, values: np.ndarray, dtype: type) -> None:
        """Raise ZooError for a number that an integer column cannot hold: NumPy would wrap it round."""
        if not np.issubdtype(dtype, np.integer) or not values.size or values.dtype.kind not in "iufO":
            return
        limits = np.iinfo(dtype)
        with np.errstate(invalid="ignore"):
            bad = np.flatnonzero(~((values >= limits.min) & (values <= limits.max)))
        if bad.size:
            where = f"{self.source.path}: " if self.source else ""
            raise ZooError(
                f"{where}row {bad[0] + 1}: {name} is {values.flat[bad[0]]}, expected a whole number from "
                f"{limits.min} to {limits.max}"
            )

    def __len__(self) -> int:
        return self._count

    def known_source(self) -> Source:
        """Where the table was read from; raises ZooError for one that was made in memory."""
        if self.source is None:
            raise ZooError("this table was made in memory: it has no file to be written back to")
        return self.source

    def __repr__(self) -> str:
        return f"ParticleTable({len(self)} particles, {len(self.stack_paths)} stacks)"

    def columns(self) -> dict[str, np.ndarray]:
        """All columns by name, in the order of ``column_types`` (the arrays themselves, not copies)."""
        return {name: getattr(self, name) for name in self.column_types}

    def select(self, indices) -> ParticleTable:
        """The particles at ``indices`` (integers, a slice or a boolean mask), in that order."""
        if isinstance(indices, slice):
            indices = np.arange(len(self))[indices]
        indices = np.asarray(indices)
        if indices.size == 0:
            indices = indices.astype(np.int64)
        columns = {name: values[indices] for name, values in self.columns().items()}
        return type(self)(self.stack_paths, columns, self.source, self.stack_names)

    def ctf(self) -> np.ndarray:
        """CTF parameters, (n, 9) float64, in the order of ``CTF_COLUMNS``."""
        return np.stack([getattr(self, name) for name in CTF_COLUMNS], axis=1)

    def ctf_state(self) -> np.ndarray:
        """``RAW``, ``FLIPPED`` or ``PREMULTIPLIED`` of every image, (n,) uint8."""
        state = self.source.ctf_state if self.source is not None else None
        return np.full(len(self), RAW, np.uint8) if state is None else state[self.source_row]

    def euler_deg(self) -> np.ndarray:
        """RELION's rot, tilt, psi in degrees, (n, 3) float64, NaN where unknown."""
        return np.stack([getattr(self, name) for name in EULER_COLUMNS], axis=1)

    def shift_angstrom(self) -> np.ndarray:
        """RELION's origins x, y in Å, (n, 2) float64, NaN where unknown."""
        return np.stack([getattr(self, name) for name in SHIFT_COLUMNS], axis=1)

    def image_names(self) -> list[str]:
        """``000001@stack.mrcs`` for every particle: 1-based, the stack as the source spells it."""
        rows = (self.row_in_stack + 1).tolist()
        return [
            f"{row:06d}@{self.stack_names[stack]}"
            for row, stack in zip(rows, self.stack_index.tolist(), strict=True)
        ]

    def require(self, names: Iterable[str], purpose: str = "this") -> None:
        """Raise ZooError naming the first particle in which one of the columns ``names`` is unknown."""
        for name in names:
            bad = np.flatnonzero(~np.isfinite(getattr(self, name)))
            if bad.size:
                where = self.source.path if self.source else "particle table"
                raise ZooError(
                    f"{where}: row {self.source_row[bad[0]] + 1}: {name} is not known "
                    f"({bad.size} of {len(self)} particles), but {purpose} needs it; "
                    f"add it to the file or give it on the command line"
                )


COLUMNS: dict[str, tuple[type, Any]] = {
    name: (column.dtype, column.unknown) for name, column in declared_columns(ParticleTable).items()
}
"""Every column: its dtype and the value that means "unknown" (None: computed from the others)."""
ParticleTable.column_types = COLUMNS


def image_uids(image_names: Iterable[str]) -> np.ndarray:
    """Stable identities, uint64: the first 8 bytes of BLAKE2b of each image name (path normalised)."""
    uids, normalised = [], {}
    for name in image_names:
        row, _, stack = name.partition("@")
        if stack not in normalised:
            normalised[stack] = posixpath.normpath(stack)
        digest = hashlib.blake2b(f"{row}@{normalised[stack]}".encode(), digest_size=8).digest()
        uids.append(int.from_bytes(digest, "little"))
    return np.array(uids, dtype=np.uint64)


def _common_length(columns: dict[str, Any]) -> int:
    lengths = {name: len(values) for name, values in columns.items() if np.ndim(values) == 1}
    if not lengths:
        raise ZooError("a particle table needs at least one column with one value per particle")
    if len(set(lengths.values())) > 1:
        raise ZooError(f"particle columns of unequal length: {lengths}")
    return next(iter(lengths.values()))
