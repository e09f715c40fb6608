"""Frames that cubes were cut from a tomogram in, and the way of poses from a cube back to the tomogram."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class CubeFrames:
    """Of n cubes: ``matrices`` (n, 3, 3), proper rotations whose rows are the cube's axes, and their middles.

    ``centres_voxel`` (n, 3) xyz lie relative to the voxel that the cube's place names. The point u of a cube
    (xyz, from voxel box // 2) shows the tomogram at place + R^T u + centre.
    """

    matrices: np.ndarray
    centres_voxel: np.ndarray

    def __len__(self) -> int:
        return len(self.matrices)

    @classmethod
    def from_pose(cls, euler_deg: np.ndarray, origin_voxel: np.ndarray) -> CubeFrames:
        """The frames that `pose` gives as RELION's angles (n, 3) and origins (n, 3) xyz."""
        from scipy.spatial.transform import Rotation  # takes long, and a refused command does without it

        turns = Rotation.from_euler("ZYZ", euler_deg, degrees=True)  # A^T, which is R
        return cls(turns.as_matrix(), -np.asarray(origin_voxel, np.float64))

    def select(self, indices) -> CubeFrames:
        """The frames at ``indices``."""
        return CubeFrames(self.matrices[indices], self.centres_voxel[indices])

    def pose(self) -> tuple[np.ndarray, np.ndarray]:
        """RELION's angles (n, 3) in degrees and origins (n, 3) in voxels that bring a cube to its frame.

        An average of cubes, posed so, lies in the tomogram as the cubes do.
        """
        count = len(self)
        return self.to_tomogram(np.zeros((count, 3)), np.zeros((count, 3)))

    def to_tomogram(self, euler_deg: np.ndarray, origin_voxel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Poses of particles in the cubes → their poses in boxes cut straight at the same places.

        RELION's convention: cube(u) = map(A'^T (u + o')) and box(r) = map(A^T (r + o)) with u = R (r - c), so
        A = R^T A' and o = R^T o' - c. Angles (n, 3) in degrees, origins (n, 3) in voxels, xyz.
        """
        from scipy.spatial.transform import Rotation

        inside = Rotation.from_euler("ZYZ", euler_deg, degrees=True).as_matrix()  # A'^T
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # at tilt 0 and 180 one angle is free: scipy takes 0
            angles = Rotation.from_matrix(inside @ self.matrices).as_euler("ZYZ", degrees=True)
        origins = np.einsum("nji,nj->ni", self.matrices, np.asarray(origin_voxel, np.float64))
        return angles, origins - self.centres_voxel
