"""A packed set of subtomograms as NumPy arrays, without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from zoo.data.info import DatasetInfo, require_kind
from zoo.data.records.particle_record import decode_particle, read_records
from zoo.data.records.subtomogram_record import unpack_wedge
from zoo.errors import ZooError


def read_packed(info: DatasetInfo) -> Iterator[dict[str, np.ndarray]]:
    """Every subtomogram in record order; memory does not grow with their number.

    Keys as one row of `subtomogram_batches` without ``weight``. Raises
    ZooError for a data set of images and for missing or damaged shards.
    """
    require_kind(info, "subtomograms")
    info.verify_files()
    index = 0
    for path in info.shard_paths():
        for number, payload in enumerate(read_records(path), 1):
            where = f"{path}: record {number}"
            record = decode_particle(payload, where)
            values = record.features
            if int(values["index"][0]) != index:
                raise ZooError(f"{where}: is not the subtomogram that table.npz names; pack again")
            yield {
                "volume": record.image.astype(np.float32)[..., None],
                "wedge": unpack_wedge(values, info.box, where),
                "index": np.int64(index),
                "label": np.int32(values["label"][0]),
                "euler_deg": values["euler_deg"],
                "shift_angstrom": values["shift_angstrom"],
                "pixel_size_angstrom": values["pixel_size_angstrom"][0],
                "uid": values["uid"][0],
                "source_row": values["source_row"][0],
            }
            index += 1


def sequential_arrays(info: DatasetInfo, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
    """Batches in record order, every subtomogram once; the last may be smaller."""
    rows: list[dict] = []
    for row in read_packed(info):
        rows.append(row)
        if len(rows) == batch_size:
            yield {name: np.stack([row[name] for row in rows]) for name in rows[0]}
            rows = []
    if rows:
        yield {name: np.stack([row[name] for row in rows]) for name in rows[0]}
