"""MRC/CCP4 maps and stacks: permissive on reading, exact on writing (the MRC2014 standard)."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from dataclasses import dataclass
from typing import IO, Literal

import mrcfile
import numpy as np
from mrcfile.dtypes import HEADER_DTYPE

from zoo.errors import ZooError
from zoo.files import whole_path
from zoo.input_files import existing_file

HEADER_BYTES = 1024
MODES: dict[int, np.dtype] = {
    0: np.dtype("i1"),
    1: np.dtype("i2"),
    2: np.dtype("f4"),
    6: np.dtype("u2"),
    12: np.dtype("f2"),
}
"""Readable MRC modes and the sample type of each."""

_IMOD_STAMP = 1146047817  # "IMOD" in the header: mode 0 is signed only if its flag bit 0 is set
_MAX_SIDE = 1 << 20


@dataclass(frozen=True)
class MrcHeader:
    """What an MRC header says: file-order sizes, sample type, where the data start, geometry in Å.

    ``shape`` is (sections, rows, columns) as stored; ``axes`` are MAPC, MAPR, MAPS;
    ``voxel_size_xyz_angstrom`` is cella/mxyz, 0 where the header does not say.
    """

    path: str
    shape: tuple[int, int, int]
    dtype: np.dtype
    data_offset: int
    axes: tuple[int, int, int]
    space_group: int
    voxel_size_xyz_angstrom: tuple[float, float, float]
    origin_xyz_angstrom: tuple[float, float, float]
    start_xyz_voxels: tuple[int, int, int]
    compressed: bool

    @property
    def pixel_size_angstrom(self) -> float:
        """Pixel size along x in Å, 0.0 where the header does not say."""
        return self.voxel_size_xyz_angstrom[0]

    @property
    def corner_xyz_angstrom(self) -> tuple[float, float, float]:
        """Where the middle of the first voxel lies: ORIGIN, or where that is 0, NXSTART … (as ChimeraX)."""
        if any(self.origin_xyz_angstrom):
            return self.origin_xyz_angstrom
        x, y, z = (s * v for s, v in zip(self.start_xyz_voxels, self.voxel_size_xyz_angstrom, strict=True))
        return x, y, z

    @property
    def section_bytes(self) -> int:
        return self.shape[1] * self.shape[2] * self.dtype.itemsize


def read_header(path: str | os.PathLike) -> MrcHeader:
    """Read the header of an MRC file (gzip too); raises ZooError for what is not a readable MRC file."""
    path = existing_file(path)
    with open(path, "rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path, "rb") if compressed else open(path, "rb") as file:
            raw = file.read(HEADER_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise ZooError(f"{path}: cannot be read: {error}") from error
    if len(raw) < HEADER_BYTES:
        raise ZooError(f"{path}: {len(raw)} bytes long, an MRC header takes {HEADER_BYTES}; not an MRC file")
    header, order = _parse(path, raw)
    mode = int(header["mode"])
    if mode not in MODES:
        modes = ", ".join(str(number) for number in MODES)
        raise ZooError(f"{path}: MRC mode {mode} (header byte 13), expected {modes}; convert the file")
    dtype = MODES[mode]
    if mode == 0 and (_imod_unsigned(raw, order) or _range_unsigned(header)):
        dtype = np.dtype("u1")
    axes = (int(header["mapc"]), int(header["mapr"]), int(header["maps"]))
    if sorted(axes) != [1, 2, 3]:
        axes = (1, 2, 3)  # old programs leave them zero
    origin = [float(header["origin"][axis]) for axis in "xyz"]
    if not all(math.isfinite(value) for value in origin):
        origin = [0.0, 0.0, 0.0]
    # NXSTART counts columns, whichever axis they are
    starts = dict(zip(axes, (int(header[name]) for name in ("nxstart", "nystart", "nzstart")), strict=True))
    result = MrcHeader(
        path=path,
        shape=(int(header["nz"]), int(header["ny"]), int(header["nx"])),
        dtype=dtype.newbyteorder(order),
        data_offset=HEADER_BYTES + max(int(header["nsymbt"]), 0),
        axes=axes,
        space_group=int(header["ispg"]),
        voxel_size_xyz_angstrom=_voxel_size(header),
        origin_xyz_angstrom=(origin[0], origin[1], origin[2]),
        start_xyz_voxels=(starts[1], starts[2], starts[3]),
        compressed=compressed,
    )
    if not compressed:
        _check_size(result, os.path.getsize(path))
    return result


def read_raw(header: MrcHeader) -> np.ndarray:
    """All samples of the file as stored, (sections, rows, columns), in the file's own type."""
    count = math.prod(header.shape)
    opener = gzip.open if header.compressed else open
    try:
        with opener(header.path, "rb") as file:
            file.seek(header.data_offset)
            raw = file.read(count * header.dtype.itemsize)
    except (OSError, EOFError, zlib.error) as error:
        raise ZooError(f"{header.path}: cannot be read to its end: {error}; the file is cut short") from error
    _check_size(header, header.data_offset + len(raw))
    return np.frombuffer(raw, dtype=header.dtype).reshape(header.shape)


