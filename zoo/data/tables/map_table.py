"""The table of density maps: names, voxel sizes and files; no poses, no optics, no wedge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import numpy as np

from zoo.data.tables.particle_table import Column, Int32, ParticleTable, Source, declared_columns
from zoo.errors import ZooError

_SHARED = ("stack_index", "row_in_stack", "uid", "pixel_size_angstrom", "label", "source_row")


class MapTable(ParticleTable):
    """n density maps as NumPy columns; ``names`` are what they are called (``info.json`` keeps them).

    Raises ZooError for a ``name_index`` beyond the names, and for two maps of one name.
    """

    name_index: Annotated[Int32, Column(np.int32, -1)]

    kind: ClassVar[str] = "maps"
    image_ndim: ClassVar[int] = 3

    def __init__(
        self,
        stack_paths: Sequence[str],
        columns: dict[str, Any],
        source: Source | None = None,
        stack_names: Sequence[str] | None = None,
        names: Sequence[str] = (),
    ):
        self.names = tuple(str(name) for name in names)
        super().__init__(stack_paths, columns, source, stack_names)
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise ZooError(f"two maps are called {twice[0]!r}; rename one of the files")
        if len(self) and not (0 <= self.name_index.min() and self.name_index.max() < len(self.names)):
            raise ZooError(f"name_index outside 0..{len(self.names) - 1} (number of names)")

    def __repr__(self) -> str:
        return f"MapTable({len(self)} maps)"

    def select(self, indices) -> MapTable:
        """The maps at ``indices`` (integers, a slice or a boolean mask), in that order; all names stay."""
        if isinstance(indices, slice):
            indices = np.arange(len(self))[indices]
        columns = {name: values[np.asarray(indices)] for name, values in self.columns().items()}
        return MapTable(self.stack_paths, columns, self.source, self.stack_names, self.names)

    def image_names(self) -> list[str]:
        """The file of every map as it was given."""
        return [self.stack_names[stack] for stack in self.stack_index.tolist()]


MAP_COLUMNS: dict[str, tuple[type, Any]] = {
    name: (column.dtype, column.unknown)
    for name, column in declared_columns(MapTable).items()
    if name in (*_SHARED, "name_index")
}
"""``name_index`` says which of the table's ``names`` a map has; ``label`` is its class where one is known."""
MapTable.column_types = MAP_COLUMNS
