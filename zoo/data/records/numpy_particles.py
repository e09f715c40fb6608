"""A packed set of particle images as NumPy arrays, without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from zoo.data.info import DatasetInfo
from zoo.data.kinds import require_kind
from zoo.data.records import numpy_records


def load_arrays(info: DatasetInfo) -> dict[str, np.ndarray]:
    """The whole data set in record order, n = ``info.count``.

    ``image (n, y, x, 1)`` in the stored type (float16 takes half the memory; batches are float32),
    ``ctf (n, 9)``, ``euler_deg (n, 3)``, ``shift_angstrom (n, 2)``, ``pixel_size_angstrom (n,)``
    float32, ``label (n,)`` int32, ``uid (n,)`` and ``source_row (n,)`` int64. Raises ZooError for
    missing or damaged shards, and for another kind of records.
    """
    require_kind(info, "particles")
    return numpy_records.load_records(info)


def numpy_batches(
    info: DatasetInfo,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    arrays: dict[str, np.ndarray] | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """Endless batches from ``start_step`` on, keys as in `particle_batches`; see `numpy_records`."""
    require_kind(info, "particles")
    return numpy_records.numpy_batches(info, batch_size, seed, start_step, arrays)
