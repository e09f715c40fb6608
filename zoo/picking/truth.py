"""Picks against known places: which are right, and precision, recall and F1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree


@dataclass(frozen=True)
class PickScores:
    """``match`` (n,) is the true particle of each pick (-1: none), ``found`` (m,) says which have a pick."""

    match: np.ndarray
    found: np.ndarray
    within_voxels: float

    @property
    def precision(self) -> float:
        return float((self.match >= 0).mean()) if len(self.match) else 0.0

    @property
    def recall(self) -> float:
        return float(self.found.mean()) if len(self.found) else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        right = int(self.found.sum())
        return 2 * right / (len(self.match) + len(self.found)) if right else 0.0


def score_picks(picks_voxel: np.ndarray, truth_voxel: np.ndarray, within_voxels: float) -> PickScores:
    """Match picks (n, 3) with true places (m, 3) within a distance, each once, nearest pairs first."""
    match = np.full(len(picks_voxel), -1)
    found = np.zeros(len(truth_voxel), bool)
    if len(picks_voxel) and len(truth_voxel):
        near = cKDTree(picks_voxel).sparse_distance_matrix(
            cKDTree(truth_voxel), within_voxels, output_type="ndarray"
        )
        for pick, true, _ in np.sort(near, order=("v", "i", "j"))[["i", "j", "v"]].tolist():
            if match[pick] < 0 and not found[true]:
                match[pick], found[true] = true, True
    return PickScores(match, found, within_voxels)
