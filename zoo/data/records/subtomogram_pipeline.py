"""Records of subtomograms → ``tf.data`` batches, a pure function of (seed, step)."""

from __future__ import annotations

import tensorflow as tf

from zoo.data.info import DatasetInfo
from zoo.data.kinds import require_kind
from zoo.data.records.pipeline import record_batches, sequential_records, steps_per_epoch

__all__ = ["sequential_subtomograms", "steps_per_epoch", "subtomogram_batches"]


def subtomogram_batches(
    info: DatasetInfo,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    worker: tuple[int, int] = (0, 1),
    repeat: bool = True,
    shuffle: bool = True,
    whole_epochs: bool = True,
) -> tf.data.Dataset:
    """Batches from ``start_step`` on, as dicts of tensors; n is ``info.box``.

    ``volume (b, n, n, n, 1) float32``, ``wedge (b, n, n, n) float32`` (DC at n//2, 1 = measured),
    ``weight (b,) float32``, ``index (b,) int64`` (row of table.npz), ``label (b,) int32``,
    ``random_subset (b,) int32`` (the half set that the file states, 0: none),
    ``euler_deg (b, 3)``, ``shift_angstrom (b, 3)``, ``pixel_size_angstrom (b,)``, ``uid (b,)``,
    ``source_row (b,) int64``; ``voxel_labels (b, n, n, n) int32`` where the set has them.

    With ``whole_epochs`` an epoch has ``steps_per_epoch`` steps and sees every particle exactly once: its
    last batch is filled up with copies whose ``weight`` is 0. Without, epochs follow each other without a gap
    and every weight is 1. ``worker``, ``repeat`` and errors: as `zoo.data.records.pipeline.record_batches`;
    ZooError for another kind of records.
    """
    require_kind(info, "subtomograms")
    return record_batches(info, batch_size, seed, start_step, worker, repeat, shuffle, whole_epochs)


def sequential_subtomograms(info: DatasetInfo, batch_size: int) -> tf.data.Dataset:
    """Every record once, in record order, as dicts like ``subtomogram_batches`` without ``weight``.

    The last batch may be smaller. Raises ZooError if shards are missing or of wrong length.
    """
    require_kind(info, "subtomograms")
    return sequential_records(info, batch_size)
