"""What a finished run found, as data without files or paths: the house writes it (`zoo.training.results`)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Results:
    """Everything is optional; names become file names.

    ``maps``: name → map (z, y, x); ``half_maps``: name of a map → its two half maps (2, z, y, x); ``fsc``:
    name of a map → FSC of its half maps (s,), shell 0 first; ``columns``: RELION column → values in record
    order, written back into the file that was packed; ``classes``: (n,) class of each record from 0, class k
    standing for the k-th map; ``lines``: what a person should be told.
    """

    maps: dict[str, np.ndarray] = field(default_factory=dict)
    half_maps: dict[str, np.ndarray] = field(default_factory=dict)
    fsc: dict[str, np.ndarray] = field(default_factory=dict)
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    classes: np.ndarray | None = None
    lines: list[str] = field(default_factory=list)
