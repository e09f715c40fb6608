"""Volumes that were made one after the other, kept in an unnamed file until they are packed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable

import numpy as np

from zoo.errors import ZooError


class StoredVolumes:
    """Cubes of one box as float32, indexed like an array (n, z, y, x); only what is asked for is read.

    The file lies in TMPDIR and vanishes with the object. Raises ZooError for cubes of another box, what is no
    cube, and where the folder is full.
    """

    ndim = 4

    def __init__(self, volumes: Iterable[np.ndarray]):
        self._file = tempfile.TemporaryFile(prefix="zoo-", buffering=0)
        self._count, self._box = 0, 0
        for volume in volumes:
            self._append(np.ascontiguousarray(volume, np.float32))

    def close(self) -> None:
        """Let the file vanish."""
        self._file.close()

    def __del__(self):
        if hasattr(self, "_file"):
            self.close()

    def __len__(self) -> int:
        return self._count

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, z, y, x)."""
        return self._count, self._box, self._box, self._box

    def __getitem__(self, rows) -> np.ndarray:
        """Volumes at ``rows`` (k,), or one at a whole number; new arrays."""
        if np.ndim(rows):
            return np.stack([self[int(row)] for row in rows])
        size = 4 * self._box**3
        raw = bytearray(size)
        view, done = memoryview(raw), 0
        while done < size:
            read = os.preadv(self._file.fileno(), [view[done:]], int(rows) * size + done)
            if not read:
                raise ZooError(f"volume {int(rows) + 1}: its temporary file ends too early; pack again")
            done += read
        return np.frombuffer(raw, np.float32).reshape(self.shape[1:])

    def _append(self, volume: np.ndarray) -> None:
        self._box = self._box or volume.shape[0]
        if volume.shape != (self._box,) * 3:
            raise ZooError(
                f"volume {self._count + 1} of shape {volume.shape}: expected a cube of {self._box}"
            )
        view = memoryview(volume).cast("B")
        try:
            while len(view):
                view = view[self._file.write(view) :]
        except OSError as error:
            raise ZooError(
                f"{tempfile.gettempdir()}: cannot keep {self._count + 1} volumes of {self._box} voxels: "
                f"{error.strerror or error}; set TMPDIR to a folder with room"
            ) from error
        self._count += 1
