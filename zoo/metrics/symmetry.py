"""How nearly a map is the same after every turn by a whole part of 360 degrees about an axis."""

from dataclasses import dataclass

import numpy as np
from scipy import optimize
from scipy.spatial.transform import Rotation

from zoo.errors import ZooError
from zoo.metrics.alignment import transform_map
from zoo.metrics.fsc import check_cube
from zoo.metrics.shells import Shells, centred_transform, padded_transform
from zoo.metrics.views import fibonacci_half_sphere

LARGEST_FOLD = 360
_DIRECTIONS = 420  # about 7 degrees apart on the half sphere
_COARSE_RADIUS = 5
_MOST_TURNS = 4  # of the search; the score takes all
_CANDIDATES = 8
_EDGE_PX = 2.0


@dataclass(frozen=True)
class SymmetryAxis:
    """Unit vector ``direction`` xyz, a point ``centre_px`` on the axis from voxel box // 2, and its score."""

    direction: np.ndarray
    centre_px: np.ndarray
    score: float


def symmetry_score(
    volume: np.ndarray,
    fold: int,
    axis=(0.0, 0.0, 1.0),
    centre_px=(0.0, 0.0, 0.0),
    mask: np.ndarray | None = None,
) -> float:
    """Mean correlation of all pairs of `fold` copies of a map (n, n, n), turned by 360 i / fold degrees.

    The `axis` (xyz) runs through `centre_px` (xyz in pixels from voxel n // 2). Correlations are Pearson's,
    weighted by `mask` (default: the largest sphere about the centre that lies in the box, which no turn
    changes). 1 is perfect; a map without the symmetry can still score high where it is round about the axis:
    compare maps with each other. Quintic splines turn them, which lose some of the noise near Nyquist.
    Source: Zhao et al., Bioinformatics 34 (2018) i227, section 3.2.3.
    Raises ZooError for no cube, a fold below 2, an axis of length 0 and a map constant within the mask.
    """
    volume = check_cube(volume, "map")
    direction, centre = _unit(axis), np.asarray(centre_px, float)
    check_fold(fold)
    weight = _sphere_about(centre, volume.shape[0]) if mask is None else np.asarray(mask, float)
    if weight.shape != volume.shape:
        raise ZooError(f"mask of {weight.shape} voxels for a map of {volume.shape}: expected one box")
    # |sum of unit vectors|^2 holds every pair twice and every copy once: no copy needs to be kept.
    total = np.zeros(np.count_nonzero(weight))
    for number, turn in enumerate(_turns(direction, fold, range(fold))):
        copy = transform_map(volume, turn, centre - turn @ centre) if number else volume
        total += _standardised(copy, weight)
    return float((total @ total - fold) / (fold * (fold - 1)))


