"""One pixel size for a data set: several are told or refused, and headers that say another one are told."""

from __future__ import annotations

import numpy as np

from zoo.data.tables.particle_table import ParticleTable
from zoo.errors import ZooError

_SAME = 1e-4
_TOLD = 0.01
_UNSET = (0.0, 1.0)
"""What programs write into a header when they do not know the pixel size."""


def check_pixel_sizes(table: ParticleTable, headers: dict, box: int) -> list[str]:
    """Lines about the pixel sizes of a set to be packed in ``box`` pixels; ``headers`` are the reader's.

    A model has one pixel size: its maps fit all particles only if their sizes agree. Sizes so close that the
    edge of the box moves by less than half a pixel are told, others refused. Raises ZooError naming them.
    """
    notes = []
    sizes, first, counts = np.unique(table.pixel_size_angstrom, return_index=True, return_counts=True)
    main = float(sizes[counts.argmax()])
    apart = np.abs(sizes / main - 1)
    if apart.max() > _SAME:
        path = table.source.path if table.source else table.stack_paths[0]
        row = int(table.source_row[first[apart.argmax()]]) + 1
        shown = np.argsort(-counts, kind="stable")[:4]
        words = ", ".join(f"{sizes[i]:.5g} Å ({counts[i]} rows)" for i in shown)
        more = f" and {len(sizes) - 4} more" if len(sizes) > 4 else ""
        found = f"{len(sizes)} pixel sizes: {words}{more}"
        if apart.max() * box / 2 > 0.5:
            raise ZooError(
                f"{path}: row {row}: {found}; a model has one. Bring all to one (particles with --rescale, "
                "else relion_image_handler --rescale_angpix), pack each optics group by itself, or give "
                "--pixel-size if the file is wrong"
            )
        notes.append(
            f"{found}; they agree to {100 * apart.max():.2g} %, half a pixel at the edge at most, and count "
            f"as {main:.5g} Å"
        )
    return notes + other_headers(table, headers)


def other_headers(table: ParticleTable, headers: dict) -> list[str]:
    """A line where headers state another pixel size than the one that is used."""
    first = {int(stack): row for row, stack in reversed(list(enumerate(table.stack_index.tolist())))}
    other, example = 0, ""
    for stack, header in headers.items():
        stated: float = getattr(header, "pixel_size_angstrom", 0) or getattr(header, "voxel_size_angstrom", 0)
        used = float(table.pixel_size_angstrom[first[stack]]) if stack in first else stated
        if stated not in _UNSET and abs(stated / used - 1) > _TOLD:
            other += 1
            example = example or f"{header.path} states {stated:.5g} Å, {used:.5g} Å is used"
    if not other:
        return []
    return [f"the header of {other} of {len(headers)} files states another pixel size ({example})"]
