"""Cubes of one synthetic tomogram whose voxels are labelled, to learn segmentation without any file."""

from __future__ import annotations

import os
from pathlib import Path

from zoo.files import cache_folder
from zoo.simulate.classes import check_box
from zoo.simulate.embedded import only_one
from zoo.simulate.embedded_complexes import complexes_of_one_density

LABELLED_COMPLEXES = ("large_lumps", "barrel", "tripod")  # 3, 0.7 and 0.3 MDa
LABEL_NAMES = "1=globule,2=globule,3=globule,4=membrane,5=fiducial"

_VERSION = 1
_EDGE_ANGSTROM = 454.4  # of a cube: 32 voxels of 14.2 Å, as in the paper
_SIZE_BOXES = (8, 8, 2)  # x, y, z
_COUNT, _MEMBRANES, _FIDUCIALS = 45, 4, 16
_SNR = 0.5
_UNIT_DALTON = 1e3


def embedded_labelled_cubes(
    box: int | None = None, cache_dir: str | os.PathLike | None = None, snr: float = _SNR, seed: int = 0
) -> Path:
    """Folder of packed cubes of ``box`` voxels (None: 32) that cover a tomogram without overlap.

    Their voxels are background, globule (three complexes), membrane (vesicles) and fiducial. The tomogram, at
    ``snr`` of the projections, lies beside the records with what is true of it. Raises ZooError for a box
    that cannot be and a cache that cannot be written.
    """
    from zoo.data.info import INFO_NAME
    from zoo.data.packing.pack_subtomograms import VolumeOptions, pack_subtomograms
    from zoo.data.packing.shards import PackSettings

    box = 32 if box is None else box
    check_box(box)
    parts = f"v{_VERSION}-box{box}-snr{snr:g}-seed{seed}"
    folder = cache_folder(cache_dir) / f"embedded-labelled-{parts}"
    records = folder / "records"
    if (records / INFO_NAME).exists():
        return records
    with only_one(folder):
        tomogram = folder / "tomogram" / "tomogram.mrc"
        if not tomogram.exists():
            _simulate(box, tomogram.parent, snr, seed)
        labels = str(tomogram.with_name("labels.mrc"))
        options = VolumeOptions(
            str(tomogram), tilt_range_deg=(-60, 60), labels=labels, label_names=LABEL_NAMES, every=box
        )
        packing = PackSettings(box, normalisation="tomogram", contrast=1, seed=seed, name="embedded")
        pack_subtomograms(None, records, packing, options, processes=1, command="embedded_labelled_cubes")
    return records


def _simulate(box: int, out: Path, snr: float, seed: int) -> None:
    from zoo.simulate.subtomogram_settings import SubtomogramSettings
    from zoo.simulate.tomogram import simulate_tomogram
    from zoo.simulate.tomogram_settings import TomogramSettings

    x, y, z = (side * box for side in _SIZE_BOXES)
    imaging = SubtomogramSettings(_COUNT, snr=snr, seed=seed)
    settings = TomogramSettings(imaging, (x, y, z), _MEMBRANES, _FIDUCIALS)
    classes = complexes_of_one_density(LABELLED_COMPLEXES, box, _EDGE_ANGSTROM / box, _UNIT_DALTON)
    simulate_tomogram(classes, out, settings, command="embedded_labelled_cubes")
