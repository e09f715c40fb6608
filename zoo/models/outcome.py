"""What a finished run found, as data without files or paths: the house writes it (`zoo.training.results`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Results:
    """Everything is optional; names become file names.

    ``maps``: name → map (z, y, x); ``half_maps``: name of a map → its two half maps (2, z, y, x); ``fsc``:
    name of a map → FSC of its half maps (s,), shell 0 first; ``columns``: RELION column → values in record
    order, written back into the file that was packed; ``classes``: (n,) class of each record from 0, class k
    standing for the k-th map; ``voxel_size_angstrom`` of the maps, where it is not that of the records;
    ``measures``: name of a map → measure → number, for measures.csv;
    ``fsc_kind`` says between what the FSC is; ``mirrored``: a map and its mirror image are equally good;
    ``lines``: what a person should be told.
    """

    maps: dict[str, np.ndarray] = field(default_factory=dict)
    half_maps: dict[str, np.ndarray] = field(default_factory=dict)
    fsc: dict[str, np.ndarray] = field(default_factory=dict)
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    classes: np.ndarray | None = None
    voxel_size_angstrom: float | None = None
    measures: dict[str, dict[str, float]] = field(default_factory=dict)
    mirrored: bool = False
    fsc_kind: str = "half sets"
    lines: list[str] = field(default_factory=list)


def pose_columns(found: Mapping[str, np.ndarray], half: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """RELION 3.1 columns of what `Aligns.align` says of n records; ``half`` (n,) holds half sets 1 and 2.

    ``euler_deg`` (n, 3), ``origin_angstrom`` (n, 2 or 3), ``class`` (n,) from 0, ``posterior`` (n, k).
    """
    columns = {
        name: np.asarray(found["euler_deg"])[:, i].astype(np.float64)
        for i, name in enumerate(("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"))
    }
    for i in range(found["origin_angstrom"].shape[1]):
        columns[f"rlnOrigin{'XYZ'[i]}Angst"] = found["origin_angstrom"][:, i].astype(np.float64)
    columns["rlnClassNumber"] = found["class"].astype(np.int64) + 1
    columns["rlnMaxValueProbDistribution"] = found["posterior"].max(axis=1).astype(np.float64)
    if half is not None:
        columns["rlnRandomSubset"] = np.asarray(half, np.int64)
    return columns
