"""Records → ``tf.data`` batches, a pure function of (seed, step) that can start at any step.

Records are moved as batches of serialised strings and parsed a batch at a time: parsing them one by
one is three times slower, and ``tf.data.shuffle`` needs a multiple of the memory of what it holds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from zoo.data.info import DatasetInfo, require_kind
from zoo.data.records.particle_record import record_bytes
from zoo.data.records.stream_order import CHUNK, GROUP, StreamOrder
from zoo.errors import ZooError

_WINDOW_BYTES = 32 << 20
_ENDLESS = np.iinfo(np.int64).max


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

    ``worker`` is (index, count): the global batch of a step is count·batch_size consecutive records of
    the stream, and worker i gets its i-th part; together the workers see what one worker with the
    whole batch sees. Epochs follow each other without a gap: no record is dropped. With
    ``repeat=False`` the data set ends after one epoch, without the records that fill no batch.
    Raises ZooError if shards are missing or of wrong length, and if an epoch holds no whole batch
    with ``repeat=False``.
    """
    index, workers = worker
    global_batch = batch_size * workers
    if batch_size < 1 or not 0 <= index < workers or start_step < 0:
        raise ZooError(f"batch size {batch_size}, worker {index} of {workers}, step {start_step}: impossible")
    if not repeat and info.count < global_batch:
        raise ZooError(
            f"{info.path}: {info.count} particles, too few for one batch of {global_batch}; "
            f"use a batch size of {max(info.count // workers, 1)} or less"
        )
    require_kind(info, "particles")
    info.verify_files()
    window = max(_WINDOW_BYTES // record_bytes(info.box, info.dtype), 4 * CHUNK)
    order = StreamOrder([shard.count for shard in info.shards], seed, window, shuffle)

    records = _record_stream(info, order, start_step * global_batch)
    steps = tf.data.Dataset.range(start_step, _ENDLESS if repeat else info.count // global_batch)
    records = records.rebatch(global_batch, drop_remainder=True)
    ctf_table = tf.constant(info.load_ctf())
    rows = slice(index * batch_size, (index + 1) * batch_size)

    def parse(step: tf.Tensor, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        batch = _parse(tf.ensure_shape(serialized, [global_batch])[rows], info)
        batch["ctf_random"] = tf.gather(ctf_table, order.draw_rows(step, global_batch)[rows])
        return batch

    batches = tf.data.Dataset.zip(steps, records).map(parse, num_parallel_calls=tf.data.AUTOTUNE)
    return batches.prefetch(tf.data.AUTOTUNE).with_options(stream_options())


def sequential_batches(info: DatasetInfo, batch_size: int) -> tf.data.Dataset:
    """Every record once, in record order, as dicts like ``particle_batches`` without ``ctf_random``.

    The last batch may be smaller. Raises ZooError if shards are missing or of wrong length.
    """
    info.verify_files()
    records = tf.data.TFRecordDataset(info.shard_paths()).batch(batch_size)
    batches = records.map(lambda serialized: _parse(serialized, info), num_parallel_calls=tf.data.AUTOTUNE)
    return batches.prefetch(tf.data.AUTOTUNE).with_options(stream_options())


@contextlib.contextmanager
def readable_errors(info: DatasetInfo) -> Iterator[None]:
    """Turn TensorFlow's errors about damaged or missing shards inside the block into one ZooError."""
    try:
        yield
    except (tf.errors.DataLossError, tf.errors.NotFoundError) as error:
        raise ZooError(
            f"{info.path}: a shard is damaged ({error.message.splitlines()[0][:120]}); "
            f"zoo-pack --check {info.path} says which record"
        ) from error


def _record_stream(info: DatasetInfo, order: StreamOrder, position: int) -> tf.data.Dataset:
    """Windows of serialised records, from ``position`` of the endless stream on."""
    first_group, skip = order.locate(position)
    windows = group_windows(info, order, first_group, skip)
    return tf.data.Dataset.range(first_group, _ENDLESS).flat_map(windows)


def group_windows(info: DatasetInfo, order: StreamOrder, first_group: int, skip: int):
    """Function: group number → its windows of serialised records, without the first ``skip`` of the first."""
    paths = tf.constant(info.shard_paths())

    def windows(number: tf.Tensor) -> tf.data.Dataset:
        sizes = order.window_sizes(number)
        # The records that come before ``position`` are cut off the windows of the first group.
        to_skip = tf.where(number == first_group, tf.constant(skip, tf.int64), tf.constant(0, tf.int64))
        cuts = tf.clip_by_value(to_skip - tf.cumsum(sizes, exclusive=True), 0, sizes)
        chunks = tf.data.Dataset.from_tensor_slices(tf.gather(paths, order.shards(number))).interleave(
            lambda path: tf.data.TFRecordDataset(path).batch(CHUNK),
            cycle_length=GROUP if order.shuffle else 1,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        numbered = tf.data.Dataset.from_tensor_slices(cuts).enumerate()
        return tf.data.Dataset.zip(numbered, chunks.rebatch(sizes)).map(
            lambda place, records: order.shuffle_window(records, number, place[0])[place[1] :]
        )

    return windows


def _parse(serialized: tf.Tensor, info: DatasetInfo) -> dict[str, tf.Tensor]:
    """Batch of serialised records (b,) → dict of tensors."""
    parsed = tf.io.parse_example(
        serialized,
        {
            "image": tf.io.FixedLenFeature([], tf.string),
            "ctf": tf.io.FixedLenFeature([9], tf.float32),
            "euler_deg": tf.io.FixedLenFeature([3], tf.float32),
            "shift_angstrom": tf.io.FixedLenFeature([2], tf.float32),
            "pixel_size_angstrom": tf.io.FixedLenFeature([], tf.float32),
            "label": tf.io.FixedLenFeature([], tf.int64),
            "uid": tf.io.FixedLenFeature([], tf.int64),
            "source_row": tf.io.FixedLenFeature([], tf.int64),
        },
    )
    image = tf.io.decode_raw(parsed["image"], tf.as_dtype(info.dtype), little_endian=True)
    parsed["image"] = tf.reshape(tf.cast(image, tf.float32), [-1, info.box, info.box, 1])
    if serialized.shape[0] is not None:
        parsed["image"].set_shape([serialized.shape[0], info.box, info.box, 1])
    parsed["label"] = tf.cast(parsed["label"], tf.int32)
    return parsed


def stream_options() -> tf.data.Options:
    """Deterministic, and not cut up by tf.distribute."""
    options = tf.data.Options()
    options.deterministic = True
    # The workers cut each global batch themselves; sharding by file would change what they see.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return options
