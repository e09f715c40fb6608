"""Serialised records → tensors, as the schema of their kind declares them."""

from __future__ import annotations

import tensorflow as tf

from zoo.data.info import DatasetInfo
from zoo.data.kinds import kind_of
from zoo.data.records.schema import VOXEL_LABELS
from zoo.data.wedge import measured_plane, tilt_of_plane


def half_sets_of(info: DatasetInfo) -> tf.Tensor | None:
    """Half set (n,) of every record, 0 where unknown; None for kinds that have none.

    They stand in table.npz alone, since a person may draw them anew. Read here, outside of any graph.
    """
    if not kind_of(info).schema.has_wedge:
        return None
    return tf.constant(info.load_table()["random_subset"], tf.int32)


def parse_records(
    serialized: tf.Tensor, info: DatasetInfo, half_sets: tf.Tensor | None
) -> dict[str, tf.Tensor]:
    """Batch of serialised records (b,) → dict of tensors (b, ...); shapes are static where b is.

    ``half_sets`` is what `half_sets_of` gives.
    """
    schema, n, count = kind_of(info).schema, info.box, serialized.shape[0]
    parsed = tf.io.parse_example(serialized, _features(info))
    batch = {
        field.in_batches: tf.cast(parsed[field.name], field.dtype)
        for field in schema.fields
        if field.in_batches
    }
    grid = tf.io.decode_raw(parsed["image"], tf.as_dtype(info.dtype), little_endian=True)
    batch[schema.feature] = tf.reshape(tf.cast(grid, tf.float32), [-1, *schema.shape(n), 1])
    if schema.has_wedge:
        is_mask = info.wedge == "mask"
        batch["wedge"] = _mask(parsed["wedge"], n) if is_mask else _mask_of_tilts(parsed["tilt_range_deg"], n)
        batch["index"] = parsed["index"]
    if half_sets is not None:
        batch["random_subset"] = tf.gather(half_sets, parsed["index"])
    if info.voxel_labels:
        labels = tf.io.decode_raw(parsed[VOXEL_LABELS], tf.int8)
        batch[VOXEL_LABELS] = tf.reshape(tf.cast(labels, tf.int32), [-1, n, n, n])
    if count is not None:
        for name in {schema.feature, "wedge", VOXEL_LABELS} & set(batch):
            batch[name].set_shape([count, *batch[name].shape[1:]])
    return batch


def _features(info: DatasetInfo) -> dict:
    schema = kind_of(info).schema
    features = {
        field.name: tf.io.FixedLenFeature(field.shape, tf.float32 if field.is_float else tf.int64)
        for field in schema.fields
        if field.in_batches or (schema.has_wedge and field.name == "tilt_range_deg")
    }
    names = ["image"] + ["wedge"] * schema.has_wedge + [VOXEL_LABELS] * bool(info.voxel_labels)
    features.update((name, tf.io.FixedLenFeature([], tf.string)) for name in names)
    if schema.has_wedge:
        features["index"] = tf.io.FixedLenFeature([], tf.int64)
    return features


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
