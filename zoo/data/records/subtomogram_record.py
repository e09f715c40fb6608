"""What the record of a subtomogram holds beside the features of every particle."""

from __future__ import annotations

import numpy as np

from zoo.data.formats.fourier_weights import whole_of
from zoo.data.formats.volumes import VolumeReader
from zoo.data.records.example import Feature
from zoo.data.wedge import wedge_mask
from zoo.errors import ZooError

WEDGE_DTYPE = np.dtype("<f2")


def volume_features(reader: VolumeReader, box: int, first: int) -> list[dict[str, Feature]]:
    """``wedge`` (bytes), ``tilt_range_deg`` (2) and ``index`` of every subtomogram of ``reader.table``.

    ``wedge`` is the half form of the Fourier weights for ``box`` voxels, float16; empty where the range of
    tilts says it all. ``index`` is the number of the record in the data set, from ``first`` on.
    """
    table = reader.table
    tilts = table.tilt_range_deg().astype(np.float32)
    states = table.ctf_state()
    packed: dict[tuple, bytes] = {}  # most sets have one wedge for many particles
    features = []
    for row, number in enumerate(table.wedge_index.tolist()):
        key = (number, *tilts[row].tolist()) if number < 0 else (number, int(states[row]))
        if key not in packed:
            masks = reader.stores_masks
            packed[key] = reader.wedge(row, box).astype(WEDGE_DTYPE).tobytes() if masks else b""
        index = np.array([first + row])
        features.append({"wedge": packed[key], "tilt_range_deg": tilts[row], "index": index})
    return features


def unpack_wedge(features: dict[str, Feature], box: int, where: str) -> np.ndarray:
    """Centred weights (box, box, box) float32 of a decoded record; raises ZooError if it holds none."""
    raw = features.get("wedge")
    if raw is None:
        raise ZooError(f"{where}: holds no wedge, so it is no subtomogram; pack the data set again")
    if not raw:
        low, high = np.asarray(features["tilt_range_deg"], dtype=np.float64)
        if not -90 <= low <= high <= 90:
            raise ZooError(f"{where}: tilts from {low:g} to {high:g} degrees; pack the data set again")
        return wedge_mask(box, low, high)
    shape = (box, box, box // 2 + 1)
    half = np.frombuffer(raw, dtype=WEDGE_DTYPE)
    if half.size != np.prod(shape):
        raise ZooError(f"{where}: a wedge of {half.size} weights, expected {np.prod(shape)}; pack again")
    half = half.reshape(shape).astype(np.float32)
    if not np.isfinite(half).all() or half.min() < 0 or half.max() <= 0:
        raise ZooError(f"{where}: the wedge holds no weights from 0 to 1; pack the data set again")
    return whole_of(half)
