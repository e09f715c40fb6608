"""Volumes that are in memory already, read by index like those in files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from zoo.data.formats.fourier_weights import crop_weight, half_of
from zoo.data.formats.stored_volumes import StoredVolumes
from zoo.data.formats.volumes import VolumeFile
from zoo.data.wedge import wedge_mask
from zoo.errors import ZooError


class ArrayReader:
    """Reads ``volumes`` (n, z, y, x) of a table whose ``stack_index`` says which of them a row is.

    ``wedges`` (n, z, y, x) or one (z, y, x) for all are centred Fourier weights from 0 to 1 (measured);
    without them the table's tilts say it. ``voxel_labels`` (n, z, y, x) are whole numbers from 0 to 127.
    Raises ZooError for shapes that do not fit, values that are not finite, weights and labels beyond that.
    """

    def __init__(self, table, volumes, wedges=None, voxel_labels=None):
        volumes = volumes if isinstance(volumes, StoredVolumes) else np.asarray(volumes)
        if volumes.ndim != 4 or len(set(volumes.shape[1:])) != 1 or not len(volumes):
            raise ZooError(f"volumes of shape {volumes.shape}: expected (n, z, y, x) cubes")
        for number in range(len(volumes)):
            if not np.isfinite(volumes[number]).all():
                raise ZooError(f"volume {number + 1}: holds NaN or infinite values")
        self.table, self.volumes, self.box = table, volumes, volumes.shape[1]
        self.wedges = None if wedges is None else self._weights(wedges)
        self.voxel_labels = None if voxel_labels is None else self._labels(voxel_labels)
        self.label_names: tuple[str, ...] = ()
        self.stores_masks = self.wedges is not None
        self.headers = {
            stack: VolumeFile(path, volumes.shape[1:], 0.0) for stack, path in enumerate(table.stack_paths)
        }

    def __len__(self) -> int:
        return len(self.table)

    def read(self, indices) -> np.ndarray:
        """Volumes at ``indices``, (k, z, y, x) float32."""
        return self.volumes[self._rows(indices)].astype(np.float32)

    def wedge(self, index: int, box: int) -> np.ndarray:
        """Fourier weight, half form (box, box, box // 2 + 1) float32, of a volume cropped to ``box``."""
        if self.wedges is None:
            return half_of(wedge_mask(box, *self.table.tilt_range_deg()[index]))
        whole = self.wedges[self._rows([index])[0] if len(self.wedges) > 1 else 0]
        return crop_weight(half_of(whole.astype(np.float32)), box)

    def labels(self, index: int) -> np.ndarray | None:
        """Labels of the voxels, (z, y, x) int8; None where none were given."""
        return None if self.voxel_labels is None else self.voxel_labels[self._rows([index])[0]]

    def checksum(self) -> bytes:
        """Of all that is read, so that a set begun with other arrays is told from this one."""
        digest = hashlib.sha256()
        for array in (self.volumes, self.wedges, self.voxel_labels):
            for number in range(0 if array is None else len(array)):
                digest.update(np.ascontiguousarray(array[number]))
        for values in self.table.columns().values():
            digest.update(np.ascontiguousarray(values))
        return digest.digest()

    def close(self) -> None:
        """Nothing is open."""

    def _rows(self, indices) -> np.ndarray:
        return self.table.stack_index[np.atleast_1d(indices)]

    def _fitting(self, given, name: str, one_for_all: bool = False) -> np.ndarray:
        given = np.asarray(given)
        if one_for_all and given.ndim == 3:
            given = given[None]
        counts = {1, len(self.volumes)} if one_for_all else {len(self.volumes)}
        if given.ndim != 4 or len(given) not in counts or given.shape[1:] != self.volumes.shape[1:]:
            raise ZooError(f"{name} of shape {given.shape}: expected {self.volumes.shape}, as the volumes")
        return given

    def _weights(self, given) -> np.ndarray:
        weights = self._fitting(given, "wedges", one_for_all=True)
        if not (np.isfinite(weights).all() and weights.min() >= 0 and weights.max() <= 1):
            raise ZooError(
                f"wedges from {weights.min():g} to {weights.max():g}: expected weights from 0 to 1"
            )
        return weights

    def _labels(self, given) -> np.ndarray:
        given = self._fitting(given, "voxel_labels")
        labels = given.astype(np.int8)
        if (labels != given).any() or labels.min() < 0:
            raise ZooError(
                f"voxel_labels from {given.min()} to {given.max()}: expected whole numbers from 0 to 127"
            )
        return labels


def array_names(name: str, count: int) -> Sequence[str]:
    """What volumes without files are called: ``name/000001``."""
    return [f"{name}/{row + 1:06d}" for row in range(count)]
