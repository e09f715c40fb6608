"""Where the states of a reconstruction lie in the latent space."""

from __future__ import annotations

import numpy as np

_CROWDED = 0.4  # of the median distance: states nearer than this are laid out evenly instead


def place_states(maps: np.ndarray, latent_dim: int, spacing: float) -> np.ndarray:
    """Maps ``(k, n, n, n)`` → places ``(k, d)`` float32, the nearest two ``spacing`` apart, centred.

    Classical scaling (Torgerson 1952) of the distances between the maps: states that resemble each other are
    neighbours. Where ``latent_dim`` coordinates cannot hold these distances and places crowd, the states lie
    evenly on a line (one coordinate) or a circle, in the order of the scaling.
    """
    count = len(maps)
    if count == 1:
        return np.zeros((1, latent_dim), np.float32)
    flat = maps.reshape(count, -1).astype(np.float64)
    squared = ((flat[:, None] - flat[None]) ** 2).sum(-1)
    centring = np.eye(count) - 1 / count
    values, vectors = np.linalg.eigh(-0.5 * centring @ squared @ centring)
    order = np.argsort(-values)[: min(latent_dim, count - 1)]
    places = np.zeros((count, latent_dim))
    vectors = vectors[:, order] * np.sign(vectors[np.abs(vectors[:, order]).argmax(0), order])
    places[:, : len(order)] = vectors * np.sqrt(np.maximum(values[order], 0))
    nearest, median = _distances(places)
    if nearest < _CROWDED * median or nearest <= 0:
        places = _evenly(places)
        nearest, _ = _distances(places)
    return ((places - places.mean(0)) * (spacing / nearest)).astype(np.float32)


def _evenly(places: np.ndarray) -> np.ndarray:
    count, dim = places.shape
    even = np.zeros_like(places)
    if dim == 1:
        even[np.argsort(places[:, 0], kind="stable"), 0] = np.arange(count)
        return even
    turn = np.argsort(np.arctan2(places[:, 1], places[:, 0]), kind="stable")
    angle = 2 * np.pi * np.arange(count) / count
    even[turn, 0], even[turn, 1] = np.cos(angle), np.sin(angle)
    return even


def _distances(places: np.ndarray) -> tuple[float, float]:
    """Smallest and median distance between two places."""
    pairs = np.triu_indices(len(places), 1)
    distance = np.sqrt(((places[:, None] - places[None]) ** 2).sum(-1))[pairs]
    return float(distance.min()), float(np.median(distance))
