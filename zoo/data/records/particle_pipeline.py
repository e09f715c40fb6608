"""Records of particle images → ``tf.data`` batches, a pure function of (seed, step)."""

from __future__ import annotations

import tensorflow as tf

from zoo.data.info import DatasetInfo
from zoo.data.kinds import require_kind
from zoo.data.records.pipeline import readable_errors, record_batches, sequential_records

__all__ = ["particle_batches", "readable_errors", "sequential_batches"]


def particle_batches(
    info: DatasetInfo,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    worker: tuple[int, int] = (0, 1),
    repeat: bool = True,
    shuffle: bool = True,
) -> tf.data.Dataset:
    """Batches for training, from ``start_step`` on, as dicts of tensors.

    ``image (b, y, x, 1) float32``, ``ctf (b, 9)``, ``ctf_random (b, 9)`` (drawn from the whole table,
    independent of the image), ``euler_deg (b, 3)``, ``shift_angstrom (b, 2)``,
    ``pixel_size_angstrom (b,)``, ``label (b,) int32``, ``uid (b,) int64``, ``source_row (b,) int64``.

    Epochs follow each other without a gap: no record is dropped. ``worker``, ``repeat`` and errors: as
    `zoo.data.records.pipeline.record_batches`; ZooError for another kind of records.
    """
    require_kind(info, "particles")
    return record_batches(info, batch_size, seed, start_step, worker, repeat, shuffle)


def sequential_batches(info: DatasetInfo, batch_size: int) -> tf.data.Dataset:
    """Every record once, in record order, as dicts like ``particle_batches`` without ``ctf_random``.

    The last batch may be smaller. Raises ZooError if shards are missing or of wrong length.
    """
    require_kind(info, "particles")
    return sequential_records(info, batch_size)
