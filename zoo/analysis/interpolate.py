"""The way from one density map to another through the latents of a generator (section 3.5 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zoo.analysis.pseudo_maps import check_generator, draw_latents, generated_maps
from zoo.errors import ZooError
from zoo.metrics.map_sets import best_correlations

_TRIED = 2048


def framed_maps(paths: Sequence[Path], model, notes=lambda text: None) -> np.ndarray:
    """Maps (k, n, n, n) of MRC, EM, PDB or mmCIF files in the box, voxel size, centre and sign of ``model``.

    Raises ZooError for files that cannot be read and maps without density.
    """
    from zoo.simulate.map_set import each_map

    return np.stack(list(each_map(paths, model.box, model.voxel_size_angstrom, notes=notes)))


def latents_by_regressor(regressor, maps: np.ndarray) -> np.ndarray:
    """Latents (k, d) that a regressor reads from maps (k, n, n, n)."""
    return np.asarray(regressor.apply("encode", {"map": maps[..., None]})["z_mean"], np.float32)


def latents_by_search(model, maps: np.ndarray, tried: int = _TRIED, seed: int = 0) -> np.ndarray:
    """Latents (k, d) of the samples, of ``tried``, that correlate best with maps (k, n, n, n) as they lie."""
    latents = draw_latents(tried, check_generator(model), seed)
    best = best_correlations(maps, generated_maps(model, latents))
    return latents[best]


def path_between(ends: np.ndarray, steps: int) -> np.ndarray:
    """``steps`` latents (steps, d) from the first of ``ends`` (2, d) to the second, both included.

    Raises ZooError for fewer than two steps.
    """
    if steps < 2:
        raise ZooError(f"--steps {steps}: expected 2 or more, the two ends included")
    share = np.linspace(0.0, 1.0, steps, dtype=np.float32)[:, None]
    return ends[0] + share * (ends[1] - ends[0])
