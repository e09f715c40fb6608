"""Subtomograms, read lazily by index: volume files, or boxes cut from tomograms as they are needed."""

from __future__ import annotations

import copy
import dataclasses
import os
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from zoo.data.formats.cut_in_frame import cut_in_frame, frame_reach, turned_weight
from zoo.data.formats.em import em_shape
from zoo.data.formats.fourier_weights import apply_correction, crop_weight, half_of, read_weight, whole_of
from zoo.data.formats.mrc import read_header, read_volume, require_cubic
from zoo.data.formats.volume_parts import VolumeParts
from zoo.data.tables.particle_table import FLIPPED, PREMULTIPLIED
from zoo.data.tables.subtomogram_table import COORDINATE_COLUMNS, SubtomogramTable
from zoo.data.wedge import wedge_mask
from zoo.errors import ZooError

if TYPE_CHECKING:
    from zoo.data.formats.label_volume import LabelVolume
    from zoo.data.formats.tomogram_scale import GreyScale

_CACHED_WEIGHTS = 8


@dataclasses.dataclass(frozen=True)
class VolumeFile:
    """Path, (z, y, x) and voxel size (0: not stated) of a volume."""

    path: str
    shape: tuple[int, int, int]
    voxel_size_angstrom: float


def volume_file(path: str) -> VolumeFile:
    """What the header of an MRC or EM volume says."""
    if path.lower().endswith((".em", ".em.gz")):
        return VolumeFile(path, em_shape(path), 0.0)
    header = read_header(path)
    require_cubic(header)
    z, y, x = (header.shape[-1 - header.axes.index(axis)] for axis in (3, 2, 1))
    return VolumeFile(path, (z, y, x), header.pixel_size_angstrom)


