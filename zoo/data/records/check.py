"""Verification of a packed data set, record by record, without TensorFlow."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.data.info import TABLE_NAME, DatasetInfo
from zoo.data.kinds import kind_of
from zoo.data.packing.worker_pool import available_cpus, count_done, run_tasks
from zoo.data.records.particle_record import ParticleRecord, decode_particle, frame_record, read_records
from zoo.data.records.subtomogram_record import unpack_voxel_labels, unpack_wedge
from zoo.errors import ZooError

_COUNT_STEP = 256
_SMALL_RECORDS = 20_000


@dataclass(frozen=True)
class _CheckTask:
    info: DatasetInfo
    shard: int
    rows: dict[str, np.ndarray]


def check_dataset(
    folder: str | Path,
    processes: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> DatasetInfo:
    """Read and verify every record of a packed data set; returns its info if all is well.

    Verified: framing, lengths and CRCs of the records; checksum, length and number of records of
    every shard; shape, type and finite values of every image; wedges and labels of voxels; every record
    against table.npz; counts and labels of info.json. Raises ZooError naming the shard and record (1-based)
    of the first fault.
    """
    info = DatasetInfo.load(folder)
    columns = info.load_table()  # whose labels, checksum and pixel sizes are compared there
    if processes is not None and processes < 1:
        raise ZooError(f"--processes {processes}: expected 1 or more")
    if processes is None:
        processes = available_cpus() if info.count > _SMALL_RECORDS else 1
    starts = np.cumsum([0] + [shard.count for shard in info.shards])
    tasks = (
        _CheckTask(info, number, {name: column[first:last] for name, column in columns.items()})
        for number, (first, last) in enumerate(zip(starts[:-1], starts[1:], strict=True))
    )
    for _ in run_tasks(
        _check_shard, tasks, min(processes, len(info.shards)), lambda done: progress(done, info.count)
    ):
        pass
    progress(info.count, info.count)
    return info


def _check_shard(task: _CheckTask) -> int:
    info, expected = task.info, task.info.shards[task.shard]
    path = info.shard_paths()[task.shard]
    number = crc = size = 0
    for number, payload in enumerate(read_records(path), 1):
        where = f"{path}: record {number}"
        if number > expected.count:
            raise ZooError(f"{where}: one too many, info.json says {expected.count}; pack the data set again")
        record = decode_particle(payload, where)
        _check_record(record, task, number - 1, where)
        first = sum(shard.count for shard in info.shards[: task.shard])
        _check_volume(record, info, first + number - 1, where)
        frame = frame_record(payload)
        crc, size = zlib.crc32(frame, crc), size + len(frame)
        if number % _COUNT_STEP == 0:
            count_done(_COUNT_STEP)
    if number != expected.count:
        raise ZooError(
            f"{path}: ends after record {number}, expected {expected.count} records; "
            f"delete this shard and run the same zoo-pack again, or copy the shard again"
        )
    if (crc, size) != (expected.crc32, expected.bytes):
        raise ZooError(f"{path}: whole, but not the file that info.json describes; pack the data set again")
    count_done(number % _COUNT_STEP)
    return number


def _check_record(record: ParticleRecord, task: _CheckTask, row: int, where: str) -> None:
    info, rows, image = task.info, task.rows, record.image
    schema, noun = kind_of(info).schema, info.kind.removesuffix("s")
    shape = schema.shape(info.box)
    if image.shape != shape or image.dtype.name != info.dtype:
        raise ZooError(
            f"{where}: image of {image.shape} {image.dtype.name}, expected "
            f"{shape} {info.dtype}; pack the data set again"
        )
    if not np.isfinite(image).all():
        raise ZooError(f"{where}: the image holds NaN or infinite values; pack the data set again")
    here = {name: column[row : row + 1] for name, column in rows.items()}
    try:
        same = all(_equal(record.features[field.name], field.values(here)[0]) for field in schema.fields)
    except (KeyError, IndexError) as error:
        raise ZooError(f"{where}: lacks {error}; pack the data set again") from error
    if not same:
        raise ZooError(f"{where}: is not the {noun} that {TABLE_NAME} names; pack again")


def _check_volume(record: ParticleRecord, info: DatasetInfo, index: int, where: str) -> None:
    """What a record of volumes may hold beside numbers: its wedge, its place in the set, labels of voxels."""
    if kind_of(info).schema.has_wedge:
        unpack_wedge(record.features, info.box, where)
        stored = record.features.get("index")
        if stored is None or int(stored[0]) != index:
            raise ZooError(f"{where}: says that it is record {stored} of the set, it is {index}; pack again")
    if info.voxel_labels:
        found = np.unique(unpack_voxel_labels(record.features, info.box, where))
        unknown = sorted(set(found.tolist()) - set(info.voxel_labels))
        if unknown:
            raise ZooError(f"{where}: a voxel has label {unknown[0]}, unknown to info.json; pack again")


def _equal(stored: np.ndarray, wanted) -> bool:
    wanted = np.atleast_1d(wanted).astype(stored.dtype)
    return np.array_equal(stored, wanted, equal_nan=stored.dtype.kind == "f")
