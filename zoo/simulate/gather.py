"""From the words of a command line to the classes of a simulation."""

import os
from collections.abc import Sequence

from zoo.errors import ZooError
from zoo.simulate.classes import (
    ClassMaps,
    StructureSource,
    check_box,
    classes_from_maps,
    classes_from_structures,
)
from zoo.simulate.embedded import embedded_classes

_STRUCTURE_BOX = 64
_EMBEDDED_BOX = 32
_LARGEST_ANGSTROM = 10_000.0
_MOST_CONFORMATIONS = 1000


def structure_sources(
    paths: Sequence[str | os.PathLike],
    assembly: str | None = None,
    chains: Sequence[str] = (),
    remove_chains: Sequence[str] = (),
) -> list[StructureSource]:
    """One source per path; the n-th of `chains` and `remove_chains` ("A,B,C", "-" for no choice) is its own.

    Raises ZooError where there are chain lists but not one for each path.
    """
    kept = _chain_lists("--chains", chains, len(paths))
    removed = _chain_lists("--remove-chains", remove_chains, len(paths))
    return [
        StructureSource(os.fspath(path), assembly, *lists)
        for path, *lists in zip(paths, kept, removed, strict=True)
    ]


def gather_classes(
    maps: Sequence[str | os.PathLike],
    structures: Sequence[StructureSource],
    box: int | None = None,
    pixel_size_angstrom: float | None = None,
    resolution_angstrom: float | None = None,
    common_frame: bool = False,
    morph: int | None = None,
) -> ClassMaps:
    """Maps first, then structures, in one box and pixel size; with neither, the embedded intermediates.

    Raises ZooError for a pixel size that is not positive, and where structures come without any.
    """
    check_box(box)
    if pixel_size_angstrom is not None and not 0 < pixel_size_angstrom <= _LARGEST_ANGSTROM:
        raise ZooError(
            f"--pixel-size {pixel_size_angstrom}: expected a size above 0 Å, at most {_LARGEST_ANGSTROM:g}"
        )
    if resolution_angstrom is not None and not 0 < resolution_angstrom <= _LARGEST_ANGSTROM:
        raise ZooError(f"--resolution {resolution_angstrom}: expected more than 0 Å")
    if morph is not None and not 2 <= morph <= _MOST_CONFORMATIONS:
        raise ZooError(f"--morph {morph}: expected 2 or more conformations, at most {_MOST_CONFORMATIONS}")
    if morph is not None and maps:
        raise ZooError("--morph is between two --structure; it cannot be mixed with --map")
    for given, name in ((resolution_angstrom, "--resolution"), (morph, "--morph")):
        if given is not None and not structures:
            raise ZooError(f"{name} {given}: belongs to --structure, but none is given")
    classes = classes_from_maps(maps, box, pixel_size_angstrom) if maps else None
    if structures:
        box = classes.box if classes else box or _STRUCTURE_BOX
        pixel_size_angstrom = classes.voxel_size_angstrom if classes else pixel_size_angstrom
        if pixel_size_angstrom is None:
            raise ZooError("--structure needs the size of a pixel: give --pixel-size in Å")
        models = classes_from_structures(
            structures, box, pixel_size_angstrom, resolution_angstrom, common_frame, morph
        )
        classes = classes + models if classes else models
    return classes or embedded_classes(box or _EMBEDDED_BOX, pixel_size_angstrom)


def _chain_lists(option, lists, count):
    if not lists:
        return [()] * count
    if len(lists) != count:
        raise ZooError(
            f"{option} given {len(lists)} times for {count} --structure; expected one each (- for no choice)"
        )
    return [() if text == "-" else tuple(name for name in text.split(",") if name) for text in lists]
