"""A packed data set in memory as NumPy arrays, and batches of it, where TensorFlow is not installed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from zoo.data.info import DatasetInfo, require_kind
from zoo.data.records.particle_record import decode_particle, read_records
from zoo.data.tables.particle_table import CTF_COLUMNS, EULER_COLUMNS, SHIFT_COLUMNS
from zoo.errors import ZooError

_EPOCH_ORDER, _CTF_DRAW = 1 << 60, 2 << 60


def load_arrays(info: DatasetInfo) -> dict[str, np.ndarray]:
    """The whole data set in record order, n = ``info.count``.

    ``image (n, y, x, 1)`` in the stored type (float16 takes half the memory; batches are float32),
    ``ctf (n, 9)``, ``euler_deg (n, 3)``, ``shift_angstrom (n, 2)``, ``pixel_size_angstrom (n,)``
    float32, ``label (n,)`` int32, ``uid (n,)`` and ``source_row (n,)`` int64. Raises ZooError for
    missing or damaged shards.
    """
    require_kind(info, "particles")
    info.verify_files()
    table = info.load_table()
    image = np.empty((info.count, info.box, info.box, 1), dtype=info.dtype)
    row = 0
    for path in info.shard_paths():
        for number, payload in enumerate(read_records(path), 1):
            where = f"{path}: record {number}"
            record = decode_particle(payload, where)
            if row >= info.count or int(record.features["uid"][0]) != int(table["uid"][row].view(np.int64)):
                raise ZooError(f"{where}: is not the particle that table.npz names; pack the data set again")
            image[row, ..., 0] = record.image
            row += 1
    return {
        "image": image,
        "ctf": _columns(table, CTF_COLUMNS),
        "euler_deg": _columns(table, EULER_COLUMNS),
        "shift_angstrom": _columns(table, SHIFT_COLUMNS),
        "pixel_size_angstrom": table["pixel_size_angstrom"].astype(np.float32),
        "label": table["label"].astype(np.int32),
        "uid": table["uid"].view(np.int64),
        "source_row": table["source_row"],
    }


def numpy_batches(
    info: DatasetInfo,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    arrays: dict[str, np.ndarray] | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """Endless batches from ``start_step`` on, a pure function of (seed, step), held in memory.

    Keys, shapes and types as in `particle_batches` (the order is another one:
    every epoch is a full shuffle). ``arrays`` is what ``load_arrays`` gave, if it is loaded already.
    """
    if batch_size < 1 or start_step < 0:
        raise ZooError(f"batch size {batch_size}, step {start_step}: impossible")
    arrays = load_arrays(info) if arrays is None else arrays
    return _generate(arrays, batch_size, int(seed) % (1 << 63), start_step)


def _generate(arrays: dict, batch_size: int, seed: int, step: int) -> Iterator[dict[str, np.ndarray]]:
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
        batch["image"] = batch["image"].astype(np.float32)
        drawn = _bits(seed, _CTF_DRAW + step, batch_size) % np.uint64(count)
        batch["ctf_random"] = arrays["ctf"][drawn.astype(np.int64)]
        yield batch
        step += 1


def _bits(seed: int, counter: int, count: int) -> np.ndarray:
    """Random uint64, a function of (seed, counter) alone: Philox keyed with both."""
    return np.random.Philox(key=np.array([seed, counter], dtype=np.uint64)).random_raw(count)


def _columns(table: dict[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray:
    return np.stack([table[name] for name in names], axis=1).astype(np.float32)
