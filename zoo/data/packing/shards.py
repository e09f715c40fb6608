"""Particle images → the records of one shard: read, resample, sign, normalise, encode, write."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.formats.arrays import ArrayReader
from zoo.data.formats.images import ImageReader
from zoo.data.formats.tilt_stacks import TiltStackReader
from zoo.data.formats.volumes import VolumeReader
from zoo.data.kinds import kind_of
from zoo.data.packing.ctf_undo import undo_ctf
from zoo.data.packing.normalise import METHODS as NORMALISATIONS
from zoo.data.packing.normalise import check_radius, default_radius, normalise
from zoo.data.packing.resample import METHODS as RESAMPLINGS
from zoo.data.packing.resample import resample
from zoo.data.packing.worker_pool import count_done
from zoo.data.records.particle_record import IMAGE_DTYPES, encode_particles, frame_record
from zoo.data.records.schema import VOXEL_LABELS
from zoo.data.records.subtomogram_record import count_voxel_labels, volume_features
from zoo.errors import ZooError
from zoo.files import whole_file, write_json

_CHUNK_BYTES = 16 << 20
_WRITE_RECORDS = 64
OWN_BOX = 0
"""As ``PackSettings.box``: pack the volumes in the box they have."""
_LARGEST_BOX = 16384
_LARGEST_PIXEL_ANGSTROM = 10_000.0


@dataclass(frozen=True)
class PackSettings:
    """What decides the bytes of a packed data set.

    ``box`` and ``circle_radius`` (of the particle; the background lies outside) are in pixels of the
    packed images, None: 3/8 of the box. ``contrast`` is 0 (measure it), +1 (particles are bright)
    or -1 (dark). ``pixel_size_angstrom`` overrides the file's. ``limit`` packs the first particles only.
    ``partial_ctf`` ("refuse", "drop", "ignore") is what becomes of particles whose CTF is known in part.
    ``rescale`` brings images of several pixel sizes to one (`zoo.data.packing.rescale`).
    """

    box: int
    dtype: str = "float16"
    resample: str = "fourier"
    normalisation: str = "background"
    circle_radius: float | None = None
    contrast: int = 0
    pixel_size_angstrom: float | None = None
    seed: int = 0
    shard_size_mb: int = 128
    limit: int | None = None
    name: str = ""
    partial_ctf: str = "refuse"
    rescale: bool = False

    def validate(self) -> None:
        """Raise ZooError for a value that cannot be."""
        choices = {
            "dtype": IMAGE_DTYPES,
            "resample": RESAMPLINGS,
            "normalisation": NORMALISATIONS,
            "contrast": (0, 1, -1),
        }
        for field, allowed in choices.items():
            if getattr(self, field) not in allowed:
                expected = ", ".join(str(value) for value in allowed)
                raise ZooError(f"--{field} {getattr(self, field)}: expected one of {expected}")
        for field, least in {"box": 4, "shard_size_mb": 1, "limit": 1, "seed": 0}.items():
            value = getattr(self, field)
            if value is not None and value < least:
                raise ZooError(f"--{field.replace('_', '-')} {value}: expected {least} or more")
        if self.box > _LARGEST_BOX:
            raise ZooError(f"--box {self.box}: expected at most {_LARGEST_BOX} pixels")
        size = self.pixel_size_angstrom
        if size is not None and not 0 < size <= _LARGEST_PIXEL_ANGSTROM:
            raise ZooError(
                f"--pixel-size {size:g}: expected a positive number of Å, at most {_LARGEST_PIXEL_ANGSTROM:g}"
            )
        if self.rescale and self.resample != "fourier":
            raise ZooError(f"--rescale is a Fourier resampling; leave --resample {self.resample} out")
        if self.rescale and size is not None:
            raise ZooError(
                f"--pixel-size {size:g} says that all images have one, --rescale that they have several; "
                "give one of the two"
            )
        if self.normalisation not in ("none", "tomogram"):
            check_radius(self.box, self.radius())

    def radius(self) -> float:
        """Circle radius in pixels of the packed image."""
        return default_radius(self.box) if self.circle_radius is None else self.circle_radius


Reader = ImageReader | VolumeReader | TiltStackReader | ArrayReader
"""What gives the grey values of a table's rows."""


