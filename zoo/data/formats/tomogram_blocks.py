"""A tomogram read in blocks of any size: memory does not grow with the file."""

from __future__ import annotations

import os

import numpy as np

from zoo.data.formats.mapped_volumes import MappedVolumes
from zoo.data.formats.volumes import volume_file
from zoo.input_files import existing_file

_ROWS_AT_ONCE = 8192  # a page or two of the file each: those of a whole block at once would fill memory


class TomogramBlocks:
    """A tomogram (MRC or EM) by parts: ``shape`` (z, y, x), ``voxel_size_angstrom`` (0: not stated).

    Raises ZooError for what is no readable volume.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = existing_file(path)
        file = volume_file(self.path)
        self.shape, self.voxel_size_angstrom = file.shape, file.voxel_size_angstrom
        self._mapped = MappedVolumes()

    def read(self, part: tuple[slice, slice, slice]) -> np.ndarray:
        """Voxels of a part (slices along z, y, x with start and stop), float32, a copy."""
        sections, rows, columns = (each.stop - each.start for each in part)
        out = np.empty((sections, rows, columns), np.float32)
        step = max(_ROWS_AT_ONCE // max(rows, 1), 1)
        for first in range(0, sections, step):
            last = min(first + step, sections)
            some = slice(part[0].start + first, part[0].start + last)
            out[first:last] = self._mapped.part(self.path, (some, part[1], part[2]))
        return out
