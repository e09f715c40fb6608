"""Parts of a tomogram, read as they are needed: memory does not grow with the file."""

from __future__ import annotations

import os

import numpy as np

from zoo.data.formats.mrc import read_header, read_volume
from zoo.data.formats.volumes import volume_file
from zoo.input_files import existing_file

_PART_BYTES = 16 << 20


class TomogramBlocks:
    """A tomogram (MRC or EM) by parts: ``shape`` (z, y, x), ``voxel_size_angstrom`` (0: not stated).

    An MRC file that is not compressed and has its axes in order is read through its memory map; any other
    (``in_memory``) is read whole, once. Raises ZooError for what is no readable volume.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = existing_file(path)
        file = volume_file(self.path)
        self.shape, self.voxel_size_angstrom = file.shape, file.voxel_size_angstrom
        self.in_memory = not file.mapped
        self._header = read_header(self.path) if file.mapped else None
        self._whole: np.ndarray | None = None

    def read(self, part: tuple[slice, slice, slice]) -> np.ndarray:
        """Voxels of a part (slices along z, y, x with start and stop), float32, a copy."""
        if self._header is None:
            if self._whole is None:
                self._whole = read_volume(self.path)[0]
            return self._whole[part].copy()
        sides = tuple(each.stop - each.start for each in part)
        out = np.empty(sides, np.float32)
        section = max(self._header.section_bytes, 1)
        step = max(_PART_BYTES // section, 1)
        for first in range(0, sides[0], step):
            count = min(step, sides[0] - first)
            # A new map for each few sections: pages of a map that stays count as memory of the process.
            sections = np.memmap(
                self.path,
                dtype=self._header.dtype,
                mode="r",
                offset=self._header.data_offset + (part[0].start + first) * section,
                shape=(count, *self.shape[1:]),
            )
            out[first : first + count] = sections[:, part[1], part[2]]
        return out
