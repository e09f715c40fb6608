"""What a response looks like where nothing is: its middle and spread, and to which side its tail lies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_MOST_SAMPLES = 300_000
_PADDING = 0.2  # a grey value that is so much of a tomogram is what its corners were filled with
_MAD_TO_STD = 1.4826
_CLIP = 8.0  # spreads: one bead must not decide alone


@dataclass(frozen=True)
class SignMeasure:
    """Side of the response's tail, its skewness, and the probability that noise alone would show less."""

    sign: int
    skewness: float
    confidence: float


class ResponseSample:
    """Responses of a tomogram at every ``step``-th voxel along each axis, of some hundred thousand or all.

    They are added block by block; which voxels they are does not depend on the blocks.
    """

    def __init__(self, shape: tuple[int, int, int]):
        self.step = max(math.ceil((math.prod(shape) / _MOST_SAMPLES) ** (1 / 3)), 1)
        self._responses: list[np.ndarray] = []
        self._greys: list[np.ndarray] = []

    def places(self, core: tuple[slice, slice, slice]) -> tuple[slice, ...]:
        """Which voxels of a core (slices of the tomogram) are looked at."""
        return tuple(slice(-each.start % self.step, None, self.step) for each in core)

    def add(self, response: np.ndarray, grey: np.ndarray, chosen: np.ndarray | None = None) -> None:
        """Take responses and grey values at the sampled voxels of a core; ``chosen``: which of them count."""
        keep = slice(None) if chosen is None else chosen
        self._responses.append(response[keep].reshape(-1).copy())
        self._greys.append(grey[keep].reshape(-1).copy())

    def values(self) -> tuple[np.ndarray, float]:
        """The responses without those of padding, and the share that was padding.

        Padding is one grey value that makes up a fifth of the tomogram or more: corners of a rotated
        reconstruction, the outside of a mask. All of it is padding where the tomogram is constant.
        """
        responses, greys = np.concatenate(self._responses), np.concatenate(self._greys)
        if not len(greys):
            return responses, 0.0
        present, counts = np.unique(greys, return_counts=True)
        most = int(counts.argmax())
        share = counts[most] / len(greys)
        return (responses, 0.0) if share < _PADDING else (responses[greys != present[most]], float(share))


def middle_and_spread(values: np.ndarray) -> tuple[float, float]:
    """Median, and the standard deviation that the median absolute deviation tells; 0, 0 of no values."""
    if not len(values):
        return 0.0, 0.0
    middle = float(np.median(values))
    return middle, _MAD_TO_STD * float(np.median(np.abs(values - middle)))


def measure_sign(z: np.ndarray, voxels: float, widths_voxel: tuple[float, float]) -> SignMeasure:
    """The sign of the particles: to their side the responses of ``voxels`` voxels have the longer tail.

    ``z`` (n,) are responses in robust standard deviations from their median. Their skewness, clipped at 8,
    is compared with that of filtered noise, whose standard deviation is sqrt(6 / m) with m the voxels in
    units of the volume in which noise that passed the wider Gaussian is alike.
    """
    z = np.clip(z, -_CLIP, _CLIP)
    z -= z.mean()
    square = z * z
    skewness = float((square * z).mean() / max(float(square.mean()), 1e-30) ** 1.5)
    alike = (4 * math.pi * max(widths_voxel) ** 2 / 3) ** 1.5
    sure = math.erf(abs(skewness) / math.sqrt(6 * alike / max(voxels, alike)) / math.sqrt(2))
    return SignMeasure(1 if skewness >= 0 else -1, skewness, sure)
