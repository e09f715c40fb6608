"""The last step of packing: table.npz and the content of info.json."""

from __future__ import annotations

import datetime
import platform
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

import numpy as np

from zoo.data.info import DatasetInfo, ShardInfo
from zoo.data.info_check import file_crc32
from zoo.data.packing.plan import PackPlan
from zoo.data.tables.map_table import MapTable
from zoo.data.tables.particle_table import CTF_COLUMNS, EULER_COLUMNS, ParticleTable
from zoo.data.tables.subtomogram_table import SubtomogramTable
from zoo.files import whole_file


def save_table(table: ParticleTable, path: Path) -> int:
    """Write the numeric columns as .npz (uncompressed); returns the CRC-32 of the file."""
    with whole_file(path) as file:
        np.savez(file, **table.columns())  # type: ignore[arg-type]  # NumPy 2's savez has an option beside the arrays
    return file_crc32(path)


def make_info(
    plan: PackPlan,
    markers: list[dict],
    contrast: dict,
    table_crc32: int,
    command: str,
    earlier: DatasetInfo | None,
) -> DatasetInfo:
    """The info.json of a complete data set; ``earlier`` is the one found there, if shards were repaired."""
    table, settings = plan.packed_table(), plan.settings
    groups = _optics_groups(table)
    return DatasetInfo(
        kind=table.kind,
        name=settings.name,
        count=len(table),
        box=settings.box,
        voxel_size_angstrom=_commonest(groups, table),
        contrast_sign=contrast["sign"],
        dtype=settings.dtype,
        shards=tuple(ShardInfo(**marker["shard"]) for marker in markers),
        labels=_count_labels(table.label),
        contrast=contrast,
        normalisation={
            "method": settings.normalisation,
            "circle_radius_pixels": (
                settings.radius() if settings.normalisation not in ("none", "tomogram") else None
            ),
        },
        statistics=earlier.statistics if earlier else _statistics(markers),
        resample=settings.resample,
        source_box=plan.source_box,
        has_ctf=_all_known(table, CTF_COLUMNS),
        has_poses=_all_known(table, EULER_COLUMNS),
        wedge=_wedge_form(table),
        voxel_labels=earlier.voxel_labels if earlier else _sum_counts(markers),
        voxel_label_names=plan.label_names,
        names=table.names if isinstance(table, MapTable) else (),
        optics_groups=tuple(groups),
        seed=settings.seed,
        source=plan.source,
        settings=asdict(settings),
        table_crc32=table_crc32,
        command=command,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        versions=_versions(),
    )


def _wedge_form(table: ParticleTable) -> str:
    """How the records of subtomograms say what is measured: by masks or by ranges of tilts."""
    if not isinstance(table, SubtomogramTable):
        return ""
    return "mask" if table.stores_masks else "tilts"


def _count_labels(labels: np.ndarray) -> dict[int, int]:
    values, counts = np.unique(labels, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _statistics(markers: list[dict]) -> dict[str, float]:
    """Mean, spread and range of all packed grey values."""
    parts = [marker["statistics"] for marker in markers]
    pixels = sum(part["pixels"] for part in parts)
    mean = sum(part["sum"] for part in parts) / pixels
    variance = sum(part["squares"] for part in parts) / pixels - mean**2
    return {
        "mean": mean,
        "std": max(variance, 0.0) ** 0.5,
        "min": min(part["min"] for part in parts),
        "max": max(part["max"] for part in parts),
    }


def _sum_counts(markers: list[dict]) -> dict[int, int]:
    """Voxels of each label in all shards."""
    total: dict[int, int] = {}
    for marker in markers:
        for label, count in marker.get("voxel_labels", {}).items():
            total[int(label)] = total.get(int(label), 0) + count
    return dict(sorted(total.items()))


def _commonest(groups: list[dict], table: ParticleTable) -> float:
    """The pixel size of the largest optics group; of maps, which have none, the first one's."""
    if not groups:
        return float(table.pixel_size_angstrom[0])
    return max(groups, key=lambda group: group["count"])["pixel_size_angstrom"]


def _optics_groups(table: ParticleTable) -> list[dict]:
    groups: list[dict] = []
    if "optics_group" not in table.column_types:
        return groups
    for group in np.unique(table.optics_group).tolist():
        rows = table.optics_group == group
        first = int(np.flatnonzero(rows)[0])
        groups.append(
            {
                "group": group,
                "count": int(rows.sum()),
                "pixel_size_angstrom": float(table.pixel_size_angstrom[first]),
                "voltage_kv": _known(table.voltage_kv[first]),
                "cs_mm": _known(table.cs_mm[first]),
                "amplitude_contrast": _known(table.amplitude_contrast[first]),
            }
        )
    return groups


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _all_known(table: ParticleTable, columns: tuple[str, ...]) -> bool:
    known = [name for name in columns if name in table.column_types]
    return known == list(columns) and all(bool(np.isfinite(getattr(table, name)).all()) for name in known)


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in ("cryozoo", "numpy", "scipy", "mrcfile", "pandas"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions
