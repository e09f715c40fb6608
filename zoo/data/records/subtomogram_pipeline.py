"""Records of subtomograms → ``tf.data`` batches, a pure function of (seed, step)."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from zoo.data.info import DatasetInfo, require_kind
from zoo.data.records.particle_pipeline import group_windows, stream_options
from zoo.data.records.particle_record import record_bytes
from zoo.data.records.stream_order import CHUNK, StreamOrder
from zoo.data.wedge import measured_plane, tilt_of_plane
from zoo.errors import ZooError

_WINDOW_BYTES = 64 << 20
_ENDLESS = np.iinfo(np.int64).max


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
    ``euler_deg (b, 3)``, ``shift_angstrom (b, 3)``, ``pixel_size_angstrom (b,)``, ``uid (b,)``,
    ``source_row (b,) int64``.

    With ``whole_epochs`` an epoch has ``steps_per_epoch`` steps and sees every particle exactly once: its
    last batch is filled up with copies whose ``weight`` is 0. Without, epochs follow each other without a gap
    and every weight is 1. Of a step's global batch worker i of ``worker`` = (i, count) gets the i-th part.
    With ``repeat=False`` the data set ends after one epoch. Raises ZooError for a data set of images, missing
    shards, and an epoch without a whole batch (``repeat=False`` without ``whole_epochs``).
    """
    require_kind(info, "subtomograms")
    index, workers = worker
    size = batch_size * workers
    if batch_size < 1 or not 0 <= index < workers or start_step < 0:
        raise ZooError(f"batch size {batch_size}, worker {index} of {workers}, step {start_step}: impossible")
    if not (repeat or whole_epochs) and info.count < size:
        raise ZooError(f"{info.path}: {info.count} subtomograms, too few for one batch of {size}; take fewer")
    info.verify_files()
    window = max(_WINDOW_BYTES // (2 * record_bytes(info.box, info.dtype, 3)), 4 * CHUNK)
    order = StreamOrder([shard.count for shard in info.shards], seed, window, shuffle)
    rows = tf.range(index * batch_size, (index + 1) * batch_size)

    def part(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        count = tf.shape(serialized)[0]
        mine = tf.gather(serialized, tf.minimum(rows, count - 1))
        batch = _parse(tf.ensure_shape(mine, [batch_size]), info)
        return {**batch, "weight": tf.cast(rows < count, tf.float32)}

    stream = _epochs if whole_epochs else _endless
    batches = stream(info, order, size, start_step, repeat).map(part, num_parallel_calls=tf.data.AUTOTUNE)
    return batches.prefetch(2).with_options(stream_options())


def steps_per_epoch(info: DatasetInfo, batch_size: int, workers: int = 1) -> int:
    """Steps of an epoch of ``subtomogram_batches`` with ``whole_epochs``."""
    return -(-info.count // (batch_size * workers))


def sequential_subtomograms(info: DatasetInfo, batch_size: int) -> tf.data.Dataset:
    """Every record once, in record order, as dicts like ``subtomogram_batches`` without ``weight``.

    The last batch may be smaller. Raises ZooError if shards are missing or of wrong length.
    """
    require_kind(info, "subtomograms")
    info.verify_files()
    records = tf.data.TFRecordDataset(info.shard_paths()).batch(batch_size)
    return records.map(lambda serialized: _parse(serialized, info)).prefetch(2).with_options(stream_options())


def _epochs(info, order, size, start_step, repeat) -> tf.data.Dataset:
    """Batches of serialised records; the last of an epoch may be smaller."""
    steps = -(-info.count // size)
    first_epoch, step = divmod(start_step, steps)
    if not repeat and first_epoch > 0:
        return tf.data.Dataset.from_tensors(tf.constant([b""])).take(0)
    first_group, skip = order.locate(first_epoch * info.count + step * size)
    windows, groups = group_windows(info, order, first_group, skip), order.groups_per_epoch

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        first = tf.maximum(number * groups, first_group)
        return tf.data.Dataset.range(first, (number + 1) * groups).flat_map(windows).rebatch(size)

    return tf.data.Dataset.range(first_epoch, _ENDLESS if repeat else 1).flat_map(epoch)


def _endless(info, order, size, start_step, repeat) -> tf.data.Dataset:
    """Batches of serialised records of one length, over the ends of epochs."""
    first_group, skip = order.locate(start_step * size)
    windows = group_windows(info, order, first_group, skip)
    records = tf.data.Dataset.range(first_group, _ENDLESS).flat_map(windows)
    records = records.rebatch(size, drop_remainder=True)
    return records if repeat else records.take(max(info.count // size - start_step, 0))


def _parse(serialized: tf.Tensor, info: DatasetInfo) -> dict[str, tf.Tensor]:
    """Batch of serialised records (b,) → dict of tensors."""
    n = info.box
    parsed = tf.io.parse_example(
        serialized,
        {
            "image": tf.io.FixedLenFeature([], tf.string),
            "wedge": tf.io.FixedLenFeature([], tf.string),
            "tilt_range_deg": tf.io.FixedLenFeature([2], tf.float32),
            "euler_deg": tf.io.FixedLenFeature([3], tf.float32),
            "shift_angstrom": tf.io.FixedLenFeature([3], tf.float32),
            "pixel_size_angstrom": tf.io.FixedLenFeature([], tf.float32),
            "label": tf.io.FixedLenFeature([], tf.int64),
            "index": tf.io.FixedLenFeature([], tf.int64),
            "uid": tf.io.FixedLenFeature([], tf.int64),
            "source_row": tf.io.FixedLenFeature([], tf.int64),
        },
    )
    volume = tf.io.decode_raw(parsed.pop("image"), tf.as_dtype(info.dtype), little_endian=True)
    parsed["volume"] = tf.reshape(tf.cast(volume, tf.float32), [-1, n, n, n, 1])
    wedge, tilts = parsed["wedge"], parsed.pop("tilt_range_deg")
    parsed["wedge"] = _mask(wedge, n) if info.wedge == "mask" else _mask_of_tilts(tilts, n)
    parsed["label"] = tf.cast(parsed["label"], tf.int32)
    if serialized.shape[0] is not None:
        parsed["volume"].set_shape([serialized.shape[0], n, n, n, 1])
        parsed["wedge"].set_shape([serialized.shape[0], n, n, n])
    return parsed


def _mask(raw: tf.Tensor, n: int) -> tf.Tensor:
    """Stored half forms (b,) → centred weights (b, n, n, n); `fourier_weights.whole_of`."""
    half = tf.io.decode_raw(raw, tf.float16, little_endian=True)
    half = tf.reshape(tf.cast(half, tf.float32), [-1, n, n, n // 2 + 1])
    mirrored = tf.reverse(half[..., 1:], axis=[1, 2, 3])
    if n % 2 == 0:
        mirrored = tf.roll(mirrored, [1, 1], axis=[1, 2])
    return tf.concat([mirrored, half[..., : n - n // 2]], axis=-1)


def _mask_of_tilts(tilts: tf.Tensor, n: int) -> tf.Tensor:
    """Least and largest tilts (b, 2) → masks (b, n, n, n)."""
    plane = tf.constant(tilt_of_plane(n))[None]
    inside = measured_plane(plane, tilts[:, 0, None, None], tilts[:, 1, None, None])
    return tf.repeat(tf.cast(inside, tf.float32)[:, :, None, :], n, axis=2)
