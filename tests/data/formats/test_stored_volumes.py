"""Volumes kept in an unnamed file come back as they were, and what does not fit is one line."""

import errno

import numpy as np
import pytest

from zoo.data.formats.arrays import ArrayReader
from zoo.data.formats.stored_volumes import StoredVolumes
from zoo.errors import ZooError


def test_they_are_read_like_an_array():
    volumes = np.random.default_rng(0).normal(size=(5, 6, 6, 6)).astype(np.float32)
    stored = StoredVolumes(iter(volumes))
    assert stored.shape == (5, 6, 6, 6) and len(stored) == 5
    np.testing.assert_array_equal(stored[3], volumes[3])
    np.testing.assert_array_equal(stored[np.array([4, 0, 4])], volumes[[4, 0, 4]])


def test_another_box_and_no_volumes_are_refused():
    with pytest.raises(ZooError, match="volume 2 of shape"):
        StoredVolumes([np.zeros((4, 4, 4)), np.zeros((5, 5, 5))])
    with pytest.raises(ZooError, match="expected a cube"):
        StoredVolumes([np.zeros((4, 4, 5))])
    with pytest.raises(ZooError, match="cubes"):
        ArrayReader(None, StoredVolumes([]))


def test_a_full_disk_is_one_line(monkeypatch):
    stored = StoredVolumes([np.zeros((4, 4, 4))])

    class Full:
        def close(self):
            pass

        def write(self, _):
            raise OSError(errno.ENOSPC, "No space left on device")

    stored._file = Full()
    with pytest.raises(ZooError, match="No space left.*TMPDIR"):
        stored._append(np.zeros((4, 4, 4), np.float32))
