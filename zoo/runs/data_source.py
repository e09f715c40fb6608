"""Which records a run trains on, and how it knows them again when it is resumed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from zoo.data.kinds import KINDS, kind_of
from zoo.errors import ZooError
from zoo.runs.run_config import check_data

_PARTICLE_SUFFIXES = {".star", ".cs", ".mrcs", ".mrc"}


def open_data(
    path: str | Path | None,
    box: int | None,
    kind: str | None = None,
    model: str = "the model",
    embedded_set: str | None = None,
):
    """DatasetInfo of packed records, or of embedded data (made on first use) for None.

    ``box`` is the edge in pixels that the model wants, ``kind`` the kind of records (None: any), ``model``
    its name for a person, ``embedded_set`` names embedded data (None: those of the kind). Raises ZooError
    where ``path`` is no packed data set, of another kind, or has another box.
    """
    from zoo.data.info import DatasetInfo

    if path is None:
        from zoo.simulate.embedded_data import embedded

        return DatasetInfo.load(embedded(embedded_set or kind or "particles", box))
    path = Path(path)
    if path.suffix.lower() in _PARTICLE_SUFFIXES and path.is_file():
        raise ZooError(f"{path}: is a particle file; pack it first: zoo-pack {path} OUT/ --box {box or 64}")
    info = DatasetInfo.load(path)
    if kind in KINDS and info.kind != kind:
        raise ZooError(
            f"{info.path}: holds {kind_of(info).words}, but {model} is trained on {KINDS[kind].words}; "
            "choose another data set or model"
        )
    if box is not None and info.box != box:
        raise ZooError(
            f"{path}: holds {info.kind} of {info.box} {kind_of(info).unit}, the model was set to {box}; "
            f"pack again with --box {box}, or leave the box to the data"
        )
    return info


def describe(info, path: str | Path | None, embedded_set: str | None = None) -> dict[str, Any]:
    """What config.json keeps of a data set: where it is, its size and its fingerprint."""
    return {
        "source": "embedded" if path is None else "folder",
        **({"embedded": embedded_set or info.kind} if path is None else {}),
        "kind": info.kind,
        "path": str(Path(info.path).absolute()),
        "normalisation": info.normalisation.get("method"),
        "circle_radius_pixels": info.normalisation.get("circle_radius_pixels"),
        "contrast_sign": info.contrast_sign,
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
    known: Any = config.get("data")
    check_data(known, Path(run or "") / "config.json")
    return reopen(next(iter(known["roles"].values())) if "roles" in known else known, path)


def reopen(known: dict[str, Any], path: str | Path | None, kind: str | None = None):
    """The data set that ``describe`` told of, ``path`` where it has moved; ZooError for another one."""
    if path is None and known["source"] == "embedded":
        # Runs from before there were several kinds trained on embedded particles alone.
        kind = known.get("kind", "particles")
        info = open_data(None, known["box"], kind, embedded_set=known.get("embedded"))
    else:
        info = open_data(path or known["path"], None)
    if fingerprint(info) != known["fingerprint"]:
        raise ZooError(
            f"{info.path}: holds other records than the run was trained on "
            f"({info.count} {info.kind} of {info.box} {kind_of(info).unit}; "
            f"then {known['count']} of {known['box']}); "
            "name the right folder with --data"
        )
    return info
