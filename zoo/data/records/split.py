"""Which records are held back for validation: decided by (seed, uid), alike in every order of the records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from zoo.data.info import DatasetInfo
from zoo.data.records import batches
from zoo.errors import ZooError

FEATURE = "is_validation"


def is_held_back(uid: np.ndarray, seed: int, fraction: float) -> np.ndarray:
    """For uids (n,), 64-bit: whether each is held back, (n,) bool; a share ``fraction`` is.

    The finaliser of SplitMix64 (Steele, Lea, Flood 2014) makes uniform bits of seed and uid.
    """
    with np.errstate(over="ignore"):
        bits = np.asarray(uid).astype(np.int64).view(np.uint64) + np.uint64(seed) * np.uint64(
            0x9E3779B97F4A7C15
        )
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bits ^= bits >> np.uint64(31)
    return bits < np.uint64(int(fraction * float(2**64 - 2**11)))


def check_split(info: DatasetInfo, seed: int, fraction: float) -> int:
    """How many records are held back; raises ZooError where none are, or all."""
    count = int(is_held_back(info.load_table()["uid"], seed, fraction).sum())
    if fraction > 0 and not 0 < count < info.count:
        raise ZooError(
            f"{info.path}: validation_fraction={fraction} holds back {count} of {info.count} records; "
            "give another fraction, or 0 for no validation"
        )
    return count


def held_back_batches(
    info: DatasetInfo, batch_size: int, seed: int, fraction: float
) -> Iterator[dict[str, Any]]:
    """The records that are held back, in record order, as NumPy batches."""
    for batch in batches.sequential_batches(info, batch_size):
        rows = is_held_back(batch["uid"], seed, fraction)
        if rows.any():
            held = {name: value[rows] for name, value in batch.items()}
            yield {**held, FEATURE: np.ones(int(rows.sum()), np.float32)}


def marked(stream, seed: int, fraction: float):
    """A tf.data.Dataset or iterator of batches with the feature ``is_validation`` (b,) float32 in each."""

    def mark(uid):
        return is_held_back(uid, seed, fraction).astype(np.float32)

    if isinstance(stream, Iterator):
        return ({**batch, FEATURE: mark(batch["uid"])} for batch in stream)
    import tensorflow as tf

    @tf.autograph.experimental.do_not_convert
    def add(batch):
        held = tf.ensure_shape(tf.numpy_function(mark, [batch["uid"]], tf.float32), batch["uid"].shape)
        return {**batch, FEATURE: held}

    return stream.map(add)
