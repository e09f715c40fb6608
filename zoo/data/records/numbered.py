"""Which row of the table each record of a batch is: for models that keep something of every record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from zoo.data.info import DatasetInfo
from zoo.errors import ZooError

FEATURE = "index"


class RowOf:
    """Function: uids (b,) → rows of the table (b,) int64; raises ZooError where two records share a uid."""

    def __init__(self, info: DatasetInfo):
        uid = info.load_table()["uid"].astype(np.uint64)
        self.order = np.argsort(uid)
        self.sorted = uid[self.order]
        twice = np.flatnonzero(self.sorted[1:] == self.sorted[:-1])
        if len(twice):
            raise ZooError(
                f"{info.path}: two records have the uid {self.sorted[twice[0]]}: a particle is there twice; "
                "remove the doubled rows and pack again"
            )

    def __call__(self, uid: np.ndarray) -> np.ndarray:
        return self.order[np.searchsorted(self.sorted, np.asarray(uid).astype(np.int64).view(np.uint64))]


def numbered(stream, info: DatasetInfo):
    """A tf.data.Dataset or iterator of batches with ``index`` (b,) int64 in each, where they have it not."""
    row_of = RowOf(info)
    if isinstance(stream, Iterator):
        return (_with_index(batch, row_of) for batch in stream)
    import tensorflow as tf

    @tf.autograph.experimental.do_not_convert
    def add(batch):
        if FEATURE in batch:
            return batch
        rows = tf.numpy_function(row_of, [batch["uid"]], tf.int64)
        return {**batch, FEATURE: tf.ensure_shape(rows, batch["uid"].shape)}

    return stream.map(add)


def _with_index(batch: dict[str, Any], row_of: RowOf) -> dict[str, Any]:
    return batch if FEATURE in batch else {**batch, FEATURE: row_of(batch["uid"])}