class VolumeReader:
    """Reads the subtomograms of a table by index; can be pickled and used from several processes.

    ``box`` in voxels is needed where they are cut from tomograms. Opening it reads every header and raises
    ZooError for a missing file, a volume that is no cube, volumes of different box, a box beyond its
    tomogram (unless ``clip``: the rest is then filled with the mean of what is inside).

    Boxes of one tomogram may be given its ``scale`` (`GreyScale`), and its ``label_volume`` (`LabelVolume`).
    """

    def __init__(self, table: SubtomogramTable, box: int | None = None, clip: bool = False):
        if not len(table):
            raise ZooError("no subtomograms: nothing to read")
        self.table, self.clip = table, clip
        self._known: tuple | None = None
        self.scale: GreyScale | None = None
        self.label_volume: LabelVolume | None = None
        self.label_names: tuple[str, ...] = ()
        self.headers = {stack: self._open(stack) for stack in np.unique(table.stack_index).tolist()}
        self.box = self._common_box(box)
        # of the whole table: a part of it stores its wedges in the same form
        self.stores_masks = table.stores_masks
        self._tomograms = VolumeParts()
        if not clip:
            self._check_bounds()

    def __len__(self) -> int:
        return len(self.table)

    @property
    def cut(self) -> np.ndarray:
        """Which subtomograms are cut from a tomogram, (n,) bool."""
        return self._known_of_rows()[0]

    @property
    def _states(self) -> np.ndarray:
        """What was done to the CTF of each subtomogram, (n,)."""
        return self._known_of_rows()[1]

    def _known_of_rows(self) -> tuple[np.ndarray, np.ndarray]:
        # kept, as they are asked for at every subtomogram; a copy of the reader may get another table
        if self._known is None or self._known[0] is not self.table:
            cut = np.isfinite(self.table.coordinates_voxel()).all(axis=1)
            self._known = (self.table, cut, self.table.ctf_state())
        return self._known[1:]

    def read(self, indices) -> np.ndarray:
        """Volumes at ``indices``, (k, z, y, x) float32: CTF signs and premultiplication taken back.

        Raises ZooError naming the subtomogram that holds NaN or infinite values.
        """
        indices = np.atleast_1d(np.arange(len(self))[indices])
        out = np.empty((len(indices), self.box, self.box, self.box), dtype=np.float32)
        cut, states = self.cut, self._states
        for place, index in enumerate(indices.tolist()):
            volume = self._read_one(index, bool(cut[index]))
            bad = int(volume.size - np.isfinite(volume).sum())
            if bad:
                raise ZooError(
                    f"{self.where(index)} ({self._name(index)}): {bad} voxels are NaN or infinite; "
                    "remove the subtomogram or repair the file"
                )
            if _looks_like_mask(volume):
                raise ZooError(
                    f"{self.where(index)} ({self._name(index)}): holds little but 0 and 1: it is a mask, no "
                    "subtomogram; take it out of the set"
                )
            weight = int(self.table.wedge_index[index])
            if weight >= 0:
                correction = self._weight(weight, int(states[index]))[1]
                if correction is not None:
                    if self.table.frames is not None:
                        raise ZooError(
                            f"{self.where(index)}: its CTF volume has signs or is premultiplied, which a "
                            "turned box cannot take back; give a mask with --wedge, or leave out "
                            "--pose-normalise"
                        )
                    volume = apply_correction(volume, correction)
            out[place] = volume if self.scale is None else self.scale.of(volume)
        return out

    def labels(self, index: int) -> np.ndarray | None:
        """Labels of the voxels, (z, y, x) int8, 0 beyond the tomogram; None where none were given."""
        if self.label_volume is None:
            return None
        inside, within = self._part(index)
        labels = np.zeros((self.box,) * 3, np.int8)
        labels[within] = self.label_volume.part(inside)
        return labels

    def wedge(self, index: int, box: int) -> np.ndarray:
        """Fourier weight, half form (box, box, box // 2 + 1) float32, of a volume cropped to ``box``."""
        number = int(self.table.wedge_index[index])
        if number >= 0:
            weight = crop_weight(self._weight(number, int(self._states[index]))[0], box)
        else:
            weight = half_of(wedge_mask(box, self.table.tilt_min_deg[index], self.table.tilt_max_deg[index]))
        if self.table.frames is None:
            return weight
        return half_of(turned_weight(whole_of(weight), self.table.frames.matrices[index]))

    def close(self) -> None:
        """Let go of the tomograms; they are opened again when needed."""
        self._tomograms.close()
        if self.label_volume is not None:
            self.label_volume.close()

    def where(self, index: int) -> str:
        """ "file: row N" of a subtomogram."""
        path = self.table.source.path if self.table.source else self.table.stack_paths[0]
        return f"{path}: row {int(self.table.source_row[index]) + 1}"

    def __getstate__(self):
        table = copy.copy(self.table)
        if table.source is not None:  # the blocks are only for writing back, and may be large
            table.source = dataclasses.replace(table.source, blocks={}, place_offset_angstrom=None)
        return {**self.__dict__, "table": table, "_known": None}

    def _name(self, index: int) -> str:
        return self.table.select([index]).image_names()[0]

    def _weight(self, number: int, state: int):
        try:
            path = self.table.wedge_paths[number]
            if not os.path.exists(path):
                raise ZooError(f"{path}: no such wedge or CTF volume; put it there or correct rlnCtfImage")
            found = os.stat(path)
            return _cached_weight(path, self.box, state, (found.st_mtime_ns, found.st_size, found.st_ino))
        except ZooError as error:
            first = int(np.flatnonzero(self.table.wedge_index == number)[0])
            raise ZooError(f"{self.where(first)}: {error}") from error

    def _read_one(self, index: int, cut: bool) -> np.ndarray:
        stack = int(self.table.stack_index[index])
        if not cut:
            return read_volume(self.headers[stack].path)[0]
        file = self.headers[stack]
        if self.table.frames is not None:
            middle = np.array(self._corner(index)) + self.box // 2
            frame = self.table.frames.select(index)

            def part(inside: tuple[slice, slice, slice]) -> np.ndarray:
                return self._tomograms.part(file.path, inside)

            return cut_in_frame(part, file.shape, middle, frame.matrices, frame.centres_voxel, self.box)
        inside, within = self._part(index)
        data = self._tomograms.part(file.path, inside)
        if data.shape == (self.box,) * 3:
            return data
        volume = np.full((self.box,) * 3, data.mean(), dtype=np.float32)
        volume[within] = data
        return volume

    def _part(self, index: int) -> tuple[tuple[slice, slice, slice], tuple[slice, slice, slice]]:
        """What of a tomogram lies in a box (slices along z, y, x), and where it lies in that."""
        shape, low = self.headers[int(self.table.stack_index[index])].shape, self._corner(index)
        inside = [
            slice(max(start, 0), min(start + self.box, size)) for start, size in zip(low, shape, strict=True)
        ]
        within = [
            slice(part.start - start, part.stop - start) for part, start in zip(inside, low, strict=True)
        ]
        return (inside[0], inside[1], inside[2]), (within[0], within[1], within[2])

    def _corner(self, index: int) -> list[int]:
        """First voxel (z, y, x) of a box: its voxel box // 2 is the rounded coordinate."""
        centre = [getattr(self.table, name)[index] for name in COORDINATE_COLUMNS]
        return [round(float(place)) - self.box // 2 for place in centre[::-1]]

    def _open(self, stack: int) -> VolumeFile:
        path = self.table.stack_paths[stack]
        if not os.path.exists(path):
            first = int(np.flatnonzero(self.table.stack_index == stack)[0])
            raise ZooError(
                f"{self.where(first)}: volume {self.table.stack_names[stack]} not found (looked for {path} "
                "and in the folders above); put the file there or correct the name"
            )
        return volume_file(path)

    def _common_box(self, box: int | None) -> int:
        cut = self.cut
        if cut.all():
            if box is None:
                raise ZooError(f"{self.where(0)}: subtomograms are cut from a tomogram; give their --box")
            return box
        known = 0
        for index in np.flatnonzero(~cut).tolist():
            file = self.headers[int(self.table.stack_index[index])]
            size = " x ".join(str(side) for side in file.shape[::-1])
            if len(set(file.shape)) > 1:
                stack = file.shape[1] == file.shape[2]
                hint = (
                    "is this a 2D stack? Export 3D subtomograms (in RELION 5 without 2D stacks)"
                    if stack and file.shape[0] != file.shape[1]
                    else "pad or crop it"
                )
                raise ZooError(f"{self.where(index)}: {file.path} has {size} voxels, expected a cube; {hint}")
            known = known or file.shape[0]
            if file.shape[0] != known:
                raise ZooError(
                    f"{self.where(index)}: {file.path} has a box of {file.shape[0]} voxels, the subtomograms "
                    f"before it {known}; bring all to one box first"
                )
        return known

    def _check_bounds(self) -> None:
        outside = self.outside()
        if len(outside):
            rows = ", ".join(str(int(self.table.source_row[index]) + 1) for index in outside[:10].tolist())
            more = ", ..." if len(outside) > 10 else ""
            raise ZooError(
                f"{self.table.source.path if self.table.source else 'coordinates'}: {len(outside)} of "
                f"{len(self)} boxes of {self.box} voxels reach beyond their tomogram (rows {rows}{more}); "
                "leave them out with --outside drop, or fill what is missing with --outside clip"
            )

    def outside(self) -> np.ndarray:
        """Indices of the boxes that reach beyond their tomogram."""
        rows = np.flatnonzero(self.cut)
        if not len(rows):
            return rows
        nearest = np.rint(self.table.coordinates_voxel()[rows])
        frames = None if self.table.frames is None else self.table.frames.select(rows)
        reach = frame_reach(frames, self.box, len(rows))
        sizes = np.zeros((max(self.headers) + 1, 3))
        for stack, header in self.headers.items():
            sizes[stack] = header.shape[::-1]
        last = sizes[self.table.stack_index[rows]] - 1
        beyond = (nearest + reach[0] < 0) | (nearest + reach[1] > last)
        return rows[beyond.any(axis=1)]


def _looks_like_mask(volume: np.ndarray) -> bool:
    """Whether all values lie from 0 to 1 and most are one of these two."""
    low, high = float(volume.min()), float(volume.max())
    if low != 0 or abs(high - 1) > 1e-6:
        return False
    return float(((volume == low) | (volume == high)).mean()) > 0.5


@lru_cache(maxsize=_CACHED_WEIGHTS)
def _cached_weight(path: str, box: int, state: int, version: tuple):
    """``version`` tells a file that was written anew under its old name."""
    return read_weight(path, box, state == PREMULTIPLIED, state == FLIPPED)