@dataclass(frozen=True)
class ShardTask:
    """One shard to write: ``reader.table`` holds its particles in record order, from record ``first`` on."""

    path: Path
    marker: Path
    reader: Reader
    settings: PackSettings
    contrast_sign: int
    first: int = 0


def write_shard(task: ShardTask) -> dict[str, Any]:
    """Write one shard and then its marker, each whole or not at all; returns the marker.

    Raises ZooError naming the particle for an image that cannot be packed, or a full disk.
    """
    images, statistics = _prepare_images(task)
    table = task.reader.table.select(slice(None))
    table.pixel_size_angstrom = table.pixel_size_angstrom * (task.reader.box / task.settings.box)
    crc = size = 0
    frames: list[bytes] = []
    more = []
    if not isinstance(task.reader, ImageReader) and kind_of(table).schema.has_wedge:
        more = [volume_features(task.reader, task.settings.box, task.first)]
    with whole_file(task.path) as file:
        for number, payload in enumerate(encode_particles(images, table, *more), 1):
            frames.append(frame_record(payload))
            if len(frames) == _WRITE_RECORDS or number == len(table):
                block = b"".join(frames)
                file.write(block)
                crc = zlib.crc32(block, crc)
                size += len(block)
                frames.clear()
    marker = {
        "shard": {"name": task.path.name, "count": len(table), "crc32": crc, "bytes": size},
        "statistics": statistics,
    }
    if more and VOXEL_LABELS in more[0][0]:
        marker["voxel_labels"] = count_voxel_labels(more[0])
    write_json(task.marker, marker)
    return marker


def prepare(images: np.ndarray, settings: PackSettings, contrast_sign: int) -> np.ndarray:
    """Images (k, y, x) or volumes (k, z, y, x) as read → as packed, of side ``box``, float32."""
    # Resampled first, as relion_preprocess does: it takes noise away, and the unit is set afterwards.
    images = resample(images, settings.box, settings.resample)
    if contrast_sign < 0:
        images = -images
    return normalise(images, settings.radius(), settings.normalisation)


def _prepare_images(task: ShardTask) -> tuple[np.ndarray, dict[str, float]]:
    reader, settings, table = task.reader, task.settings, task.reader.table
    ndim = table.image_ndim
    out = np.empty((len(table), *[settings.box] * ndim), dtype=settings.dtype)
    # In the order of the files, not of the records: disks read forward faster.
    order = np.lexsort((table.row_in_stack, table.stack_index))
    chunk = max(_CHUNK_BYTES // (4 * reader.box**ndim), 1)
    total = squares = 0.0
    low, high = np.inf, -np.inf
    for start in range(0, len(order), chunk):
        rows = order[start : start + chunk]
        images = reader.read(rows)
        if ndim == 2:
            images = undo_ctf(images, table.select(rows))
        images = prepare(images, settings, task.contrast_sign)
        total += float(images.sum(dtype=np.float64))
        squares += float(np.square(images, dtype=np.float64).sum())
        low, high = min(low, float(images.min())), max(high, float(images.max()))
        if max(high, -low) > float(np.finfo(settings.dtype).max):
            _refuse_overflow(images, rows, task)
        out[rows] = images
        count_done(len(rows))
    reader.close()
    return out, {"pixels": out.size, "sum": total, "squares": squares, "min": low, "max": high}


def _refuse_overflow(images: np.ndarray, rows: np.ndarray, task: ShardTask) -> None:
    index = int(np.abs(images).max(axis=tuple(range(1, images.ndim))).argmax())
    table = task.reader.table.select(rows[[index]])
    path = table.source.path if table.source else table.stack_paths[int(table.stack_index[0])]
    raise ZooError(
        f"{path}: row {table.source_row[0] + 1} ({table.image_names()[0]}): the value "
        f"{np.abs(images[index]).max():g} does not fit {task.settings.dtype}; "
        f"use --normalise or --dtype float32"
    )
