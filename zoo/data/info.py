"""``info.json``: what a packed data set holds, how it was made, and the checksums of its files."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.info_check import check_against_table, check_values
from zoo.data.kinds import kind_named, kind_of
from zoo.data.tables.particle_table import CTF_COLUMNS
from zoo.errors import ZooError
from zoo.files import write_json
from zoo.input_files import existing_file

INFO_NAME = "info.json"
TABLE_NAME = "table.npz"
FORMAT_VERSION = 1
_COUNTS = {"labels", "voxel_labels"}  # by label; JSON knows only text as a key


@dataclass(frozen=True)
class ShardInfo:
    """One TFRecord file: ``count`` records, ``bytes`` long, CRC-32 (zlib's) of the whole file."""

    name: str
    count: int
    crc32: int
    bytes: int


@dataclass(frozen=True)
class DatasetInfo:
    """A packed data set (the content of info.json; lengths in Å, boxes in pixels).

    ``voxel_size_angstrom`` is the pixel size of the packed images (of the largest optics group if they
    differ: each record carries its own). ``contrast_sign`` is the sign that the images were multiplied
    with so that particles are positive; ``contrast`` says how it was found, and its
    ``doubt`` what speaks against it. ``labels`` counts the
    particles per label (-1: unknown). ``kind`` names one of `zoo.data.kinds.KINDS`; subtomograms have a
    ``wedge`` ("mask" or "tilts") and, where each voxel is labelled, the voxels of each label in
    ``voxel_labels`` and the names of labels 0, 1, ... in ``voxel_label_names``; maps have ``names``. ``path``
    is the folder, not stored.
    """

    kind: str
    name: str
    count: int
    box: int
    voxel_size_angstrom: float
    contrast_sign: int
    dtype: str
    shards: tuple[ShardInfo, ...]
    labels: dict[int, int]
    contrast: dict[str, Any] = field(default_factory=dict)
    normalisation: dict[str, Any] = field(default_factory=dict)
    statistics: dict[str, float] = field(default_factory=dict)
    resample: str = ""
    source_box: int = 0
    has_ctf: bool = False
    has_poses: bool = False
    wedge: str = ""
    voxel_labels: dict[int, int] = field(default_factory=dict)
    voxel_label_names: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    optics_groups: tuple[dict[str, Any], ...] = ()
    seed: int = 0
    source: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    table_crc32: int = 0
    command: str = ""
    created: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION
    path: str = ""

    def label_names(self) -> list[str]:
        """A name for each label of voxels from 0 on; those without one are called by their number."""
        names, most = list(self.voxel_label_names), max(self.voxel_labels, default=-1)
        return names + [
            f"class_{number}" if number else "background" for number in range(len(names), most + 1)
        ]

    def shard_paths(self) -> list[str]:
        """Absolute paths of the shards, in record order."""
        return [str(Path(self.path) / shard.name) for shard in self.shards]

    def contrast_note(self) -> str:
        """A line for a person where it is in doubt whether particles are bright in the records, else ""."""
        doubt = str(self.contrast.get("doubt", ""))
        return f"{self.path}: contrast {self.contrast_sign:+d}, {doubt}" if doubt else ""

    def batches(self, batch_size: int, seed: int = 0, start_step: int = 0):
        """Endless ``tf.data`` batches (dicts of tensors), a pure function of (seed, step)."""
        return kind_of(self).batches(self, batch_size, seed, start_step)

    def save(self, folder: str | Path) -> None:
        """Write info.json into ``folder``, whole or not at all."""
        content = dataclasses.asdict(self)
        del content["path"]
        for name in _COUNTS:
            content[name] = {str(label): count for label, count in content[name].items()}
        write_json(Path(folder) / INFO_NAME, content)

    @classmethod
    def load(cls, folder: str | Path) -> DatasetInfo:
        """Read info.json of a packed folder (or the file itself); raises ZooError saying what is wrong."""
        path = Path(folder).absolute()
        if path.name == INFO_NAME:
            path = path.parent
        if not path.is_dir():
            raise ZooError(f"{path}: no such folder; expected a data set made by zoo-pack")
        content = _read_json(path)
        version = content.get("format_version")
        if version != FORMAT_VERSION:
            raise ZooError(
                f"{path / INFO_NAME}: format_version {version}, expected {FORMAT_VERSION}; "
                f"pack the data set again with this version of zoo-pack"
            )
        try:
            kind_named(content["kind"], str(path / INFO_NAME))
            content["shards"] = tuple(_shard(shard) for shard in content["shards"])
            for name in _COUNTS & set(content):
                content[name] = {int(label): int(count) for label, count in content[name].items()}
            for name in ("names", "voxel_label_names"):
                content[name] = tuple(content.get(name, ()))
            content["optics_groups"] = tuple(content.get("optics_groups", ()))
            info = cls(**content, path=str(path))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ZooError(f"{path / INFO_NAME}: damaged: {error}; pack the data set again") from error
        if sum(shard.count for shard in info.shards) != info.count:
            raise ZooError(f"{path / INFO_NAME}: count {info.count} is not that of its shards; pack again")
        check_values(info, path / INFO_NAME)
        return info

    def load_table(self) -> dict[str, np.ndarray]:
        """Numeric columns of the particle table in record order, each (count,); names as in ParticleTable."""
        path = Path(self.path) / TABLE_NAME
        if path.exists():
            existing_file(path)
        try:
            with np.load(path, allow_pickle=False) as archive:
                columns = {name: archive[name] for name in kind_of(self).column_types}
        except FileNotFoundError as error:
            raise ZooError(f"{path}: no such file; copy it back or pack the data set again") from error
        except Exception as error:  # zipfile, zlib and NumPy each have their own ways to fail
            raise ZooError(f"{path}: damaged: {error}; pack the data set again") from error
        lengths = {len(values) for values in columns.values()}
        if lengths != {self.count}:
            raise ZooError(f"{path}: columns of {sorted(lengths)} rows, expected {self.count}; pack again")
        check_against_table(self, columns, path)
        return columns

    def load_ctf(self) -> np.ndarray:
        """CTF parameters in record order, (count, 9) float32, NaN where unknown."""
        table = self.load_table()
        return np.stack([table[name] for name in CTF_COLUMNS], axis=1).astype(np.float32)

    def verify_files(self) -> None:
        """Raise ZooError if a shard is missing or not as long as info.json says, or the table is another.

        Cheap: reads no record.
        """
        self.load_table()
        for shard, path in zip(self.shards, self.shard_paths(), strict=True):
            size = Path(path).stat().st_size if Path(path).is_file() else None
            if size is None:
                raise ZooError(f"{path}: no such shard; copy it back or pack the data set again")
            if size != shard.bytes:
                raise ZooError(
                    f"{path}: {size} bytes long, expected {shard.bytes}: cut short or replaced; "
                    f"zoo-pack --check {self.path} says where"
                )


def _shard(content: dict) -> ShardInfo:
    shard = ShardInfo(**content)
    name = shard.name
    if not isinstance(name, str) or not name or len(name) > 255 or set(name) & set("/\\\0"):
        raise ValueError(f"shard name {name!r}, expected a plain file name")
    for field_name in ("count", "crc32", "bytes"):
        value = getattr(shard, field_name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(f"shard {name}: {field_name} {value!r}, expected a whole number")
    return shard


def _read_json(folder: Path) -> dict:
    path = folder / INFO_NAME
    if path.exists():
        existing_file(path)
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise ZooError(
            f"{folder}: no {INFO_NAME} in it, so not a finished data set; "
            f"make one with: zoo-pack PARTICLES.star {folder}"
        ) from error
    except (ValueError, OSError) as error:
        raise ZooError(f"{path}: cannot be read: {error}; pack the data set again") from error
    if not isinstance(content, dict):
        raise ZooError(f"{path}: holds a {type(content).__name__}, expected an object; pack again")
    return content
