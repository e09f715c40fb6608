"""Subtomograms (STAR, folder, picks in a tomogram) → a packed data set of volumes with their wedges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.formats.coordinates import OUTSIDE, keep_inside
from zoo.data.formats.tilt_stacks import TiltStackReader
from zoo.data.formats.tomogram_blocks import TomogramBlocks
from zoo.data.formats.tomogram_scale import measure_scale
from zoo.data.formats.volumes import VolumeReader
from zoo.data.packing.label_options import contrast_of, describe_labels, open_labels, write_grid
from zoo.data.packing.pack_particles import PackResult, find_contrast, pack_table, require_pixel_size
from zoo.data.packing.partition import WorkerShare
from zoo.data.packing.pixel_sizes import check_pixel_sizes
from zoo.data.packing.pose_normalise import frames_in, undone_on_error
from zoo.data.packing.shards import OWN_BOX, PackSettings
from zoo.data.packing.wedge_check import check_wedges
from zoo.data.subtomograms import read_subtomograms
from zoo.data.tables.particle_table import CTF_COLUMNS
from zoo.data.tables.subtomogram_table import SubtomogramTable
from zoo.errors import ZooError
from zoo.ops.known_ctf import is_known

TILT_CONVENTIONS = ("relion", "imod")


@dataclass(frozen=True)
class VolumeOptions:
    """What only subtomograms have: a tomogram to cut them from, the wedge of all, boxes beyond the tomogram.

    ``outside`` is "refuse", "drop" or "clip". ``wedge`` is a mask file, ``tilt_range_deg`` the least and
    largest tilt; both override what the source says of each particle. ``tilt_convention`` is the sign of the
    tilts given: "relion" (a tilt of t degrees measures kz = -kx tan t) or "imod" (the other sign).
    ``tomogram_name`` is how the source names the tomogram, ``stacks`` the folder that volumes or tomogram
    have moved to. ``tomograms`` is the tomograms.star that describes the tilts of 2D stacks, where it is
    not beside the source. ``pose_normalise`` cuts each box again from the tomogram, in the frame of what it
    shows (`principal_frame`). ``labels`` is the volume of what each voxel of the tomogram belongs to,
    ``label_names`` names its numbers ("1=membrane,2=ribosome"); ``every`` so many voxels there is a box where
    no source names places.
    """

    tomogram: str | None = None
    wedge: str | None = None
    tilt_range_deg: tuple[float, float] | None = None
    outside: str = "refuse"
    tilt_convention: str = "relion"
    tomogram_name: str | None = None
    stacks: str | None = None
    tomograms: str | None = None
    pose_normalise: bool = False
    labels: str | None = None
    label_names: str | None = None
    every: int | None = None


def pack_subtomograms(
    source: str | Path | None,
    out: str | Path,
    settings: PackSettings,
    options: VolumeOptions | None = None,
    *,
    share: WorkerShare | None = None,
    processes: int | None = None,
    overwrite: bool = False,
    finalise_only: bool = False,
    command: str = "",
    progress: Callable[[int, int], None] = lambda done, total: None,
    notes: Callable[[str], None] = lambda text: None,
) -> PackResult:
    """Pack subtomograms into TFRecord shards, table.npz and info.json, as ``pack_particles`` does particles.

    A smaller ``settings.box`` is a Fourier crop of volumes and wedges; ``OWN_BOX`` keeps theirs. Cut from a
    tomogram, ``settings.box`` is the box in its voxels, and without a ``source`` there is one every
    ``options.every`` voxels. ``notes`` gets what a person should know: boxes left
    out or clipped, no wedge stated. Raises ZooError with one line for bad input.
    """
    options, out = options or VolumeOptions(), Path(out).absolute()
    if options.pose_normalise and options.tomogram is None:
        raise ZooError("--pose-normalise: boxes are cut again from a tomogram; give --tomogram")
    if options.outside not in OUTSIDE:
        raise ZooError(f"--outside {options.outside}: expected one of {', '.join(OUTSIDE)}")
    if settings.partial_ctf != "refuse":
        raise ZooError(
            f"--partial-ctf {settings.partial_ctf}: is for images; the CTF of a subtomogram is its wedge file"
        )
    if settings.rescale:
        raise ZooError(
            "--rescale: is for images; bring subtomograms to one voxel size with relion_image_handler "
            "--rescale_angpix, their wedges too"
        )
    with undone_on_error(out):
        return _pack(source, out, settings, options, notes, share=share, processes=processes,
                     overwrite=overwrite, finalise_only=finalise_only, command=command,
                     progress=progress)  # fmt: skip


def _pack(
    given: str | Path | None,
    out: Path,
    settings: PackSettings,
    options: VolumeOptions,
    notes: Callable[[str], None],
    **common: Any,
) -> PackResult:
    if options.labels is None and options.label_names is not None:
        raise ZooError(f"--label-names {options.label_names}: names the labels of --labels; give these")
    labels = None
    if options.labels is not None:
        labels = open_labels(options.labels, options.tomogram, options.label_names, options.pose_normalise)
    source = _places(given, out, settings, options, notes)
    reader = open_volumes(source, settings, options, notes)
    settings = replace(settings, box=settings.box or reader.box, name=settings.name or Path(source).stem)
    settings.validate()
    contrast = None
    if settings.normalisation == "tomogram":
        if not isinstance(reader, VolumeReader) or options.tomogram is None:
            raise ZooError(f"{source}: --normalisation tomogram is for boxes cut from a --tomogram")
        reader.scale = measure_scale(TomogramBlocks(options.tomogram))
    if labels is not None:
        assert isinstance(reader, VolumeReader)  # places in a tomogram
        reader.label_volume, reader.label_names = labels, labels.names
        notes(describe_labels(labels))
        contrast = None if settings.contrast else contrast_of(labels)
    if options.pose_normalise:
        assert isinstance(reader, VolumeReader)
        anew = common["overwrite"] and not common["finalise_only"]
        reader, contrast = _in_frames(reader, out, settings, options, anew, notes, common["progress"])
    return pack_table(reader.table, reader, out, settings, contrast=contrast, **common)


def _places(given, out: Path, settings: PackSettings, options: VolumeOptions, notes) -> str | Path:
    """The file of places or subtomograms: that which was given, or boxes on a grid."""
    if options.every is None:
        if given is None:
            raise ZooError(f"{out}: no places to cut boxes at: give --coordinates, or --every N voxels")
        return given
    if given is not None or options.tomogram is None or settings.box == OWN_BOX:
        raise ZooError(
            f"--every {options.every}: cuts boxes of --box voxels all over a --tomogram; leave out the places"
        )
    return write_grid(out, options.tomogram, settings.box, options.every, notes)


def open_volumes(
    source: str | Path,
    settings: PackSettings,
    options: VolumeOptions,
    notes: Callable[[str], None] = lambda text: None,
) -> VolumeReader | TiltStackReader:
    """The subtomograms of a source, open for reading: those that lie inside, of one known voxel size.

    ``settings`` gives box (`OWN_BOX`: their own), voxel size and limit. ``notes`` gets what a person should
    know of boxes, voxel sizes and wedges. Raises ZooError with one line for bad input.
    """
    table = read_subtomograms(
        source,
        options.tomogram,
        settings.pixel_size_angstrom,
        options.wedge,
        _in_our_sign(options),
        options.tomogram_name,
        options.stacks,
        options.tomograms,
    )
    if settings.limit is not None:
        table = table.select(slice(settings.limit))
    require_pixel_size(table)
    table = _settle_ctf(table, notes)
    if options.tomogram is not None:
        if settings.box == OWN_BOX:
            raise ZooError(f"{source}: boxes are cut from a tomogram; give their side in voxels with --box")
        table, words = keep_inside(table, settings.box, options.outside)
        if words:
            notes(words)
    reader: VolumeReader | TiltStackReader
    if table.tilts is None:
        reader = VolumeReader(table, settings.box or None, clip=options.outside == "clip")
    else:
        reader = TiltStackReader(table)
        reader.keeps = min(settings.box or reader.box, reader.box)
    for line in [
        *table.known_source().notes,
        *check_pixel_sizes(table, reader.headers, settings.box or reader.box),
    ]:
        notes(line)
    for line in check_wedges(reader) if isinstance(reader, VolumeReader) else reader.tilts.notes:
        notes(line)
    without = without_wedge(table)
    if without.any() and without.sum() == (table.wedge_index < 0).sum():
        notes("no missing wedge is stated: everything counts as measured (give --tilt-range or --wedge)")
    return reader


def without_wedge(table: SubtomogramTable) -> np.ndarray:
    """Which subtomograms have neither a wedge file nor a range of tilts that leaves anything out, (n,)."""
    if table.tilts is not None:
        return np.zeros(len(table), bool)
    return (table.wedge_index < 0) & (table.tilt_range_deg() == [-90, 90]).all(axis=1)


def _in_frames(
    reader: VolumeReader,
    out: Path,
    settings: PackSettings,
    options: VolumeOptions,
    anew: bool,
    notes: Callable[[str], None],
    progress: Callable[[int, int], None],
) -> tuple[VolumeReader, dict]:
    """A reader of the same boxes in frames of their own, from a STAR file in ``out``, and the contrast."""
    known = np.isfinite(reader.table.euler_deg()).all(axis=1)
    if known.any():
        notes(
            f"the poses of {int(known.sum())} of {len(known)} rows give way to the frames of the boxes, and "
            "are not in the records"
        )
    star, contrast = frames_in(
        out,
        reader,
        {"box": reader.box, "contrast": settings.contrast, "outside": options.outside},
        lambda straight: find_contrast(straight, settings),
        anew,
        progress,
    )
    table = read_subtomograms(
        star,
        options.tomogram,
        settings.pixel_size_angstrom,
        options.wedge,
        _in_our_sign(options),
        options.tomogram_name,
        options.stacks,
        pose_normalise=True,
    )
    table, words = keep_inside(_settle_ctf(table, notes), reader.box, options.outside)
    if words:
        notes(f"turned boxes reach farther: {words}")
    turned = VolumeReader(table, reader.box, clip=options.outside == "clip")
    notes(f"each box lies in the frame of what it shows; {star} has angles and origins that bring it back")
    return turned, contrast


def _in_our_sign(options: VolumeOptions) -> tuple[float, float] | None:
    if options.tilt_convention not in TILT_CONVENTIONS:
        words = ", ".join(TILT_CONVENTIONS)
        raise ZooError(f"--tilt-convention {options.tilt_convention}: expected one of {words}")
    if options.tilt_convention == "relion":
        return options.tilt_range_deg
    if options.tilt_range_deg is None:
        raise ZooError(
            f"--tilt-convention {options.tilt_convention}: is the sign of --tilt-range; give the range too"
        )
    low, high = options.tilt_range_deg
    return -high, -low


def _settle_ctf(table: SubtomogramTable, notes: Callable[[str], None]) -> SubtomogramTable:
    """Without CTF parameters that are known in part; the CTF of a volume is its wedge file."""
    ctf = table.ctf()
    absent = ~is_known(ctf)
    partly = absent & np.isfinite(ctf[:, :2]).any(axis=1)
    if partly.any():
        notes(
            f"the CTF parameters of {int(partly.sum())} of {len(table)} rows are known in part and left out; "
            "of volumes the CTF volume counts (rlnCtfImage)"
        )
    table = table.select(slice(None))
    for name in CTF_COLUMNS:
        getattr(table, name)[absent] = np.nan
    return table
