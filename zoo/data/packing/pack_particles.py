"""Particle files → a packed data set: plan, write the missing shards, finish with info.json.

The plan (order, shards, contrast sign) follows from the source and the settings alone, so every
process of every machine finds the same one, and a shard that is there with its marker need not be
written again. Whoever finds all shards complete writes table.npz and info.json.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from zoo.data.formats.images import ImageReader
from zoo.data.formats.volumes import VolumeReader
from zoo.data.info import INFO_NAME, TABLE_NAME, DatasetInfo
from zoo.data.packing.contrast import measure_contrast_of
from zoo.data.packing.ctf_check import settle_ctf
from zoo.data.packing.partition import WorkerShare
from zoo.data.packing.pixel_sizes import check_pixel_sizes, other_headers
from zoo.data.packing.plan import PackPlan, PackState, Reader, make_plan
from zoo.data.packing.rescale import RescaledReader
from zoo.data.packing.shards import PackSettings, ShardTask, write_shard
from zoo.data.packing.worker_pool import available_cpus, run_tasks
from zoo.data.packing.write_info import make_info, save_table
from zoo.data.particles import read_particles
from zoo.data.tables.particle_table import ParticleTable
from zoo.errors import ZooError
from zoo.files import clear_leftovers, require_space

_CONTRAST_BYTES = 128 << 20
_GIVEN_IMAGES = 100  # looked at where a person states the sign
_CONTRADICTS = 0.999  # confidence from which a measurement speaks against that
_SMALL_BYTES = 64 << 20
_MOST_PROCESSES = 1024


@dataclass(frozen=True)
class PackResult:
    """What a run did: ``written`` of ``shards`` shards (``images`` of the images) in ``seconds``.

    ``info`` is None while other workers still have ``pending`` shards to write. ``contrast`` says in
    words how the sign was found.
    """

    info: DatasetInfo | None
    shards: int
    written: int
    pending: int
    images: int
    seconds: float
    contrast: str


def pack_particles(
    source: str | Path,
    out: str | Path,
    settings: PackSettings,
    *,
    passthrough: list[str] | None = None,
    stacks: str | None = None,
    share: WorkerShare | None = None,
    processes: int | None = None,
    overwrite: bool = False,
    finalise_only: bool = False,
    command: str = "",
    progress: Callable[[int, int], None] = lambda done, total: None,
    notes: Callable[[str], None] = lambda text: None,
) -> PackResult:
    """Pack particles (STAR, .cs, MRC stack) into TFRecord shards, table.npz and info.json in ``out``.

    Does only what is missing: a run that was killed is continued, a finished one is left alone.
    ``stacks`` is the folder that the image files have moved to. ``share`` is this worker's part of the
    shards; ``progress`` gets (images done, images to do); ``notes`` gets what a person should know: what CTF
    was found, what the file states and nothing uses.
    Raises ZooError with one line for bad input, other settings or source than ``out`` was begun
    with, and a full disk; no half-written file is left then.
    """
    settings.validate()
    table = read_particles(source, passthrough, settings.pixel_size_angstrom, stacks)
    if settings.limit is not None:
        table = table.select(slice(settings.limit))
    require_pixel_size(table)
    table, found = settle_ctf(table, settings.partial_ctf)
    for line in [*found, *(table.source.notes if table.source else [])]:
        notes(line)
    settings = replace(settings, name=settings.name or Path(source).stem)
    reader: ImageReader
    if settings.rescale:
        reader = RescaledReader(table, settings.box)
        told = [*reader.notes(table), *other_headers(table, reader.headers)]
        table = reader.table
    else:
        reader = ImageReader(table)
        told = check_pixel_sizes(table, reader.headers, settings.box)
    for line in told:
        notes(line)
    return pack_table(
        table,
        reader,
        out,
        settings,
        share=share,
        processes=processes,
        overwrite=overwrite,
        finalise_only=finalise_only,
        command=command,
        progress=progress,
    )


def pack_table(
    table: ParticleTable,
    reader: Reader,
    out: str | Path,
    settings: PackSettings,
    *,
    share: WorkerShare | None = None,
    processes: int | None = None,
    overwrite: bool = False,
    finalise_only: bool = False,
    command: str = "",
    progress: Callable[[int, int], None] = lambda done, total: None,
    contrast: dict | None = None,
) -> PackResult:
    """Pack the particles or subtomograms of a table; see ``pack_particles``.

    ``contrast`` is what `find_contrast` found where it was asked before, None: it is found here.
    """
    started = time.monotonic()
    scale = reader.scale if isinstance(reader, VolumeReader) else None
    if settings.normalisation == "tomogram" and scale is None:
        raise ZooError(f"{out}: --normalisation tomogram is for boxes cut from a --tomogram")
    if processes is not None and not 1 <= processes <= _MOST_PROCESSES:
        raise ZooError(f"--processes {processes}: expected 1 to {_MOST_PROCESSES}")
    share, out = share or WorkerShare(), Path(out).absolute()
    plan = make_plan(table, reader, settings)
    with _folder_begun(out, share):
        if overwrite:
            _remove_old(out, share)
        _remove_abandoned(out)
        state = PackState.open(out, plan)
        if state.finished and state.info is not None and _has_table(state.info):
            # A run that was killed just after its last file has left its markers.
            shutil.rmtree(state.folder, ignore_errors=True)
            return PackResult(state.info, len(plan.names), 0, 0, 0, time.monotonic() - started, "")
        contrast = state.contrast or contrast or find_contrast(reader, plan.settings)
        state.begin(contrast)

        todo = [] if finalise_only else [i for i in share.shards(len(plan.names)) if i in state.missing]
        images = sum(plan.count(index) for index in todo)
        _require_space(out, plan, todo)
        tasks = (_make_task(out, plan, reader, index, contrast["sign"], state) for index in todo)
        if processes is None:
            processes = available_cpus() if images * reader.box**table.image_ndim * 4 > _SMALL_BYTES else 1
        results = run_tasks(
            write_shard,
            tasks,
            min(processes, len(todo)),
            lambda done: progress(done, images),
            on_stop=lambda pids: _remove_abandoned(out, pids),
        )
        with contextlib.closing(results):
            for _ in results:
                pass
        progress(images, images)

        state = PackState.open(out, plan)
        if state.missing:  # or another worker has finished meanwhile, and its tidying up was seen half-way
            state = PackState.open(out, plan)
        if state.missing and finalise_only:
            raise ZooError(
                f"{out}: {len(state.missing)} of {len(plan.names)} shards are not there yet, the first is "
                f"{plan.names[min(state.missing)]}; run the workers that write them, then --finalise again"
            )
        info = None if state.missing else _finish(out, plan, state, contrast, command)
        seconds = time.monotonic() - started
        return PackResult(
            info, len(plan.names), len(todo), len(state.missing), images, seconds, contrast["words"]
        )


def _finish(out: Path, plan: PackPlan, state: PackState, contrast: dict, command: str) -> DatasetInfo:
    """Write table.npz and info.json; two workers that arrive together write the same."""
    table_crc32 = save_table(plan.packed_table(), out / TABLE_NAME)
    info = make_info(plan, state.markers(), contrast, table_crc32, command, state.info)
    info.save(out)
    shutil.rmtree(state.folder, ignore_errors=True)
    return DatasetInfo.load(out)


def _has_table(info: DatasetInfo) -> bool:
    """Whether a finished data set has its table, and no damaged or other one."""
    try:
        info.load_table()
    except ZooError:
        return False
    return True


def _make_task(
    out: Path, plan: PackPlan, reader: Reader, index: int, sign: int, state: PackState
) -> ShardTask:
    part, first = plan.shard_reader(reader, index), int(plan.bounds[index])
    return ShardTask(out / plan.names[index], state.marker_path(index), part, plan.settings, sign, first)


def find_contrast(reader: Reader, settings: PackSettings) -> dict:
    """The contrast sign and how it was found, as info.json keeps it; ``doubt`` speaks against it."""
    stated = reader.table.source.stated_contrast_sign if reader.table.source else None
    affordable = _CONTRAST_BYTES // (4 * reader.box**reader.table.image_ndim)
    if settings.contrast:
        measure = measure_contrast_of(reader, max(min(_GIVEN_IMAGES, affordable), 3))
        doubt = ""
        words = f"particles are {'bright (+1)' if settings.contrast > 0 else 'dark (-1)'}, as given"
        if measure.sign != settings.contrast and measure.confidence > _CONTRADICTS:
            doubt = f"but {measure}; check it by eye, and --contrast"
        known = {"sign": settings.contrast, "found": "given"}
    else:
        measure = measure_contrast_of(reader, max(min(400, affordable), 3))
        words, doubt = str(measure), ""
        if measure.confidence < 0.95:
            doubt = "that is little, check it by eye and give --contrast"
        if stated is not None and stated != measure.sign:
            doubt += "; " * bool(doubt) + f"the file says {stated:+d}"
        known = {"found": "measured", **asdict(measure)}
    words += f"; {doubt}" * bool(doubt)
    return {**known, "stated": stated, "words": words, "doubt": doubt}


def require_pixel_size(table: ParticleTable) -> None:
    """Raise ZooError naming the first particle without a pixel size."""
    bad = (~(table.pixel_size_angstrom > 0)).nonzero()[0]
    if len(bad):
        path = table.source.path if table.source else table.stack_paths[0]
        size = table.pixel_size_angstrom[bad[0]]
        found = f"pixel size {size:g} Å" if size == size else "no pixel size"
        raise ZooError(
            f"{path}: row {table.source_row[bad[0]] + 1}: {found}, expected a positive number of Å; "
            f"give it with --pixel-size"
        )


@contextlib.contextmanager
def _folder_begun(out: Path, share: WorkerShare):
    """Make the folder ``out``; bad input that ends the first run before any shard was written undoes it.

    Otherwise the source, once mended, would be refused as another one than the set was begun with.
    """
    is_new, state = not out.exists(), PackState.folder_in(out)
    undo = share.count == 1 and not state.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ZooError(f"{out}: cannot be made: {error.strerror}; choose another folder") from error
    try:
        yield
    except ZooError:
        if undo and not any(state.glob("[0-9]*.json")):
            shutil.rmtree(state, ignore_errors=True)
            if is_new:
                with contextlib.suppress(OSError):  # not empty: what lies there is somebody's
                    out.rmdir()
        raise


def _remove_abandoned(out: Path, pids: set[int] | None = None) -> None:
    """Remove temporary shards and temporary markers that nobody writes any more."""
    for folder in (out, PackState.folder_in(out)):
        clear_leftovers(folder, pids)


def _require_space(out: Path, plan: PackPlan, todo: list[int]) -> None:
    needed = sum(plan.count(index) for index in todo) * plan.record_bytes
    require_space(out, needed, "the data set", "choose another folder or a smaller --box")


def _remove_old(out: Path, share: WorkerShare) -> None:
    """Remove the data set that was begun or finished in ``out``, and nothing else."""
    if share.count > 1:
        raise ZooError(f"--overwrite would remove the shards of the other workers: delete {out} first")
    for name in PackState.recorded_names(out):
        (out / name).unlink(missing_ok=True)
    for name in (INFO_NAME, TABLE_NAME):
        (out / name).unlink(missing_ok=True)
    shutil.rmtree(PackState.folder_in(out), ignore_errors=True)
