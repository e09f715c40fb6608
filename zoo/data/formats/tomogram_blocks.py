"""A tomogram read in blocks of any size: memory does not grow with the file."""

from __future__ import annotations

import os

import numpy as np

from zoo.data.formats.mrc import read_header
from zoo.data.formats.volume_parts import VolumeParts
from zoo.data.formats.volumes import volume_file
from zoo.input_files import existing_file


class TomogramBlocks:
    """A tomogram (MRC or EM) by parts: ``shape`` (z, y, x), ``voxel_size_angstrom`` (0: not stated).

    ``corner_xyz_angstrom`` is where the middle of its first voxel lies. Raises ZooError for what is no
    readable volume.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = existing_file(path)
        file = volume_file(self.path)
        self.shape, self.voxel_size_angstrom = file.shape, file.voxel_size_angstrom
        is_em = self.path.lower().endswith((".em", ".em.gz"))
        self.corner_xyz_angstrom = (0.0, 0.0, 0.0) if is_em else read_header(self.path).corner_xyz_angstrom
        self._parts = VolumeParts()

    def read(self, part: tuple[slice, slice, slice]) -> np.ndarray:
        """Voxels of a part (slices along z, y, x with start and stop), float32, a copy."""
        return self._parts.part(self.path, part)

    def close(self) -> None:
        """Let go of the file; it is opened again when needed."""
        self._parts.close()
