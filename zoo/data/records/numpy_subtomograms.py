"""A packed set of subtomograms as NumPy arrays, without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from zoo.data.info import DatasetInfo
from zoo.data.kinds import require_kind
from zoo.data.records import numpy_records


def read_packed(info: DatasetInfo) -> Iterator[dict[str, np.ndarray]]:
    """Every subtomogram in record order; memory does not grow with their number.

    Keys as one row of `subtomogram_batches` without ``weight``. Raises
    ZooError for a data set of images and for missing or damaged shards.
    """
    require_kind(info, "subtomograms")
    for row in numpy_records.read_rows(info):
        yield row | {"volume": row["volume"].astype(np.float32)}


def sequential_arrays(info: DatasetInfo, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
    """Batches in record order, every subtomogram once; the last may be smaller."""
    require_kind(info, "subtomograms")
    yield from numpy_records.sequential_arrays(info, batch_size)
