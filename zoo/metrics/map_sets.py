"""What a set of density maps is like as a whole: how unlike its members, how large, in how many pieces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from scipy import ndimage

DENSE = 0.3  # of a map's peak: what counts as inside
_LEAST_PIECE = 0.01  # of the dense volume
_COLLAPSED = 0.5  # of the way from the data's mean correlation to 1


def pairwise_correlation(maps: np.ndarray) -> float:
    """Mean Pearson correlation over all pairs of maps (k, …), k > 1; a map of one value is like every other.

    1 says that all are the same up to scale.
    """
    unit = _unit(maps)
    unit = unit[np.square(unit).sum(axis=1) > 0]
    count, same = len(maps), len(maps) - len(unit)
    # Σ over i ≠ j of u_i·u_j is |Σ u|² less the k ones of the diagonal.
    pairs = float(np.square(unit.sum(axis=0)).sum()) - len(unit) + same * (2 * count - same - 1)
    return pairs / (count * (count - 1))


def volumes_and_pieces(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of maps (k, n, n, n): voxels above 0.3 of the peak (k,), and how many connected pieces they make (k,).

    Pieces that touch at a face; those of less than a hundredth of the volume are dust and not counted. Both
    are 0 for a map without anything positive.
    """
    volumes, pieces = np.zeros(len(maps), np.int64), np.zeros(len(maps), np.int64)
    for i, density in enumerate(np.asarray(maps)):
        dense = (density > DENSE * density.max()) & (density > 0)
        volumes[i] = dense.sum()
        if volumes[i]:
            labels, _ = ndimage.label(dense)
            pieces[i] = (np.bincount(labels.ravel())[1:] >= _LEAST_PIECE * volumes[i]).sum()
    return volumes, pieces


def nearest(features: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Row of ``others`` (m, f) that lies nearest (L2) to each row of ``features`` (k, f): (k,)."""
    a, b = np.asarray(features, np.float64), np.asarray(others, np.float64)
    # |a|² is the same for all of others.
    return np.argmin((b**2).sum(axis=1)[None] - 2.0 * a @ b.T, axis=1)


def compare_sets(
    samples: np.ndarray,
    data: np.ndarray,
    sample_features: np.ndarray,
    data_features: np.ndarray,
    labels: np.ndarray,
    voxel_size_angstrom: float,
) -> dict[str, float]:
    """Figures of sampled maps (k, n, n, n) beside data (m, n, n, n), turned at random as the samples are.

    ``labels`` (m,) says which known map each of the data is. ``correlation_*``: mean over pairs;
    ``coverage``: share of the known maps that are the nearest of some sample in ``*_features``;
    ``volume_*_nm3`` and ``pieces_*``: medians, and means.
    """
    known = np.unique(labels)
    hit = np.unique(np.asarray(labels)[nearest(sample_features, data_features)])
    figures = {"coverage": len(hit) / len(known)}
    cubic_nm = (voxel_size_angstrom / 10.0) ** 3
    for name, maps in (("samples", samples), ("data", data)):
        volumes, pieces = volumes_and_pieces(maps)
        figures[f"correlation_{name}"] = pairwise_correlation(maps)
        figures[f"volume_{name}_nm3"] = float(np.median(volumes)) * cubic_nm
        figures[f"pieces_{name}"] = float(pieces.mean())
    return figures


def collapse_line(figures: Mapping[str, float]) -> str:
    """What to tell a person of samples that are all alike, "" where they are not; figures of `compare_sets`.

    They are where their mean correlation lies beyond half way from that of the data to 1.
    """
    samples, data = figures["correlation_samples"], figures["correlation_data"]
    if samples <= data + _COLLAPSED * (1.0 - data):
        return ""
    return (
        f"the generator has collapsed: its samples correlate {samples:.2f} with each other on average, "
        f"the data {data:.2f}"
    )


def best_correlations(maps: np.ndarray, candidates: Iterable[np.ndarray]) -> np.ndarray:
    """For each of ``maps`` (k, …) the number of the candidate (…) of highest Pearson correlation: (k,).

    Candidates pass by one after the other, and one without variance is never the best but of nothing else.
    """
    flat = _unit(maps)
    best, best_score = np.zeros(len(flat), np.int64), np.full(len(flat), -np.inf)
    for number, candidate in enumerate(candidates):
        score = flat @ _unit(candidate[None])[0]
        better = score > best_score
        best[better], best_score[better] = number, score[better]
    return best


def correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson correlation (k,) of each of ``a`` (k, …) with that of ``b``; 0 where one has a single value."""
    return (_unit(a) * _unit(b)).sum(axis=1)


def _unit(maps: np.ndarray) -> np.ndarray:
    flat = np.reshape(np.asarray(maps, np.float64), (len(maps), -1))
    flat = flat - flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return flat / np.where(length > 0, length, np.inf)
