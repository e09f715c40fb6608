"""Which records a run trains on, and how it knows them again when it is resumed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from zoo.errors import ZooError
from zoo.runs.run_config import check_data

KINDS = {"particles": "2D particle images", "subtomograms": "subtomograms (volumes)"}
_PARTICLE_SUFFIXES = {".star", ".cs", ".mrcs", ".mrc"}


def open_data(path: str | Path | None, box: int | None, kind: str | None = None):
    """DatasetInfo of packed records, or of the embedded data (made on first use) for None.

    ``box`` is the edge in pixels that the model wants, ``kind`` the kind of records (None: any). Raises
    ZooError where ``path`` is no packed data set, of another kind, or has another box.
    """
    from zoo.data.info import DatasetInfo

    if path is None:
        from zoo.simulate.embedded import embedded_dataset

        return DatasetInfo.load(embedded_dataset() if box is None else embedded_dataset(box=box))
    path = Path(path)
    if path.suffix.lower() in _PARTICLE_SUFFIXES and path.is_file():
        raise ZooError(f"{path}: is a particle file; pack it first: zoo-pack {path} OUT/ --box {box or 64}")
    info = DatasetInfo.load(path)
    if kind in KINDS and info.kind != kind:
        raise ZooError(
            f"{info.path}: holds {KINDS[info.kind]}, but the model is trained on {KINDS[kind]}; "
            "choose another data set or model"
        )
    if box is not None and info.box != box:
        raise ZooError(
            f"{path}: holds images of {info.box} pixels, the model was set to {box}; "
            f"pack again with --box {box}, or leave the box to the data"
        )
    return info


def describe(info, path: str | Path | None) -> dict[str, Any]:
    """What config.json keeps of a data set: where it is, its size and its fingerprint."""
    return {
        "source": "embedded" if path is None else "folder",
        "path": str(Path(info.path).absolute()),
        "count": info.count,
        "box": info.box,
        "voxel_size_angstrom": info.voxel_size_angstrom,
        "fingerprint": fingerprint(info),
    }


def fingerprint(info) -> str:
    """16 hex digits over the CRCs of all shards and of the table: equal only for equal records."""
    digest = hashlib.sha256(str(info.table_crc32).encode())
    for shard in info.shards:
        digest.update(f"{shard.count} {shard.crc32}".encode())
    return digest.hexdigest()[:16]


def reopen_data(config: dict[str, Any], path: str | Path | None, run: str | Path = ""):
    """The data set of an earlier run, the first of several; ZooError where it is another one.

    ``run`` is the folder whose configuration this is, for an error's sake.
    """
    known = config.get("data")
    check_data(known, Path(run or "") / "config.json")
    return reopen(next(iter(known["roles"].values())) if "roles" in known else known, path)


def reopen(known: dict[str, Any], path: str | Path | None, kind: str | None = None):
    """The data set that ``describe`` told of, ``path`` where it has moved; ZooError for another one."""
    if path is None and known["source"] == "embedded":
        info = open_data(None, known["box"])
    else:
        info = open_data(path or known["path"], None)
    if fingerprint(info) != known["fingerprint"]:
        raise ZooError(
            f"{info.path}: holds other records than the run was trained on "
            f"({info.count} particles of {info.box} pixels; then {known['count']} of {known['box']}); "
            "name the right folder with --data"
        )
    return info
