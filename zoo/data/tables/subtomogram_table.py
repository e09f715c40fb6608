"""The table of subtomograms: a particle table whose images are volumes with a wedge and a place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import numpy as np

from zoo.data.tables.cube_frames import CubeFrames
from zoo.data.tables.particle_table import (
    ANGSTROM,
    DEGREES,
    PREMULTIPLIED,
    Column,
    Float64,
    Int32,
    ParticleTable,
    Source,
    declared_columns,
)
from zoo.data.tilts.tilt_series import TiltParticles

SHIFT_COLUMNS_3D = ("shift_x_angstrom", "shift_y_angstrom", "shift_z_angstrom")
TILT_COLUMNS = ("tilt_min_deg", "tilt_max_deg")
COORDINATE_COLUMNS = ("coordinate_x_voxel", "coordinate_y_voxel", "coordinate_z_voxel")
VOXELS = Column(np.float64, np.nan, "voxel")


class SubtomogramTable(ParticleTable):
    """n subtomograms as NumPy columns; ``stack_paths`` are volume files, or tomograms to cut from.

    Where ``coordinate_*_voxel`` (0-based, of the centre voxel box // 2) is known the volume is cut from the
    tomogram, otherwise the file is the volume. ``wedge_index`` points into ``wedge_paths`` (Fourier weights,
    1 = measured; -1: none), ``tilt_min_deg`` and ``tilt_max_deg`` are the range of the tilts about y.
    ``premultiplied``: all volumes were multiplied with their CTF and the wedge files hold CTF² (RELION 4, 5);
    where that is so of some only, ``source.ctf_state`` says of which.
    ``tilts``: the files are stacks of tilt images, and volumes and wedges have to be made of them.
    ``frames``: the volumes are cut from the tomogram turned and moved (`CubeFrames`), and the pose columns,
    where known, are those of the particles in these cubes.
    """

    shift_z_angstrom: Annotated[Float64, ANGSTROM]
    tilt_min_deg: Annotated[Float64, DEGREES]
    tilt_max_deg: Annotated[Float64, DEGREES]
    coordinate_x_voxel: Annotated[Float64, VOXELS]
    coordinate_y_voxel: Annotated[Float64, VOXELS]
    coordinate_z_voxel: Annotated[Float64, VOXELS]
    wedge_index: Annotated[Int32, Column(np.int32, -1)]

    kind: ClassVar[str] = "subtomograms"
    image_ndim: ClassVar[int] = 3

    def __init__(
        self,
        stack_paths: Sequence[str],
        columns: dict[str, Any],
        source: Source | None = None,
        stack_names: Sequence[str] | None = None,
        wedge_paths: Sequence[str] = (),
        premultiplied: bool = False,
        tilts: TiltParticles | None = None,
        frames: CubeFrames | None = None,
    ):
        self.wedge_paths = [str(path) for path in wedge_paths]
        self.premultiplied = premultiplied
        self.tilts = tilts
        self.frames = frames
        super().__init__(stack_paths, columns, source, stack_names)

    def __repr__(self) -> str:
        return f"SubtomogramTable({len(self)} subtomograms, {len(self.stack_paths)} files)"

    def select(self, indices) -> SubtomogramTable:
        """The subtomograms at ``indices`` (integers, a slice or a boolean mask), in that order."""
        part = super().select(indices)
        assert isinstance(part, SubtomogramTable)  # select makes another of its own class
        part.wedge_paths, part.premultiplied = self.wedge_paths, self.premultiplied
        part.tilts = None if self.tilts is None else self.tilts.select(indices)
        part.frames = None if self.frames is None else self.frames.select(indices)
        return part

    @property
    def stores_masks(self) -> bool:
        """Whether records need a wedge of their own: ranges of tilts cannot say all of them."""
        return self.frames is not None or bool((self.wedge_index >= 0).any())

    def ctf_state(self) -> np.ndarray:
        """``RAW``, ``FLIPPED`` or ``PREMULTIPLIED`` of every volume, (n,) uint8."""
        return np.full(len(self), PREMULTIPLIED, np.uint8) if self.premultiplied else super().ctf_state()

    def shift_angstrom(self) -> np.ndarray:
        """RELION's origins x, y, z in Å, (n, 3) float64, NaN where unknown."""
        return np.stack([getattr(self, name) for name in SHIFT_COLUMNS_3D], axis=1)

    def coordinates_voxel(self) -> np.ndarray:
        """Centres x, y, z in voxels of the tomogram, (n, 3) float64, NaN where the file is the volume."""
        return np.stack([getattr(self, name) for name in COORDINATE_COLUMNS], axis=1)

    def tilt_range_deg(self) -> np.ndarray:
        """Least and largest tilt, (n, 2) float64, NaN where unknown."""
        return np.stack([getattr(self, name) for name in TILT_COLUMNS], axis=1)

    def image_names(self) -> list[str]:
        """The volume file as the source spells it; for a tomogram with the place: ``12.0,30.0,7.5@t.mrc``."""
        names = []
        for stack, place in zip(self.stack_index.tolist(), self.coordinates_voxel().tolist(), strict=True):
            cut = ",".join(f"{value:g}" for value in place) + "@" if np.isfinite(place).all() else ""
            names.append(cut + self.stack_names[stack])
        return names


SUBTOMOGRAM_COLUMNS: dict[str, tuple[type, Any]] = {
    name: (column.dtype, column.unknown) for name, column in declared_columns(SubtomogramTable).items()
}
"""The columns of ``ParticleTable`` and those that only volumes have."""
SubtomogramTable.column_types = SUBTOMOGRAM_COLUMNS
