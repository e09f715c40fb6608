"""How evenly a set of views fills Fourier space."""

import numpy as np

from zoo.errors import ZooError


def fourier_completeness(
    rotations: np.ndarray, fourier_radius: int = 50, directions: int | None = None
) -> float:
    """Sampling factor SCF* in [0, 1] of views (n, 3, 3): 1 for even views, near 0 for a single one.

    A central slice lies normal to the beam, row 3 of RELION's matrix. At `fourier_radius` (in Fourier voxels)
    each direction u of a Fibonacci half sphere is seen by the views v with |u . v| < 1 / (2 radius).
    SCF = 1 / (mean(1 / seen) mean(seen)). With a share q of directions that no view sees, and the mean of
    1 / seen over the others: 1 / SCF* = mean(seen) (mean(1 / seen) + q / (2 (1 - q))).
    Only many views (n well above 2 radius) give a meaningful figure. The thesis calls it SQ factor.
    Source: Baldwin & Lyumkis, Prog. Biophys. Mol. Biol. 150 (2020) and 160 (2021).
    Raises ZooError if `rotations` is not (n, 3, 3).
    """
    rotations = np.asarray(rotations, np.float64)
    if rotations.ndim != 3 or rotations.shape[1:] != (3, 3) or len(rotations) == 0:
        raise ZooError(f"views have shape {rotations.shape}; expected rotation matrices (n, 3, 3), n > 0")
    seen = sampling_counts(rotations[:, 2, :], fourier_radius, directions)
    share = (seen > 0).mean()
    inverse = (1 / seen[seen > 0]).mean() + (1 - share) / share / 2
    return float(min(1.0, 1 / (seen.mean() * inverse)))


def crowded_direction(
    beams: np.ndarray, within_deg: float = 20.0, directions: int = 2000
) -> tuple[float, np.ndarray]:
    """Largest share of `beams` (n, 3) within `within_deg` of one axis, either way, and that axis (3,).

    Either way, since a view and its opposite show the same slice. Of even views 1 - cos(within_deg) lie about
    any axis. The axis is one of `directions` points spread over a half sphere.
    """
    axes = fibonacci_half_sphere(directions)
    near = np.float32(np.cos(np.radians(within_deg)))
    count = _counted(beams, axes, lambda cosine: cosine >= near)
    best = int(count.argmax())
    return float(count[best] / len(beams)), axes[best]


def sampling_counts(beams: np.ndarray, fourier_radius: int = 50, directions: int | None = None) -> np.ndarray:
    """How many slices normal to `beams` (n, 3) hold each of `directions` points spread over a half sphere."""
    directions = int(2 * np.pi * fourier_radius**2 / 4) if directions is None else directions
    width = 1 / (2 * fourier_radius)
    return _counted(beams, fibonacci_half_sphere(directions), lambda cosine: cosine < width)


def _counted(beams, points, holds):
    """How many of `beams` (n, 3) lie at a cosine that `holds`, its sign aside, to each of `points` (m, 3)."""
    points = points.T.astype(np.float32)
    count = np.zeros(points.shape[1])
    for start in range(0, len(beams), 2048):
        count += holds(np.abs(beams[start : start + 2048].astype(np.float32) @ points)).sum(0)
    return count


def fibonacci_half_sphere(n: int) -> np.ndarray:
    """n even unit vectors (n, 3) with z > 0. Source: Gonzalez, Math. Geosci. 42 (2010)."""
    z = (np.arange(n) + 0.5) / n
    angle = np.arange(n) * np.pi * (3 - np.sqrt(5))
    radius = np.sqrt(1 - z**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)
