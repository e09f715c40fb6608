"""What a packed data set will consist of, and how much of it is already there."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from zoo.data.formats.arrays import ArrayReader
from zoo.data.formats.images import ImageReader
from zoo.data.formats.volumes import VolumeReader
from zoo.data.info import INFO_NAME, DatasetInfo
from zoo.data.packing.partition import packing_order, shard_bounds, shard_names
from zoo.data.packing.shards import PackSettings, Reader
from zoo.data.records.particle_record import record_bytes
from zoo.data.records.subtomogram_record import WEDGE_DTYPE
from zoo.data.tables.particle_table import ParticleTable
from zoo.data.tables.subtomogram_table import SubtomogramTable
from zoo.errors import ZooError
from zoo.files import write_json

_STATE_FOLDER = ".packing"
_PLAN_NAME = "plan.json"
_SAMPLES = 16
_SAMPLE_BYTES = 4096


@dataclass(frozen=True)
class PackPlan:
    """The particles in record order, the names and borders of the shards, and where all came from."""

    table: ParticleTable
    order: np.ndarray
    bounds: np.ndarray
    names: list[str]
    settings: PackSettings
    source_box: int
    source: dict
    label_names: tuple[str, ...] = ()

    def count(self, shard: int) -> int:
        """Records in a shard."""
        return int(self.bounds[shard + 1] - self.bounds[shard])

    @property
    def record_bytes(self) -> int:
        return bytes_per_record(self.table, self.settings)

    @cached_property
    def identity(self) -> dict:
        """What must be equal for two runs to write into one folder."""
        return {"settings": asdict(self.settings), "checksum": self.source["checksum"], "shards": self.names}

    def shard_reader(self, reader, shard: int):
        """A reader of one shard's particles in record order; the headers are not read again."""
        rows = self.order[self.bounds[shard] : self.bounds[shard + 1]]
        part = copy.copy(reader)
        part.table = self.table.select(rows)
        if part.table.source is not None:  # its blocks are large and workers only name the file
            part.table.source = replace(part.table.source, blocks={}, place_offset_angstrom=None)
        return part

    def packed_table(self) -> ParticleTable:
        """All particles in record order, with the pixel size of the packed images."""
        table = self.table.select(self.order)
        table.pixel_size_angstrom = table.pixel_size_angstrom * (self.source_box / self.settings.box)
        return table


def make_plan(table: ParticleTable, reader: Reader, settings: PackSettings) -> PackPlan:
    """Plan a data set; raises ZooError if the box is larger than the images."""
    if settings.box > reader.box:
        what = "volumes" if table.image_ndim == 3 else "images"
        raise ZooError(
            f"{reader.headers[int(table.stack_index[0])].path}: {what} of {reader.box} pixels, --box "
            f"{settings.box} is larger; give --box {reader.box} or smaller"
        )
    if os.sep in settings.name or settings.name.startswith("."):
        raise ZooError(f"--name {settings.name!r}: expected a plain file name, no {os.sep}, no leading dot")
    bounds = shard_bounds(len(table), bytes_per_record(table, settings), settings.shard_size_mb * 1_000_000)
    return PackPlan(
        table=table,
        order=packing_order(len(table), settings.seed),
        bounds=bounds,
        names=shard_names(settings.name, len(bounds) - 1),
        settings=settings,
        source_box=reader.box,
        source=_describe_source(table, reader),
        label_names=reader.label_names if isinstance(reader, ArrayReader | VolumeReader) else (),
    )


