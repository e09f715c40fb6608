"""Records of density maps → ``tf.data`` batches, a pure function of (seed, step)."""

from __future__ import annotations

import tensorflow as tf

from zoo.data.info import DatasetInfo
from zoo.data.kinds import require_kind
from zoo.data.records.pipeline import record_batches


def map_batches(
    info: DatasetInfo,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    worker: tuple[int, int] = (0, 1),
    repeat: bool = True,
    shuffle: bool = True,
) -> tf.data.Dataset:
    """Batches from ``start_step`` on, as dicts of tensors; n is ``info.box``.

    ``map (b, n, n, n, 1) float32``, ``name_index (b,) int32`` (into ``info.names``),
    ``pixel_size_angstrom (b,)``, ``uid (b,)`` and ``source_row (b,) int64``. A batch may be larger than the
    set: epochs follow each other without a gap. ``worker``, ``repeat`` and errors: as
    `zoo.data.records.pipeline.record_batches`; ZooError for another kind of records.
    """
    require_kind(info, "maps")
    return record_batches(info, batch_size, seed, start_step, worker, repeat, shuffle)
