"""pyTME's exhaustive matcher on one subtomogram: peer of ``benchmarks/matching.py``. Needs pyTME alone.

Run by the benchmark, in an environment of its own (``pip install pytme``):

    python pytme_match.py FILE

FILE (npz) holds maps (k, n, n, n), a subtomogram (n, n, n), its wedge (n, n, n) with the zero frequency at
n // 2, and rotations (r, 3, 3). Every map is matched at all rotations and all translations by
``match_exhaustive`` with the score "FLCSphericalMask" (NumPy and FFTW on the CPU, one process), the wedge
applied to every turned template. One line of JSON: the version; the best score of each map; seconds (wall,
CPU) of each map, whose first matching, which plans transforms, does not count.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version

import numpy as np
from tme.analyzer import MaxScoreOverRotations
from tme.backends import backend
from tme.filters import Compose
from tme.filters.compose import ComposableFilter
from tme.matching_data import MatchingData
from tme.matching_exhaustive import MATCHING_EXHAUSTIVE_REGISTER, match_exhaustive

_SCORE = "FLCSphericalMask"


class FixedMask(ComposableFilter):
    """A Fourier mask (n, n, n), zero frequency first, that is known beforehand."""

    def __init__(self, mask):
        self.mask = mask

    def _evaluate(self, *args, **kwargs):
        return {"data": backend.to_backend_array(self.mask), "shape": self.mask.shape}


def main(path: str) -> None:
    given = np.load(path)
    volume = given["volume"].astype(np.float32)
    n = volume.shape[0]
    wedge = np.fft.ifftshift(given["wedge"]).astype(np.float32)
    axis = np.arange(n) - n // 2
    sphere = (axis**2 + axis[:, None] ** 2 + axis[:, None, None] ** 2 < (n // 2) ** 2).astype(np.float32)

    def match(density, rotations):
        data = MatchingData(
            target=volume, template=density.astype(np.float32), template_mask=sphere, rotations=rotations
        )
        data.template_filter = Compose([FixedMask(wedge)])
        setup, score = MATCHING_EXHAUSTIVE_REGISTER[_SCORE]
        return match_exhaustive(
            data, matching_setup=setup, matching_score=score, callback_class=MaxScoreOverRotations
        )

    rotations = given["rotations"].astype(np.float32)
    match(given["maps"][0], rotations[:2])
    scores, seconds = [], []
    for density in given["maps"]:
        started, cpu = time.perf_counter(), time.process_time()
        found = match(density, rotations)
        seconds.append((time.perf_counter() - started, time.process_time() - cpu))
        scores.append(float(np.max(found[0])))
    print(json.dumps({"version": version("pytme"), "scores": scores, "seconds": seconds}))


if __name__ == "__main__":
    main(sys.argv[1])