def bytes_per_record(table: ParticleTable, settings: PackSettings) -> int:
    """About how many bytes a record takes, with the wedge of a volume."""
    size = record_bytes(settings.box, settings.dtype, table.image_ndim)
    if isinstance(table, SubtomogramTable) and table.stores_masks:
        size += settings.box**2 * (settings.box // 2 + 1) * WEDGE_DTYPE.itemsize
    return size


class PackState:
    """How far a folder has come with a plan: ``missing`` shards, ``info`` and ``contrast`` found there."""

    def __init__(self, out: Path, plan: PackPlan, info: DatasetInfo | None, contrast: dict | None):
        self.out, self.plan, self.info, self.contrast = out, plan, info, contrast
        self.folder = self.folder_in(out)
        self._known = self._read_markers()
        self.missing = {
            index
            for index, name in enumerate(plan.names)
            if name not in self._known or _size(out / name) != self._known[name]["shard"]["bytes"]
        }

    @classmethod
    def open(cls, out: Path, plan: PackPlan) -> PackState:
        """Look at a folder; raises ZooError if it was begun with another source or other settings."""
        info = contrast = None
        if (out / INFO_NAME).exists():
            info = DatasetInfo.load(out)
            found = {
                "settings": asdict(PackSettings(box=0)) | info.settings,
                "checksum": info.source.get("checksum"),
                "shards": [shard.name for shard in info.shards],
            }
            _require_same(found, plan.identity, out)
            contrast = info.contrast
        elif (recorded := _read(cls.folder_in(out) / _PLAN_NAME)) is not None:
            _require_same(recorded["identity"], plan.identity, out)
            contrast = recorded["contrast"]
        return cls(out, plan, info, contrast)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.info is not None and not self.missing

    def begin(self, contrast: dict) -> None:
        """Record the plan, so that a later run can tell whether it is the same."""
        self.folder.mkdir(exist_ok=True)
        path = self.folder / _PLAN_NAME
        if not path.exists():
            write_json(path, {"identity": self.plan.identity, "contrast": contrast})

    def markers(self) -> list[dict]:
        """The markers of all shards in order, once none is missing."""
        return [self._known[name] for name in self.plan.names]

    def marker_path(self, shard: int) -> Path:
        """Where the marker of a shard stands: it says that the shard is complete."""
        return self.folder / f"{shard:05d}.json"

    @staticmethod
    def folder_in(out: Path) -> Path:
        """The folder of markers, there while packing only."""
        return out / _STATE_FOLDER

    @classmethod
    def recorded_names(cls, out: Path) -> list[str]:
        """Names of the shards that a data set, begun or finished in ``out``, consists of."""
        recorded = _read(cls.folder_in(out) / _PLAN_NAME)
        names = list(recorded["identity"]["shards"]) if recorded else []
        info = _read(out / INFO_NAME)
        shards = info.get("shards", []) if isinstance(info, dict) else []
        names += [shard["name"] for shard in shards if isinstance(shard, dict) and "name" in shard]
        return [name for name in names if os.sep not in name]

    def _read_markers(self) -> dict[str, dict]:
        known = {}
        if self.info is not None:
            known = {shard.name: {"shard": asdict(shard), "statistics": None} for shard in self.info.shards}
        for index in range(len(self.plan.names)):
            marker = _read(self.marker_path(index))
            if marker is not None:
                known[marker["shard"]["name"]] = marker
        return known


def _describe_source(table: ParticleTable, reader: Reader) -> dict:
    """Path, format and checksum of the metadata file and of samples of every stack.

    Reading whole stacks would double the time of packing; 16 samples of each, with its length, tell
    a stack that was replaced from the one that was packed.
    """
    digest = hashlib.sha256()
    source = table.source
    if isinstance(reader, ArrayReader):
        checksum = f"sha256:{reader.checksum().hex()}"
        return {"path": "", "format": "arrays", "stacks": len(reader.headers), "checksum": checksum}
    if source is not None and source.format not in ("mrc", "folder"):
        digest.update(Path(source.path).read_bytes())
    files = [reader.headers[stack].path for stack in sorted(reader.headers)]
    if isinstance(table, SubtomogramTable) and not isinstance(reader, ImageReader):
        # what decides the volumes and wedges beside the files: options of the command
        digest.update(np.ascontiguousarray(np.hstack([table.tilt_range_deg(), table.coordinates_voxel()])))
        digest.update(f"{reader.box} {reader.clip}".encode())
        files += table.wedge_paths
        labels = reader.label_volume if isinstance(reader, VolumeReader) else None
        if labels is not None:
            files.append(labels.path)
            digest.update(repr((labels.numbers.tolist(), labels.names)).encode())
        tilts = table.tilts
        for path in () if tilts is None else tilts.files:
            digest.update(Path(path).read_bytes())
    for path in files:
        size = os.path.getsize(path)
        digest.update(f"{os.path.basename(path)} {size}".encode())
        with open(path, "rb") as file:
            for sample in range(_SAMPLES):
                file.seek(max(size - _SAMPLE_BYTES, 0) * sample // (_SAMPLES - 1))
                digest.update(file.read(_SAMPLE_BYTES))
    return {
        "path": source.path if source else reader.headers[min(reader.headers)].path,
        "format": source.format if source else "mrc",
        "stacks": len(reader.headers),
        # with these read_particles or read_subtomograms give the same table again
        "options": dict(source.options) if source else {},
        "checksum": f"sha256-sampled:{digest.hexdigest()}",
    }


def _require_same(found: dict, wanted: dict, out: Path) -> None:
    wanted = json.loads(json.dumps(wanted))
    if found == wanted:
        return
    old, new = found.get("settings") or {}, wanted["settings"]
    differences = [f"{key} {old.get(key)} (now {new[key]})" for key in new if old.get(key) != new[key]]
    if not differences:
        differences = ["another source, or the source has changed since"]
    raise ZooError(
        f"{out}: holds a data set packed with {', '.join(differences)}; "
        f"choose another folder, or start anew with --overwrite"
    )


def _read(path: Path):
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ZooError(f"{path}: cannot be read: {error}; delete it and run the command again") from error


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1
