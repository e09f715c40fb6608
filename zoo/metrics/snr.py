"""Signal-to-noise ratio of a set of aligned subtomograms, from how its pairs correlate."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from keras import ops

from zoo.errors import ZooError
from zoo.ops import fourier
from zoo.ops.matching.expectation import back_rotated
from zoo.ops.matching.half_space import HalfBall

_MOST_MEMBERS = 50  # of a set: 1,225 pairs
_MOST_VALUES = 20_000_000  # Fourier values kept, over all sets
_LEAST_WEIGHT = 0.5  # of the mean weight that is observed


class PairSnr(NamedTuple):
    """Ratio of the signal's power to the noise's, the mean correlation that it follows from, and of how many.

    ``standard_error`` of the ratio: between subtomograms, by leaving out each in turn; NaN of two.
    """

    snr: float
    correlation: float
    pairs: int
    members: int
    standard_error: float


def snr_of_correlation(correlation: float) -> float:
    """cc / (1 - cc) for the correlation of two aligned copies of one signal, each with noise of its own.

    Infinite at 1; negative where pairs correlate negatively. Source: Frank & Al-Ali, Nature 256 (1975) 376.
    """
    return float("inf") if correlation >= 1 else float(correlation / (1 - correlation))


def pair_correlations(transforms: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Correlations (m, m) of transforms (m, j) complex over the frequencies that both observed (m, j).

    NaN where a pair has no such frequency, and of each member with itself.
    """
    seen = np.asarray(observed, np.float32)
    values = np.where(seen > 0, transforms, 0).astype(np.complex64)
    cross = (values @ values.conj().T).real.astype(np.float64)
    power = (np.abs(values) ** 2 @ seen.T).astype(
        np.float64
    )  # of the row's member, where the column's observes
    norm = np.sqrt(power * power.T)
    found = np.divide(cross, norm, out=np.full_like(cross, np.nan), where=norm > 0)
    np.fill_diagonal(found, np.nan)
    return found


def set_snr(transforms: np.ndarray, observed: np.ndarray) -> PairSnr:
    """SNR of m >= 2 aligned members from all their pairs; arguments as of `pair_correlations`.

    Raises ZooError with less than two members and where no pair has observed anything in common.
    """
    if len(transforms) < 2:
        raise ZooError(f"SNR of {len(transforms)} subtomogram: pairs need at least 2")
    correlations = pair_correlations(transforms, observed)
    known = np.isfinite(correlations)
    if not known.any():
        raise ZooError("SNR: no two subtomograms observe the same frequencies; check the wedges")
    total, count = np.where(known, correlations, 0).sum(), known.sum()
    mean = total / count
    without = (total - 2 * np.where(known, correlations, 0).sum(0)) / np.maximum(count - 2 * known.sum(0), 1)
    m = len(transforms)
    error = np.sqrt((m - 1) / m * ((without - without.mean()) ** 2).sum()) if m > 2 else np.nan
    # by the slope of cc / (1 - cc)
    error = error / max(1 - mean, 1e-6) ** 2
    return PairSnr(snr_of_correlation(mean), float(mean), int(count // 2), m, float(error))


class AlignedSets:
    """Subtomograms laid into the frames of their averages, some of each set, and the SNR of the sets.

    All frequencies up to Nyquist take part; of each set the first members are kept, 50 or as many as memory
    allows. Poses found by aligning subtomograms to their own average make their noise alike too: at low
    signal the ratio is then an upper bound.
    """

    def __init__(self, box: int, sets: int):
        self.ball = HalfBall(box, box // 2 - 1)
        self.most = int(np.clip(_MOST_VALUES // (len(self.ball) * sets), 2, _MOST_MEMBERS))
        self._transforms: list[list] = [[] for _ in range(sets)]
        self._observed: list[list] = [[] for _ in range(sets)]

    def add(self, volumes, wedges, rotations, shifts_voxels, sets) -> None:
        """Volumes and wedges (b, n, n, n), their rotations (b, 3, 3), shifts (b, 3) and sets (b,)."""
        for index, number in enumerate(np.asarray(sets)):
            if len(self._transforms[number]) < self.most:
                one = slice(index, index + 1)
                transform, observed = self._in_frame(
                    *(np.asarray(ops.convert_to_numpy(x[one]), np.float32) for x in (volumes, wedges)),
                    *(np.asarray(x[one], np.float32) for x in (rotations, shifts_voxels)),
                )
                self._transforms[number].append(transform)
                self._observed[number].append(observed)

    def snr(self, number: int) -> PairSnr | None:
        """Of one set; None where it has no pair that observes something in common."""
        try:
            return set_snr(np.stack(self._transforms[number]), np.stack(self._observed[number]))
        except (ZooError, ValueError):  # too few, or none at all
            return None

    def _in_frame(self, volume, wedge, rotation, shift):
        """Transform (j,) complex64 of one subtomogram in its average's frame, and what is observed."""
        transform = fourier.fft3(volume / self.ball.n**1.5)
        found = back_rotated(
            self.ball, transform, wedge, rotation[:, None], shift[:, None], np.ones((1, 1), "float32")
        )
        re, im, weight = (np.asarray(ops.convert_to_numpy(part))[0, 0] for part in found)
        seen = weight > 1e-4
        return (re + 1j * im).astype(np.complex64), weight > _LEAST_WEIGHT * weight[
            seen
        ].mean() if seen.any() else seen
