"""The records of a data set: what one particle holds, and the TFRecord file around it, without TensorFlow.

A TFRecord file is a sequence of: length (uint64), masked CRC-32C of the length (uint32), payload,
masked CRC-32C of the payload (uint32), all little-endian (tensorflow/core/lib/io/record_writer.h).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import google_crc32c
import numpy as np

from zoo.data.kinds import kind_of
from zoo.data.records.example import Feature, decode_example, encode_example
from zoo.data.tables.particle_table import ParticleTable
from zoo.errors import ZooError
from zoo.input_files import existing_file

IMAGE_DTYPES = ("float16", "float32")
_FRAME_BYTES = 16
_REPAIR = "delete this shard and run the same zoo-pack again, or copy the shard again"
_FEATURE_BYTES = 380
"""About what a record holds besides its image, framing included."""


def masked_crc32c(data: bytes) -> int:
    """CRC-32C of ``data``, rotated and offset as TFRecord stores it (a CRC of data with CRCs is weak)."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def frame_record(payload: bytes) -> bytes:
    """The bytes of one record in a TFRecord file."""
    length = struct.pack("<Q", len(payload))
    crcs = struct.pack("<I", masked_crc32c(length)), struct.pack("<I", masked_crc32c(payload))
    return b"".join((length, crcs[0], payload, crcs[1]))


def read_records(path: str | os.PathLike) -> Iterator[bytes]:
    """Payloads of a TFRecord file in order, CRCs verified.

    Raises ZooError naming the file, the record (1-based) and the byte for a missing file, a record
    cut short or damaged.
    """
    name = os.fspath(path)
    if not os.path.exists(name):
        raise ZooError(f"{name}: no such shard; copy it back or pack the data set again")
    existing_file(name)
    offset, number = 0, 1
    with open(name, "rb", buffering=1 << 20) as file:
        while head := file.read(12):
            where = f"{name}: record {number} (at byte {offset})"
            length = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else 0
            if len(head) < 12:
                raise ZooError(f"{where}: cut short: {len(head)} of 12 bytes of its head; {_REPAIR}")
            if struct.unpack("<I", head[8:])[0] != masked_crc32c(head[:8]):
                raise ZooError(f"{where}: damaged: the checksum of its length does not match; {_REPAIR}")
            body = file.read(length + 4)
            if len(body) < length + 4:
                raise ZooError(f"{where}: cut short: {len(body)} of {length + 4} bytes; {_REPAIR}")
            payload = body[:length]
            if struct.unpack("<I", body[length:])[0] != masked_crc32c(payload):
                raise ZooError(f"{where}: damaged: the checksum of its content does not match; {_REPAIR}")
            yield payload
            offset += _FRAME_BYTES + length
            number += 1


def record_bytes(box: int, dtype: str, ndim: int = 2) -> int:
    """About how many bytes the record of one image (2 axes) or volume (3) of ``box`` takes."""
    return box**ndim * np.dtype(dtype).itemsize + _FEATURE_BYTES


@dataclass(frozen=True)
class ParticleRecord:
    """One particle of a record: ``image`` (y, x) or (z, y, x) as stored, the rest as in the table."""

    image: np.ndarray
    features: dict


def encode_particles(
    images: np.ndarray, table: ParticleTable, more: Sequence[Mapping[str, Feature]] | None = None
) -> Iterator[bytes]:
    """One serialised Example per row of ``table``, of any kind; ``images`` (n, y, x) or (n, z, y, x).

    ``images`` is float16 or float32; ``more`` holds features of each particle beside those of the table.
    """
    dtype = images.dtype.newbyteorder("<")
    common: dict[str, Feature] = {
        "dtype": dtype.name.encode(),
        "shape": np.array(images.shape[1:], dtype=np.int64),
    }
    numbers = {field.name: field.values(table) for field in kind_of(table).schema.fields}
    for row, source in enumerate(table.image_names()):
        yield encode_example(
            {
                **common,
                **(more[row] if more else {}),
                "image": images[row].astype(dtype, copy=False).tobytes(),
                "source": source.encode(),
                **{name: values[row] for name, values in numbers.items()},
            }
        )


def decode_particle(payload: bytes, where: str) -> ParticleRecord:
    """The particle in a record; raises ZooError starting with ``where`` if it does not hold one."""
    try:
        features = decode_example(payload)
        name = features["dtype"]
        if not isinstance(name, bytes):
            raise TypeError("dtype is no text")
        dtype = np.dtype(name.decode()).newbyteorder("<")
        image = np.frombuffer(features["image"], dtype=dtype).reshape(features["shape"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ZooError(f"{where}: not a particle record ({error}); pack the data set again") from error
    return ParticleRecord(image, features)
