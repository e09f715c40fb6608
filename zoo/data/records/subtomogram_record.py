"""What the record of a subtomogram holds beside the features of every particle."""

from __future__ import annotations

import numpy as np

from zoo.data.formats.arrays import ArrayReader
from zoo.data.formats.fourier_weights import whole_of
from zoo.data.formats.tilt_stacks import TiltStackReader
from zoo.data.formats.volumes import VolumeReader
from zoo.data.records.example import Feature
from zoo.data.records.schema import VOXEL_LABELS
from zoo.data.wedge import wedge_mask
from zoo.errors import ZooError

WEDGE_DTYPE = np.dtype("<f2")
VOXEL_LABEL_DTYPE = np.dtype("i1")


def volume_features(
    reader: VolumeReader | TiltStackReader | ArrayReader, box: int, first: int
) -> list[dict[str, Feature]]:
    """``wedge`` (bytes) and ``index`` of every subtomogram of ``reader.table``, and what else some sets have.

    That is ``voxel_labels``, and of boxes cut in frames of their own ``frame_euler_deg`` and
    ``frame_shift_angstrom`` (3 each): the pose that brings the box to its place in the tomogram.

    ``wedge`` is the half form of the Fourier weights for ``box`` voxels, float16; empty where the range of
    tilts says it all. ``index`` is the number of the record in the data set, from ``first`` on.
    """
    table = reader.table
    tilts = table.tilt_range_deg().astype(np.float32)
    states = table.ctf_state()
    frames = None if table.frames is None else table.frames.pose()
    packed: dict[tuple, bytes] = {}  # most sets have one wedge for many particles
    features: list[dict[str, Feature]] = []
    for row, number in enumerate(table.wedge_index.tolist()):
        own = row if isinstance(reader, ArrayReader) or frames is not None else 0  # each has its own wedge
        key = (number, own, *tilts[row].tolist()) if number < 0 else (number, own, int(states[row]))
        if key not in packed:
            masks = reader.stores_masks
            packed[key] = reader.wedge(row, box).astype(WEDGE_DTYPE).tobytes() if masks else b""
        index = np.array([first + row])
        features.append({"wedge": packed[key], "index": index})
        if frames is not None:
            features[-1]["frame_euler_deg"] = frames[0][row].astype(np.float32)
            shift = frames[1][row] * table.pixel_size_angstrom[row]
            features[-1]["frame_shift_angstrom"] = shift.astype(np.float32)
        labels = None if isinstance(reader, TiltStackReader) else reader.labels(row)
        if labels is not None:
            features[-1][VOXEL_LABELS] = labels.tobytes()
    return features


def count_voxel_labels(features: list[dict[str, Feature]]) -> dict[int, int]:
    """Voxels of each label in all of ``volume_features``."""
    counts = np.zeros(128, np.int64)
    for each in features:
        counts += np.bincount(np.frombuffer(each[VOXEL_LABELS], VOXEL_LABEL_DTYPE), minlength=128)
    return {int(label): int(counts[label]) for label in np.flatnonzero(counts)}


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


def unpack_voxel_labels(features: dict[str, Feature], box: int, where: str) -> np.ndarray:
    """What each voxel belongs to, (box, box, box) int8, of a decoded record; ZooError if it does not say."""
    raw = features.get(VOXEL_LABELS)
    if raw is None or len(raw) != box**3:
        found = "no labels of voxels" if raw is None else f"{len(raw)} labels of voxels"
        raise ZooError(f"{where}: holds {found}, expected {box**3}; pack the data set again")
    return np.frombuffer(raw, dtype=VOXEL_LABEL_DTYPE).reshape(box, box, box)