def read_volume(path: str | os.PathLike) -> tuple[np.ndarray, float]:
    """Read a map: ((z, y, x) float32 array, voxel size in Å; 0.0 where the header does not say).

    Permuted axes are put in order. EM files (``.em``, ``.em.gz``) are read too. Raises ZooError for
    unreadable files and for voxels that are not cubic (more than 1 % apart).
    """
    if str(path).lower().endswith((".em", ".em.gz")):
        from zoo.data.formats.em import read_em

        return read_em(path), 0.0
    header = read_header(path)
    if header.space_group == 401:
        raise ZooError(f"{header.path}: a stack of volumes (ISPG 401), expected one volume; split the file")
    voxel = header.voxel_size_xyz_angstrom
    require_cubic(header)
    return to_zyx(read_raw(header), header.axes), float(voxel[0])


def require_cubic(header: MrcHeader) -> None:
    """Raise ZooError for voxels whose sides are more than 1 % apart."""
    voxel = header.voxel_size_xyz_angstrom
    if max(voxel) - min(voxel) > 0.01 * max(voxel):
        sizes = " x ".join(f"{size:.4g}" for size in voxel)
        raise ZooError(f"{header.path}: voxels of {sizes} Å, expected cubic ones; resample the map")


def to_zyx(array: np.ndarray, axes: tuple[int, int, int]) -> np.ndarray:
    """Samples in file order (sections, rows, columns) → contiguous float32 (z, y, x)."""
    order = [axes[::-1].index(axis) for axis in (3, 2, 1)]
    return np.ascontiguousarray(array.transpose(order), dtype=np.float32)


