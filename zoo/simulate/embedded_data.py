"""The data set that each kind of records has without any file: made by code on first use, then kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.data.info import INFO_NAME
from zoo.errors import ZooError

_SUBTOMOGRAMS_VERSION = 1
_MAPS_VERSION = 1
_MAPS_EDGE_ANGSTROM = 384.0
_CLASSES = (0, 2)  # core and core+A+B: of the three the pair that differs most
_COUNT_PER_CLASS = 30
_SNR = 0.1
_SHIFT_MAX_VOXELS = 2.0


@dataclass(frozen=True)
class EmbeddedData:
    """How the embedded set of a kind is made, and what hyperparameters ``suggested`` by it are.

    ``make`` takes a box (None: its own) and the cache and gives the folder of records.
    """

    make: Callable[[int | None, str | os.PathLike | None], Path]
    suggested: dict[str, Any] = field(default_factory=dict)


def embedded(kind: str, box: int | None = None, cache_dir: str | os.PathLike | None = None) -> Path:
    """Folder of packed records, simulated on first use, of a kind or of another set that `EMBEDDED` names.

    Processes that ask at once wait. The cache is `cache_dir`, the environment variable ZOO_CACHE, or
    ~/.cache/cryozoo. Raises ZooError for a kind without an embedded set, a box that cannot be, and a cache
    that cannot be written.
    """
    if kind not in EMBEDDED:
        raise ZooError(f"there are no embedded {kind}: name a folder made by zoo-pack with --data")
    return EMBEDDED[kind].make(box, cache_dir)


def suggested_settings(kind: str) -> dict[str, Any]:
    """Hyperparameters that the embedded set of a kind suggests, as the number of its classes."""
    return dict(EMBEDDED[kind].suggested) if kind in EMBEDDED else {}


def embedded_subtomograms(
    box: int | None = None,
    cache_dir: str | os.PathLike | None = None,
    count_per_class: int = _COUNT_PER_CLASS,
    snr: float = _SNR,
    seed: int = 0,
) -> Path:
    """Folder of packed subtomograms of two synthetic assembly intermediates, core and core+A+B.

    Each was imaged in a tilt series from -60 to 60 degrees with noise, in any orientation, shifted by up to
    2 voxels. Beside the records lie `subtomograms/`: STAR, volumes, wedge and true maps.
    """
    from zoo.data.packing.pack_subtomograms import OWN_BOX, pack_subtomograms
    from zoo.data.packing.shards import PackSettings
    from zoo.files import cache_folder
    from zoo.simulate.classes import ClassMaps
    from zoo.simulate.embedded import EMBEDDED_CLASSES, embedded_classes, only_one
    from zoo.simulate.subtomogram_settings import SubtomogramSettings
    from zoo.simulate.subtomograms import simulate_subtomograms

    box = 32 if box is None else box
    parts = f"v{_SUBTOMOGRAMS_VERSION}-box{box}-n{count_per_class}-snr{snr:g}-seed{seed}"
    folder = cache_folder(cache_dir) / f"embedded-subtomograms-{parts}"
    records = folder / "records"
    if (records / INFO_NAME).exists():
        return records
    three = embedded_classes(box)
    classes = ClassMaps(
        three.maps[list(_CLASSES)],
        three.voxel_size_angstrom,
        tuple(EMBEDDED_CLASSES[number] for number in _CLASSES),
    )
    settings = SubtomogramSettings(count_per_class, snr=snr, seed=seed, shift_max_voxels=_SHIFT_MAX_VOXELS)
    with only_one(folder):
        star = folder / "subtomograms" / "subtomograms.star"
        if not star.exists():
            simulate_subtomograms(classes, star.parent, settings, command="embedded_subtomograms")
        packing = PackSettings(box=OWN_BOX, contrast=1, seed=seed, name="embedded")
        pack_subtomograms(star, records, packing, processes=1, command="embedded_subtomograms")
    return records


def embedded_map_records(box: int | None = None, cache_dir: str | os.PathLike | None = None) -> Path:
    """Folder of packed maps of fifteen synthetic complexes, in a box of 38.4 nm at any ``box``."""
    from zoo.data.packing.pack_arrays import pack_maps
    from zoo.data.packing.shards import PackSettings
    from zoo.files import cache_folder
    from zoo.simulate.embedded import only_one
    from zoo.simulate.embedded_complexes import embedded_complexes

    box = 64 if box is None else box
    folder = cache_folder(cache_dir) / f"embedded-maps-v{_MAPS_VERSION}-box{box}"
    records = folder / "records"
    if (records / INFO_NAME).exists():
        return records
    with only_one(folder):
        if not (records / INFO_NAME).exists():
            found = embedded_complexes(box, _MAPS_EDGE_ANGSTROM / box)
            settings = PackSettings(
                box=box, dtype="float32", normalisation="none", contrast=1, name="embedded"
            )
            voxel = found.voxel_size_angstrom
            pack_maps(
                found.maps,
                found.names,
                records,
                settings,
                voxel_size_angstrom=voxel,
                command="embedded_map_records",
            )
    return records


# Imported when they are made: whoever only asks what a set suggests does without SciPy.
def _particles(box: int | None, cache_dir: str | os.PathLike | None) -> Path:
    from zoo.simulate.embedded import embedded_dataset

    return (
        embedded_dataset(cache_dir=cache_dir) if box is None else embedded_dataset(box, cache_dir=cache_dir)
    )


def _cubes(box: int | None, cache_dir: str | os.PathLike | None) -> Path:
    from zoo.simulate.embedded_tomogram import embedded_cubes

    return embedded_cubes(box, cache_dir)


def _labelled_cubes(box: int | None, cache_dir: str | os.PathLike | None) -> Path:
    from zoo.simulate.embedded_labelled import embedded_labelled_cubes

    return embedded_labelled_cubes(box, cache_dir)


EMBEDDED = {
    "particles": EmbeddedData(_particles),
    "subtomograms": EmbeddedData(embedded_subtomograms, {"classes": len(_CLASSES)}),
    "maps": EmbeddedData(embedded_map_records),
    "cubes": EmbeddedData(_cubes),
    "labelled cubes": EmbeddedData(_labelled_cubes),
}
"""The embedded set of each kind, and those that a model may name (`zoo.registry.Entry.embedded`)."""