def find_symmetry_axis(volume: np.ndarray, fold: int) -> SymmetryAxis:
    """The axis about which a map (box, box, box) is most nearly `fold`-fold, with its `symmetry_score`.

    Search: 420 directions, all shifts of each turn by FFT on the lowest 5 Fourier shells (they give the place
    of the axis), then refinement of direction and place with shells added up to a third of the box.
    Raises ZooError as `symmetry_score`, and for a box below 8.
    """
    volume = check_cube(volume, "map")
    check_fold(fold)
    box = volume.shape[0]
    if box < 8:
        raise ZooError(f"cannot search a box of {box} voxels for an axis: expected at least 8")
    if np.ptp(volume) == 0:
        raise ZooError("map is constant: it has every symmetry; expected density")
    chosen = np.unique(np.linspace(1, fold // 2, min(_MOST_TURNS, fold // 2)).round().astype(int))
    transform, target = padded_transform(volume), centred_transform(volume)
    directions = fibonacci_half_sphere(_DIRECTIONS)
    coarse_radius = min(_COARSE_RADIUS, box // 2 - 1)
    coarse = Shells(target, coarse_radius)
    matrices = np.stack([_turns(direction, fold, chosen) for direction in directions])
    scores, shifts = coarse.search(transform, matrices.reshape(-1, 3, 3))
    scores, shifts = scores.reshape(len(directions), -1), shifts.reshape(len(directions), -1, 3)
    found = []
    for index in np.argsort(-scores.mean(1))[:_CANDIDATES]:
        centre = _centre_of(matrices[index], shifts[index])
        found.append((scores[index].mean(), directions[index], centre))
    for radius, keep in ((coarse_radius, 4), (box // 5, 2), (box // 3, 1)):
        shells = Shells(target, max(radius, coarse_radius))
        found = [_refined(shells, transform, fold, chosen, *axis) for _, *axis in found]
        found = sorted(found, key=lambda item: -item[0])[:keep]
    _, direction, centre = found[0]
    direction = direction * (-1.0 if direction[np.abs(direction).argmax()] < 0 else 1.0)
    return SymmetryAxis(direction, centre, symmetry_score(volume, fold, direction, centre))


def check_fold(fold: int) -> None:
    """Raise ZooError for what is no number of turns."""
    if not 2 <= fold <= LARGEST_FOLD:
        raise ZooError(f"{fold}-fold symmetry: expected 2 to {LARGEST_FOLD}")


def parse_axis(text: str) -> np.ndarray:
    """``x``, ``y``, ``z`` or ``0,0.5,1`` → a unit vector xyz; raises ZooError for anything else."""
    if text in ("x", "y", "z"):
        return np.eye(3)["xyz".index(text)]
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 3:
        raise ZooError(f"axis {text!r}: expected x, y, z, or three numbers with commas between them")
    return _unit(numbers)


def _refined(shells, transform, fold, turns, direction, centre):
    """(score, direction, centre) at the best axis near the given one."""
    basis = np.linalg.svd(direction[None])[2][1:]  # two vectors normal to the axis

    def axis(step):
        turned = direction + step[:2] @ basis
        return turned / np.linalg.norm(turned), centre + step[2:] @ basis

    def loss(step):
        at, through = axis(step)
        matrices = _turns(at, fold, turns)
        values = shells.rotated(transform, matrices)
        shift = through - matrices @ through
        phase = np.exp(-2j * np.pi / shells.box * (shift @ shells.frequency.T))
        norm = np.sqrt((np.abs(values) ** 2).sum(-1)) * shells.power
        inner = ((values * phase).conj() @ shells.reference).real
        return -float((inner / np.maximum(norm, 1e-30)).mean())

    steps = [0.7 / shells.radius] * 2 + [0.15 * shells.box / shells.radius] * 2
    simplex = np.vstack([np.zeros(4), np.diag(steps)])
    options = {"initial_simplex": simplex, "maxfev": 250, "xatol": 2e-4, "fatol": 1e-7}
    best = optimize.minimize(loss, np.zeros(4), method="Nelder-Mead", options=options)
    return -best.fun, *axis(best.x)


def _turns(direction, fold, numbers):
    angles = 2 * np.pi * np.asarray(list(numbers)) / fold
    return Rotation.from_rotvec(angles[:, None] * direction).as_matrix()


def _centre_of(matrices, shifts):
    """The point that the turns with these shifts leave where it is, nearest to the middle: (I - R) c = t."""
    left = (np.eye(3) - matrices).reshape(-1, 3)
    return np.linalg.lstsq(left, shifts.reshape(-1), rcond=1e-6)[0]


def _standardised(copy, weight):
    inside = weight > 0
    values, weight = copy[inside], weight[inside]
    values = (values - np.average(values, weights=weight)) * np.sqrt(weight)
    norm = np.linalg.norm(values)
    if not norm > 0:
        raise ZooError("map is constant within the mask: no correlation; expected density")
    return values / norm


def _sphere_about(centre, box):
    """1 within the largest sphere about xyz `centre` that the box holds, fading to 0 over its last pixels."""
    low, high = -(box // 2), (box - 1) // 2
    radius = min((centre - low).min(), (high - centre).min())
    if radius < 3:
        raise ZooError(
            f"the axis runs {np.abs(centre).max():.0f} voxels from the middle of a box of {box}: centre it"
        )
    axis = np.arange(low, high + 1)
    squares = [(axis - c) ** 2 for c in centre]
    distance = np.sqrt(squares[2][:, None, None] + squares[1][:, None] + squares[0])
    return np.clip((radius - distance) / _EDGE_PX, 0.0, 1.0)


def _unit(axis):
    axis = np.asarray(axis, float)
    length = np.linalg.norm(axis) if axis.shape == (3,) else 0.0
    if not (np.isfinite(length) and length > 0):
        raise ZooError(f"axis {axis.tolist()}: expected three numbers x, y, z that are not all 0")
    return axis / length
