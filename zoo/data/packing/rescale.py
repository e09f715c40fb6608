"""Groups of particles of different pixel size and box, brought to one while they are read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from zoo.data.formats.images import ImageReader
from zoo.data.packing.ctf_undo import undo_ctf
from zoo.data.packing.resample import resample_at
from zoo.data.tables.particle_table import ParticleTable
from zoo.errors import ZooError

_SAME = 1e-4


class RescaledReader(ImageReader):
    """Reads images of different pixel size and box as ``box`` pixels of one size, Fourier-resampled.

    All get the field of view of the smallest, cut out of the middle of larger ones: nothing has to be made
    up. ``pixel_size_angstrom`` is that field over ``box``. Pixel N//2 stays the centre: origins, which are
    in Å, and CTFs stay true. Flipped phases and premultiplication are undone in the full box. ``table`` has
    the new pixel size throughout. Raises ZooError, besides what ``ImageReader`` raises, for a stack whose
    rows state two pixel sizes, and for a box with more pixels than the finest images have in that field.
    """

    def __init__(self, table: ParticleTable, box: int):
        self._source_sizes = _sizes_of_stacks(table)
        super().__init__(table)
        fields = [self.headers[stack].shape[1] * size for stack, size in self._source_sizes.items()]
        finest = min(self._source_sizes.values())
        if min(fields) / box < finest * (1 - _SAME):
            pixels = min(fields) / finest
            raise ZooError(
                f"--box {box}: the field of {min(fields):.5g} Å that all images have is {pixels:.0f} "
                f"pixels of the finest, {finest:.5g} Å; give --box {int(pixels) // 2 * 2} or less"
            )
        self.box = box
        self.pixel_size_angstrom = min(fields) / box
        self.table = table.select(slice(None))
        self.table.pixel_size_angstrom = np.full(len(table), self.pixel_size_angstrom)
        self._ctf_state = None
        if table.source is not None:
            # in the full box it is undone exactly: here, and not once more in the packed one
            self._ctf_state = table.source.ctf_state
            self.table.source = replace(table.source, ctf_state=None)

    def read(self, indices) -> np.ndarray:
        """Images of the particles at ``indices`` after rescaling, (k, box, box) float32, in that order."""
        indices = np.atleast_1d(np.arange(len(self))[indices])
        out = np.empty((len(indices), self.box, self.box), dtype=np.float32)
        forms = [self._form(stack) for stack in self.table.stack_index[indices].tolist()]
        for form in set(forms):
            places = np.array([place for place, other in enumerate(forms) if other == form])
            box, size = form
            images = self._read_of_box(indices[places], box)
            if self._ctf_state is not None and self.table.source is not None:
                part = self.table.select(indices[places])
                part.pixel_size_angstrom = np.full(len(part), size)
                part.source = replace(self.table.source, ctf_state=self._ctf_state)
                images = undo_ctf(images, part)
            out[places] = resample_at(images, self.pixel_size_angstrom / size, self.box)
        return out

    def notes(self, source: ParticleTable) -> list[str]:
        """What a person should know of the rescaling; ``source`` is the table as it was."""
        forms = [self._form(stack) for stack in source.stack_index.tolist()]
        counts = {form: forms.count(form) for form in sorted(set(forms))}
        if len(counts) == 1:
            return ["--rescale: all particles have one pixel size and box already"]
        words = ", ".join(f"{n} of {box} pixels at {size:.5g} Å" for (box, size), n in counts.items())
        new = self.pixel_size_angstrom
        field = self.box * new
        lines = [
            f"rescaled to {self.box} pixels of {new:.5g} Å, the field of {field:.5g} Å that all have: {words}"
        ]
        coarse = max(size for _, size in counts)
        if coarse > new * (1 + _SAME):
            box = int(self.box * new / coarse) // 2 * 2
            lines.append(
                f"images of {coarse:.5g} Å hold nothing beyond {2 * coarse:.5g} Å, but are packed to "
                f"{2 * new:.5g} Å; --box {box} would leave no frequencies empty"
            )
        return lines

    def _form(self, stack: int) -> tuple[int, float]:
        """Box and pixel size in Å of the images of a stack."""
        return self.headers[stack].shape[1], self._source_sizes[stack]

    def _check_boxes(self) -> None:
        for header in self.headers.values():
            if header.shape[1] != header.shape[2]:
                size = f"{header.shape[2]} x {header.shape[1]}"
                raise ZooError(f"{header.path}: images of {size} pixels, expected square ones; crop them")


def _sizes_of_stacks(table: ParticleTable) -> dict[int, float]:
    """Pixel size of each stack in use; sizes within 0.01 % count as one."""
    found: dict[int, float] = {}
    for row, (stack, size) in enumerate(
        zip(table.stack_index.tolist(), table.pixel_size_angstrom.tolist(), strict=True)
    ):
        if abs(found.setdefault(stack, size) / size - 1) > _SAME:
            path = table.source.path if table.source else table.stack_paths[stack]
            raise ZooError(
                f"{path}: row {int(table.source_row[row]) + 1}: a pixel size of {size:.5g} Å, but other "
                f"images of {table.stack_names[stack]} have {found[stack]:.5g} Å; --rescale needs one a stack"
            )
    return found