def write_volume(
    path: str | os.PathLike,
    array: np.ndarray,
    voxel_size_angstrom: float,
    origin_angstrom: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> None:
    """Write a (z, y, x) array as a float32 MRC map (gzip if the name ends in .gz), atomically.

    Raises ZooError for an array of other rank and for values that are not finite.
    """
    array = np.ascontiguousarray(array, dtype=np.float32)
    if array.ndim != 3:
        raise ZooError(f"{path}: a volume has 3 axes (z, y, x), this array has {array.ndim}")
    _refuse_non_finite(path, array)
    compression = "gzip" if str(path).endswith(".gz") else None
    with whole_path(path) as temporary:
        _write_mrc(temporary, array, voxel_size_angstrom, origin_angstrom, compression=compression)


def write_labels(path: str | os.PathLike, labels: np.ndarray, voxel_size_angstrom: float) -> None:
    """Write whole numbers from 0 to 127 (z, y, x) as an MRC volume of int8 (mode 0), atomically.

    Raises ZooError for an array of other rank and for other numbers.
    """
    labels = np.asarray(labels)
    if labels.ndim != 3:
        raise ZooError(f"{path}: a volume has 3 axes (z, y, x), this array has {labels.ndim}")
    found = labels.astype(np.int8)
    if (found != labels).any() or found.min() < 0:
        raise ZooError(
            f"{path}: labels from {labels.min()} to {labels.max()}, expected whole numbers, 0 to 127"
        )
    with whole_path(path) as temporary:
        _write_mrc(temporary, np.ascontiguousarray(found), voxel_size_angstrom)


def write_stack(path: str | os.PathLike, images: np.ndarray, pixel_size_angstrom: float) -> None:
    """Write (k, y, x) images as a float32 MRC stack (ISPG 0), atomically."""
    images = np.ascontiguousarray(images, dtype=np.float32)
    if images.ndim != 3:
        raise ZooError(f"{path}: a stack has 3 axes (image, y, x), this array has {images.ndim}")
    _refuse_non_finite(path, images)
    with whole_path(path) as temporary:
        _write_mrc(temporary, images, pixel_size_angstrom, is_stack=True)


class StackWriter:
    """Write a float32 MRC stack piece by piece: ``with StackWriter(path, box, apix) as w: w.write(images)``.

    The file appears under its name only when the block ends without an error. Memory does not grow
    with the number of images. ``box`` is the side in pixels, or (rows, columns).
    """

    def __init__(self, path: str | os.PathLike, box: int | tuple[int, int], pixel_size_angstrom: float):
        self.path = os.fspath(path)
        self.box: tuple[int, int] = (box, box) if isinstance(box, (int, np.integer)) else (box[0], box[1])
        self.pixel_size_angstrom = float(pixel_size_angstrom)
        self.count = 0
        self._sum = self._sum_of_squares = 0.0
        self._low, self._high = np.inf, -np.inf
        self._offset = 0.0

    def __enter__(self) -> StackWriter:
        self._atomic = whole_path(self.path)
        self._temporary = self._atomic.__enter__()
        self._file: IO[bytes] | None = None
        return self

    def write(self, images: np.ndarray) -> None:
        """Append images, (k, y, x) or (y, x)."""
        images = np.ascontiguousarray(images, dtype="<f4")
        if images.ndim == 2:
            images = images[None]
        if images.shape[1:] != self.box:
            raise ZooError(f"{self.path}: images of {images.shape[1:]} pixels, expected {self.box}")
        if not len(images):
            return
        _refuse_non_finite(self.path, images)
        if self._file is None:
            self._offset = float(np.float32(images[0].mean()))  # keeps the sum of squares exact far from zero
            self._file = self._begin(images[:1])
        self._low = min(self._low, float(images.min()))
        self._high = max(self._high, float(images.max()))
        for image in images:  # one at a time: float32 sums over one image are exact enough
            shifted = (image - np.float32(self._offset)).reshape(-1)
            self._sum += float(shifted.sum())
            self._sum_of_squares += float(shifted @ shifted)
        try:
            images.tofile(self._file)
        except OSError as error:
            raise ZooError(f"{self.path}: cannot be written: {error.strerror or error}") from error
        self.count += len(images)

    def __exit__(self, kind, value, trace) -> bool | None:
        try:
            if kind is None:
                if self._file is None:
                    raise ZooError(f"{self.path}: no images were written; a stack needs at least one")
                self._finish(self._file)
        except BaseException as error:
            kind, value, trace = type(error), error, error.__traceback__
            raise
        finally:
            if self._file is not None:
                self._file.close()
            self._atomic.__exit__(kind, value, trace)
        return None

    def _begin(self, first_image: np.ndarray) -> IO[bytes]:
        _write_mrc(self._temporary, first_image, self.pixel_size_angstrom, is_stack=True)
        file = open(self._temporary, "r+b")
        file.seek(HEADER_BYTES)
        return file

    def _finish(self, file: IO[bytes]) -> None:
        """Bring the header, written for one image, up to all of them."""
        file.seek(0)
        header = np.frombuffer(bytearray(file.read(HEADER_BYTES)), dtype=HEADER_DTYPE)[0]
        samples = self.count * self.box[0] * self.box[1]
        mean = self._sum / samples
        header["nz"] = self.count
        header["dmin"], header["dmax"] = self._low, self._high
        header["dmean"] = self._offset + mean
        header["rms"] = max(self._sum_of_squares / samples - mean**2, 0.0) ** 0.5
        file.seek(0)
        file.write(header.tobytes())


def _refuse_non_finite(path: str | os.PathLike, array: np.ndarray) -> None:
    if not np.isfinite(array).all():
        bad = int(np.size(array) - np.isfinite(array).sum())
        raise ZooError(f"{path}: {bad} values to be written are NaN or infinite; nothing was written")


def _write_mrc(
    path: str | os.PathLike,
    array: np.ndarray,
    voxel_size_angstrom: float,
    origin_angstrom: tuple[float, float, float] = (0.0, 0.0, 0.0),
    is_stack: bool = False,
    compression: str | None = None,
) -> None:
    with mrcfile.new(path, compression=compression, overwrite=True) as mrc:
        mrc.set_data(array)
        if is_stack:
            mrc.set_image_stack()
        else:
            mrc.set_volume()
        mrc.voxel_size = float(voxel_size_angstrom)
        mrc.header.origin = tuple(origin_angstrom)


def _parse(path: str, raw: bytes) -> tuple[np.ndarray, Literal["<", ">"]]:
    """The header in the byte order that makes sense; the machine stamp only breaks a tie."""
    stamp_says_big = raw[212] == 0x11
    for order in (">", "<") if stamp_says_big else ("<", ">"):
        header = np.frombuffer(raw, dtype=HEADER_DTYPE.newbyteorder(order))[0]
        sides = [int(header[name]) for name in ("nx", "ny", "nz")]
        sane = 0 < min(sides) and max(sides[:2]) < _MAX_SIDE and 0 <= int(header["mode"]) < 1024
        if sane:
            return header, order
    header = np.frombuffer(raw, dtype=HEADER_DTYPE.newbyteorder("<"))[0]
    sides = [int(header[name]) for name in ("nx", "ny", "nz")]
    raise ZooError(f"{path}: header states {sides} columns, rows, sections (bytes 1-12); not an MRC file")


def _imod_unsigned(raw: bytes, order: str) -> bool:
    stamp, flags = np.frombuffer(raw[152:160], dtype=order + "i4")
    return stamp == _IMOD_STAMP and not flags & 1


def _range_unsigned(header: np.ndarray) -> bool:
    """Whether the stated range is one that signed bytes cannot have (old programs wrote unsigned ones)."""
    low, high = float(header["dmin"]), float(header["dmax"])
    return 0 <= low < high and 127 < high <= 255


def _voxel_size(header: np.ndarray) -> tuple[float, float, float]:
    sizes = []
    for axis in "xyz":
        cells, length = int(header["m" + axis]), float(header["cella"][axis])
        # float32 lengths carry 7 digits; the rest would be noise in every derived number
        size = float(f"{length / cells:.7g}") if cells > 0 else 0.0
        sizes.append(size if np.isfinite(size) and size > 0 else 0.0)
    return sizes[0], sizes[1], sizes[2]


def _check_size(header: MrcHeader, actual: int) -> None:
    needed = header.data_offset + header.shape[0] * header.section_bytes
    if actual < needed:
        whole = max(actual - header.data_offset, 0) // max(header.section_bytes, 1)
        raise ZooError(
            f"{header.path}: cut short: {actual} bytes, but its header states {header.shape[0]} sections of "
            f"{header.shape[2]} x {header.shape[1]}, {needed} bytes; only {whole} are whole; copy it again"
        )
