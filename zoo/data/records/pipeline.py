"""Records of every kind → ``tf.data`` batches, a pure function of (seed, step) that can start at any step.

Records are moved as batches of serialised strings and parsed a batch at a time: parsing them one by
one is three times slower, and ``tf.data.shuffle`` needs a multiple of the memory of what it holds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from zoo.data.info import DatasetInfo
from zoo.data.kinds import kind_of
from zoo.data.records.parse import half_sets_of, parse_records
from zoo.data.records.particle_record import record_bytes
from zoo.data.records.stream_order import CHUNK, GROUP, StreamOrder
from zoo.errors import ZooError

_WINDOW_BYTES = 32 << 20
_ENDLESS = np.iinfo(np.int64).max


# AutoGraph would rewrite every function of a stream, for as long as all the rest of building it takes; no
# function here branches on a tensor.
@tf.autograph.experimental.do_not_convert
def record_batches(
    info: DatasetInfo,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    worker: tuple[int, int] = (0, 1),
    repeat: bool = True,
    shuffle: bool = True,
    whole_epochs: bool | None = None,
) -> tf.data.Dataset:
    """Batches from ``start_step`` on, as dicts of tensors (`zoo.data.records.schema` says which).

    ``worker`` is (index, count): the global batch of a step is count·batch_size consecutive records of the
    stream, and worker i gets its i-th part; together the workers see what one worker with the whole batch
    sees. With ``whole_epochs`` (None: as the kind has it) an epoch sees every record exactly once: its last
    batch is filled up with copies, and ``weight (b,)`` is 0 for them. Without, epochs follow each other
    without a gap. With ``repeat=False`` the data set ends after one epoch, without the records that fill no
    batch. Raises ZooError if shards are missing or of wrong length, and if an epoch holds no whole batch.
    """
    index, workers = worker
    size, schema = batch_size * workers, kind_of(info).schema
    whole_epochs = schema.whole_epochs if whole_epochs is None else whole_epochs
    if batch_size < 1 or not 0 <= index < workers or start_step < 0:
        raise ZooError(f"batch size {batch_size}, worker {index} of {workers}, step {start_step}: impossible")
    if not (repeat or whole_epochs) and info.count < size:
        raise ZooError(
            f"{info.path}: {info.count} {info.kind}, too few for one batch of {size}; "
            f"use a batch size of {max(info.count // workers, 1)} or less"
        )
    info.verify_files()
    window = max(_WINDOW_BYTES // record_bytes(info.box, info.dtype, schema.ndim), 4 * CHUNK)
    order = StreamOrder([shard.count for shard in info.shards], seed, window, shuffle)
    stream = _epochs if whole_epochs else _endless
    numbered = tf.data.Dataset.zip(
        tf.data.Dataset.range(start_step, _ENDLESS), stream(info, order, size, start_step, repeat)
    )
    rows = tf.range(index * batch_size, (index + 1) * batch_size)
    ctf_table = tf.constant(info.load_ctf()) if schema.draws_ctf else None
    half_sets = half_sets_of(info)

    def part(step: tf.Tensor, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        count = tf.shape(serialized)[0]
        mine = tf.gather(serialized, tf.minimum(rows, count - 1))
        batch = parse_records(tf.ensure_shape(mine, [batch_size]), info, half_sets)
        if schema.whole_epochs or whole_epochs:
            batch["weight"] = tf.cast(rows < count, tf.float32)
        if ctf_table is not None:
            batch["ctf_random"] = tf.gather(ctf_table, tf.gather(order.draw_rows(step, size), rows))
        return batch

    batches = numbered.map(part, num_parallel_calls=tf.data.AUTOTUNE)
    return batches.prefetch(_prefetched(schema)).with_options(stream_options())


def sequential_records(info: DatasetInfo, batch_size: int) -> tf.data.Dataset:
    """Every record once, in record order, as dicts like ``record_batches`` without what is drawn or weighed.

    The last batch may be smaller. Raises ZooError if shards are missing or of wrong length.
    """
    info.verify_files()
    records = tf.data.TFRecordDataset(info.shard_paths()).batch(batch_size)
    parallel = None if kind_of(info).schema.ndim == 3 else tf.data.AUTOTUNE
    half_sets = half_sets_of(info)
    batches = records.map(
        lambda serialized: parse_records(serialized, info, half_sets), num_parallel_calls=parallel
    )
    return batches.prefetch(_prefetched(kind_of(info).schema)).with_options(stream_options())


def steps_per_epoch(info: DatasetInfo, batch_size: int, workers: int = 1) -> int:
    """Steps of an epoch of ``record_batches`` with ``whole_epochs``."""
    return -(-info.count // (batch_size * workers))


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


def stream_options() -> tf.data.Options:
    """Deterministic, and not cut up by tf.distribute."""
    options = tf.data.Options()
    options.deterministic = True
    # The workers cut each global batch themselves; sharding by file would change what they see.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return options


def _prefetched(schema) -> int:
    """Batches made ahead: volumes are large, two of them keep a model busy."""
    return 2 if schema.ndim == 3 else tf.data.AUTOTUNE


def _epochs(info, order, size, start_step, repeat) -> tf.data.Dataset:
    """Batches of serialised records; the last of an epoch may be smaller."""
    steps = -(-info.count // size)
    first_epoch, step = divmod(start_step, steps)
    if not repeat and first_epoch > 0:
        return tf.data.Dataset.from_tensors(tf.constant([b""])).take(0)
    first_group, skip = order.locate(first_epoch * info.count + step * size)
    windows, groups = _group_windows(info, order, first_group, skip), order.groups_per_epoch

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        first = tf.maximum(number * groups, first_group)
        return tf.data.Dataset.range(first, (number + 1) * groups).flat_map(windows).rebatch(size)

    return tf.data.Dataset.range(first_epoch, _ENDLESS if repeat else 1).flat_map(epoch)


def _endless(info, order, size, start_step, repeat) -> tf.data.Dataset:
    """Batches of serialised records of one length, over the ends of epochs."""
    first_group, skip = order.locate(start_step * size)
    windows = _group_windows(info, order, first_group, skip)
    records = tf.data.Dataset.range(first_group, _ENDLESS).flat_map(windows)
    records = records.rebatch(size, drop_remainder=True)
    return records if repeat else records.take(max(info.count // size - start_step, 0))


def _group_windows(info: DatasetInfo, order: StreamOrder, first_group: int, skip: int):
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
