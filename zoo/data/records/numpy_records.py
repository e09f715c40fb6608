"""Packed data sets of every kind as NumPy arrays, read and batched without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from zoo.data.info import DatasetInfo
from zoo.data.kinds import kind_of
from zoo.data.records.particle_record import decode_particle, read_records
from zoo.data.records.schema import VOXEL_LABELS
from zoo.data.records.subtomogram_record import unpack_voxel_labels, unpack_wedge
from zoo.errors import ZooError

_EPOCH_ORDER, _CTF_DRAW = 1 << 60, 2 << 60


def read_rows(info: DatasetInfo) -> Iterator[dict[str, np.ndarray]]:
    """Every record in record order, as one row of `record_batches`; grey values as stored.

    Memory does not grow with their number. Raises ZooError for missing or damaged shards, and for records
    that are not those of table.npz.
    """
    schema, noun = kind_of(info).schema, info.kind.removesuffix("s")
    info.verify_files()
    table = info.load_table()
    uids = table["uid"].view(np.int64)
    subsets = table.get("random_subset", np.zeros(len(uids), np.int32))
    index = 0
    for path in info.shard_paths():
        for number, payload in enumerate(read_records(path), 1):
            where = f"{path}: record {number}"
            record = decode_particle(payload, where)
            values = record.features
            try:
                same = index < info.count and int(values["uid"][0]) == int(uids[index])
                same = same and (not schema.has_wedge or int(values["index"][0]) == index)
                if not same:
                    raise ZooError(f"{where}: is not the {noun} that table.npz names; pack again")
                row = {
                    field.in_batches: values[field.name][() if field.vector else 0].astype(field.dtype)
                    for field in schema.fields
                    if field.in_batches
                }
            except (KeyError, IndexError) as error:
                raise ZooError(f"{where}: lacks {error}; pack the data set again") from error
            row[schema.feature] = record.image[..., None]
            if schema.has_wedge:
                row["wedge"], row["index"] = unpack_wedge(values, info.box, where), np.int64(index)
                row["random_subset"] = np.int32(subsets[index])
            if info.voxel_labels:
                row[VOXEL_LABELS] = unpack_voxel_labels(values, info.box, where).astype(np.int32)
            yield row
            index += 1


def sequential_arrays(info: DatasetInfo, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
    """Batches in record order, every record once; the last may be smaller. Grey values are float32."""
    feature, rows = kind_of(info).feature, []
    for row in read_rows(info):
        rows.append(row | {feature: row[feature].astype(np.float32)})
        if len(rows) == batch_size:
            yield {name: np.stack([row[name] for row in rows]) for name in rows[0]}
            rows = []
    if rows:
        yield {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def load_records(info: DatasetInfo) -> dict[str, np.ndarray]:
    """The whole data set in record order, n = ``info.count``, as one batch of `sequential_arrays`.

    Grey values keep the stored type (float16 takes half the memory; batches are float32).
    """
    feature = kind_of(info).feature
    grid = np.empty((info.count, *kind_of(info).schema.shape(info.box), 1), dtype=info.dtype)
    rows = []
    for number, row in enumerate(read_rows(info)):
        grid[number] = row.pop(feature)
        rows.append(row)
    if len(rows) != info.count:
        raise ZooError(f"{info.path}: {len(rows)} records, expected {info.count}; pack the data set again")
    return {feature: grid, **{name: np.stack([row[name] for row in rows]) for name in rows[0]}}


def numpy_batches(
    info: DatasetInfo,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    arrays: dict[str, np.ndarray] | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """Endless batches from ``start_step`` on, a pure function of (seed, step), held in memory.

    Keys, shapes and types as in `record_batches` without whole epochs (the order is another one: every
    epoch is a full shuffle). ``arrays`` is what ``load_records`` gave, if it is loaded already.
    """
    if batch_size < 1 or start_step < 0:
        raise ZooError(f"batch size {batch_size}, step {start_step}: impossible")
    arrays = load_records(info) if arrays is None else arrays
    return _generate(arrays, kind_of(info).schema, batch_size, int(seed) % (1 << 63), start_step)


def _generate(arrays: dict, schema, batch_size: int, seed: int, step: int) -> Iterator[dict[str, np.ndarray]]:
    count = len(arrays["uid"])
    epoch, order = -1, np.empty(0, dtype=np.int64)
    while True:
        rows = np.empty(batch_size, dtype=np.int64)
        done, position = 0, step * batch_size
        while done < batch_size:  # a batch may reach over one or more epochs: no record is dropped
            if position // count != epoch:
                epoch = position // count
                order = np.argsort(_bits(seed, _EPOCH_ORDER + epoch, count), kind="stable")
            part = order[position % count :][: batch_size - done]
            rows[done : done + len(part)] = part
            done, position = done + len(part), position + len(part)
        batch = {name: values[rows] for name, values in arrays.items()}
        batch[schema.feature] = batch[schema.feature].astype(np.float32)
        if schema.whole_epochs:
            batch["weight"] = np.ones(batch_size, np.float32)
        if schema.draws_ctf:
            drawn = _bits(seed, _CTF_DRAW + step, batch_size) % np.uint64(count)
            batch["ctf_random"] = arrays["ctf"][drawn.astype(np.int64)]
        yield batch
        step += 1


def _bits(seed: int, counter: int, count: int) -> np.ndarray:
    """Random uint64, a function of (seed, counter) alone: Philox keyed with both."""
    return np.random.Philox(key=np.array([seed, counter], dtype=np.uint64)).random_raw(count)
