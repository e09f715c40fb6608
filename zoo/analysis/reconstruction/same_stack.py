"""Whether the images of a source are those that were packed: some are packed again and compared."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from zoo.data.formats.images import ImageReader
from zoo.data.info import DatasetInfo
from zoo.data.packing.ctf_undo import undo_ctf
from zoo.data.packing.shards import PackSettings, prepare
from zoo.data.records.numpy_records import read_rows
from zoo.data.tables.particle_table import ParticleTable
from zoo.errors import ZooError

_COMPARED = 8
_ALIKE = 0.98


def require_same_images(info: DatasetInfo, table: ParticleTable) -> None:
    """Raise ZooError where a record and the image of its row in ``table`` are not alike."""
    known = {field.name for field in fields(PackSettings)}
    settings = PackSettings(**{name: value for name, value in info.settings.items() if name in known})
    reader = ImageReader(table)
    if info.source_box and reader.box != info.source_box:
        raise ZooError(
            f"{reader.headers[int(table.stack_index[0])].path}: images of {reader.box} pixels, but those "
            f"packed had {info.source_box}; it is not the stack that was packed (see --stacks DIR)"
        )
    for number, record in enumerate(read_rows(info)):
        if number == _COMPARED:
            break
        row = np.searchsorted(table.source_row, int(record["source_row"]))
        image = undo_ctf(reader.read([row]), table.select([row]))
        again = prepare(image, settings, info.contrast_sign)[0].ravel().astype(float)
        stored = np.asarray(record["image"], np.float64).ravel()
        spread = again.std() * stored.std()
        alike = ((again - again.mean()) * (stored - stored.mean())).mean() / spread if spread > 0 else 1.0
        if alike < _ALIKE:
            raise ZooError(
                f"{table.stack_paths[int(table.stack_index[row])]}: image {table.row_in_stack[row] + 1} is "
                f"not the one that was packed (correlation {alike:.2f}); put that stack back, name "
                "its place with --stacks DIR, or pack again"
            )
