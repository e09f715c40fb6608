"""From files to a finished folder: subtomograms, templates and nulls are opened, matched and reported."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from zoo.analysis.markers import MATCHES
from zoo.analysis.matching.match_report import (
    PAGE,
    PASSING,
    PICTURES,
    QUANTILES,
    STAR,
    TABLE,
    check_fdr,
    write_report,
)
from zoo.analysis.matching.match_run import MatchRun, NullSettings
from zoo.analysis.matching.null_maps import NullMaps, OwnMaps, check_count
from zoo.analysis.matching.template_files import EMBEDDED, files_in, read_maps
from zoo.data.formats.tilt_stacks import TiltStackReader
from zoo.data.info import INFO_NAME
from zoo.data.packing.pack_particles import find_contrast
from zoo.data.packing.pack_subtomograms import VolumeOptions, open_volumes, without_wedge
from zoo.data.packing.shards import OWN_BOX, PackSettings
from zoo.data.packing.worker_pool import available_cpus
from zoo.errors import ZooError
from zoo.files import check_folder, clear_leftovers, whole_file
from zoo.input_files import existing_file
from zoo.ops.matching.prepared_templates import SearchSettings

WORK = "work"
_WRITTEN = (MATCHES, STAR, PASSING, TABLE, PAGE, PICTURES, QUANTILES)

MakeSource = Callable[[int, float, np.ndarray], NullMaps]


@dataclass(frozen=True)
class MatchInput:
    """What a person gave (``zoo-infer match --help``); ``null`` is None where a generator makes the nulls,
    ``contrast`` the sign of dense matter, 0: it is measured. ``mirror``: the subtomograms have the other
    hand. ``finest_angstrom`` is the resolution up to which scores go, None: a third of the box, at most 12
    Fourier voxels."""

    subtomograms: Path
    templates: Path
    null: Path | None = None
    count: int = 985
    composites: bool = True
    fdr: float = 0.01
    box: int | None = None
    step_deg: float = 13.0
    max_shift_voxels: float | None = None
    resolution_angstrom: float | None = None
    contrast: int = 0
    mirror: bool = False
    whiten: bool = False
    finest_angstrom: float | None = None
    pixel_size_angstrom: float | None = None
    limit: int | None = None
    pictures: int = 20
    seed: int = 0
    threads: int | None = None
    volumes: VolumeOptions = field(default_factory=VolumeOptions)


def check_input(
    given: MatchInput, out: Path, pseudo: Path | None, regressor: Path | None, overwrite: bool
) -> None:
    """Raise ZooError for what cannot be, before anything is read or imported."""
    check_fdr(given.fdr)
    if (given.null is None) == (pseudo is None):
        raise ZooError("a null is needed, and one only: --pseudo RUN or --null FOLDER")
    if regressor is not None and pseudo is None:
        raise ZooError("--regressor: is the inverse of the generator of --pseudo; give that")
    if given.count < 1:
        raise ZooError(f"--count {given.count}: expected 1 or more; without nulls there is no p-value")
    for name, value in (("threads", given.threads), ("limit", given.limit)):
        if value is not None and value < 1:
            raise ZooError(f"--{name} {value}: expected 1 or more")
    if given.finest_angstrom is not None and not given.finest_angstrom > 0:
        raise ZooError(f"--finest {given.finest_angstrom:g}: a resolution in Å is more than 0")
    if given.pictures < 0:
        raise ZooError(f"--pictures {given.pictures}: expected 0 or more")
    for place in (given.templates, given.null):
        if place is not None and str(place) != EMBEDDED and not (place / INFO_NAME).is_file():
            files_in(place)
    if not given.subtomograms.is_dir():
        existing_file(given.subtomograms)
    if not ((out / WORK).is_dir() and not (out / MATCHES).exists()):
        check_folder(out, MATCHES, overwrite)


def match_files(
    given: MatchInput,
    out: Path,
    make_source: MakeSource | None = None,
    overwrite: bool = False,
    notes: Callable[[str], None] = lambda text: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[str]:
    """Match, judge and write ``out``; returns the lines of the summary.

    ``make_source(box, voxel_size_angstrom, templates)`` gives the nulls where ``given.null`` does not. A
    folder that was begun with the same input is gone on with. Raises ZooError with one line for bad input.
    """
    settings = PackSettings(
        box=given.box if given.volumes.tomogram is not None and given.box else OWN_BOX,
        contrast=given.contrast,
        pixel_size_angstrom=given.pixel_size_angstrom,
        limit=given.limit,
    )
    reader = open_volumes(given.subtomograms, settings, given.volumes, notes)
    _require_wedge(reader, given)
    box = given.box or reader.box
    if not 12 <= box <= reader.box:
        raise ZooError(
            f"--box {box}: expected 12 voxels or more, at most the {reader.box} of the subtomograms"
        )
    if isinstance(reader, TiltStackReader):
        reader.keeps = box
    voxel = _one_voxel_size(reader) * reader.box / box
    radius = None if given.finest_angstrom is None else round(box * voxel / given.finest_angstrom)
    try:
        search = SearchSettings(
            box,
            given.step_deg,
            radius=radius,
            max_shift_voxels=given.max_shift_voxels,
            whiten=given.whiten,
        )
    except ValueError as error:
        raise ZooError(f"the search cannot work: {error}") from error
    if overwrite:
        _clear(out)
    work = out / WORK
    with _begun(work):
        return _match(given, out, work, reader, settings, search, voxel, make_source, notes, progress)


@contextlib.contextmanager
def _begun(work: Path):
    """The folder of work; it goes again where an error comes before the first row is done."""
    before = work.exists()
    work.mkdir(parents=True, exist_ok=True)
    clear_leftovers(work)
    try:
        yield
    except ZooError:
        if not before and not any(work.glob("rows-*")):
            shutil.rmtree(work)
            with contextlib.suppress(OSError):  # holds something else
                work.parent.rmdir()
        raise


def _match(given, out, work, reader, settings, search, voxel, make_source, notes, progress) -> list[str]:
    box = search.box
    templates, names = _kept_maps(work / "templates.npz", given.templates, box, voxel, given, notes)
    if len(names) < 2:
        raise ZooError(f"{given.templates}: {len(names)} template; the best of two or more is asked for")
    if make_source is not None:
        source = make_source(box, voxel, templates)
    else:
        source = _own_source(work, given, box, voxel, notes)
    check_count(given.count, source)
    contrast = find_contrast(reader, settings)
    notes(f"contrast: {contrast['words']}")
    run = MatchRun(
        work,
        reader,
        contrast["sign"],
        templates,
        names,
        source,
        search,
        NullSettings(given.count, given.seed),
        {"voxel_size_angstrom": voxel, "source": str(given.subtomograms.absolute())},
        given.threads or available_cpus(),
        given.mirror,
    )
    run.run(progress)
    _, lines = write_report(out, run, given.fdr, given.pictures, voxel, MATCHES)
    shutil.rmtree(work)
    return lines


def _require_wedge(reader, given: MatchInput) -> None:
    without = np.flatnonzero(without_wedge(reader.table))
    if len(without) and given.volumes.tilt_range_deg is None:
        raise ZooError(
            f"{reader.where(int(without[0]))}: no missing wedge is stated, nor of {len(without) - 1} others; "
            "give --tilt-range MIN MAX or --wedge (--tilt-range -90 90 where nothing is missing)"
        )


def _one_voxel_size(reader) -> float:
    sizes = reader.table.pixel_size_angstrom
    other = np.flatnonzero(np.abs(sizes / sizes[0] - 1) > 0.005)
    if len(other):
        raise ZooError(
            f"{reader.where(int(other[0]))}: voxels of {sizes[other[0]]:g} Å, the first has {sizes[0]:g} Å; "
            "match them apart"
        )
    return float(sizes[0])


def _own_source(work: Path, given: MatchInput, box: int, voxel: float, notes) -> OwnMaps:
    assert given.null is not None  # check_input
    maps, names = _kept_maps(work / "null.npz", given.null, box, voxel, given, notes)
    few = given.composites and given.count > len(maps) // 2
    words = f"the {len(maps)} maps of {given.null}"
    return OwnMaps(maps, f"{words} and composites of these" if few else words, given.seed, few)


def _kept_maps(path: Path, place: Path, box: int, voxel: float, given: MatchInput, notes):
    """Maps and names, kept in the folder of work: models of 100,000 atoms take seconds each."""
    key = f"{place.absolute() if str(place) != EMBEDDED else place} {box} {voxel} {given.resolution_angstrom}"
    if str(place) != EMBEDDED and not (place / INFO_NAME).is_file():
        key += " ".join(f"{each} {each.stat().st_size} {each.stat().st_mtime_ns}" for each in files_in(place))
    if path.exists():
        with np.load(path, allow_pickle=False) as file:
            if str(file["key"]) == key:
                return file["maps"], [str(name) for name in file["names"]]
    maps, names = read_maps(place, box, voxel, given.resolution_angstrom, notes)
    with whole_file(path, "wb") as out:
        np.savez(out, maps=maps, names=np.array(names), key=key)
    return maps, names


def _clear(out: Path) -> None:
    """Remove what this command writes, and nothing else."""
    for name in (*_WRITTEN, WORK):
        item = out / name
        if item.is_dir():
            shutil.rmtree(item)
        else:
            item.unlink(missing_ok=True)
