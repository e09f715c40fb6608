"""A tomogram → the places of its blob-like particles, without templates (Zeng et al. 2018, section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from zoo.data.formats.tomogram_blocks import TomogramBlocks
from zoo.data.packing.worker_pool import available_cpus
from zoo.errors import ZooError
from zoo.picking.blocks import Block, plan_blocks
from zoo.picking.peaks import best_apart, local_maxima
from zoo.picking.response import difference_of_gaussians, margin_voxels
from zoo.picking.response_sample import ResponseSample, SignMeasure, measure_sign, middle_and_spread
from zoo.picking.settings import PickSettings

_BLOCK_SIDE = 320
_SURE = 0.95


@dataclass(frozen=True)
class Picks:
    """Places (n, 3) xyz in voxels, 0-based, best first, and their scores (n,).

    ``contrast_sign`` is +1 for bright particles, ``contrast`` says how it was found; ``peaks`` counts the
    local maxima that were chosen from. ``notes`` says what a person should know.
    """

    places_voxel: np.ndarray
    scores: np.ndarray
    contrast_sign: int
    contrast: str
    peaks: int
    blocks: int
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.scores)


def pick_particles(
    tomogram: TomogramBlocks,
    settings: PickSettings,
    mask: TomogramBlocks | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    block_side: int = _BLOCK_SIDE,
) -> Picks:
    """Peaks of the difference of Gaussians in ``tomogram``, read and filtered in overlapping blocks.

    The result is that of the whole at once, to float rounding; memory follows ``block_side`` (voxels).
    A score is the response at the peak, in standard deviations (from the median absolute deviation) above
    the median. Only where ``mask`` (same voxels) exceeds 0.5 are peaks taken and the response measured.
    Raises ZooError for a tomogram thinner than the filter, values that are not finite, a mask of
    another size or an empty one, and where no peak is left.
    """
    _check_shapes(tomogram, settings, mask)
    plan = plan_blocks(tomogram.shape, margin_voxels(settings.widths_voxel), block_side)
    sample = ResponseSample(tomogram.shape)
    signs = (1, -1) if settings.contrast == 0 else (settings.contrast,)
    found: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {sign: [] for sign in signs}
    masked = 0
    for number, block in enumerate(plan):
        volume = tomogram.read(block.read)
        _refuse_non_finite(tomogram.path, volume, block)
        chosen = None if mask is None else mask.read(block.core) > 0.5
        masked += 0 if chosen is None else int(chosen.sum())
        at = sample.places(block.core)
        grey = volume[block.inside][at].copy()  # before the filter overwrites it
        response = difference_of_gaussians(volume, settings.widths_voxel, available_cpus())
        sample.add(response[block.inside][at], grey, None if chosen is None else chosen[at])
        if len(plan) == 1:  # the sign is known now, and one kind of peaks is enough
            signs = (settings.contrast or _sign(sample, settings).sign,)
        for sign in signs:
            places, values = local_maxima(response, block.inside, sign)
            places += np.array([each.start for each in block.read])
            keep = _allowed(places, tomogram.shape, settings.exclude_edge_voxels, chosen, block)
            found[sign].append((places[keep].astype(np.int32), values[keep]))
        progress(number + 1, len(plan))
    if mask is not None and not masked:
        raise ZooError(f"{mask.path}: no voxel exceeds 0.5; a mask is 1 where to look, else 0")
    return _choose(tomogram, settings, sample, found, len(plan))


def _choose(tomogram, settings, sample: ResponseSample, found, blocks: int) -> Picks:
    values, padding = sample.values()
    middle, spread = middle_and_spread(values)
    if not spread > 0:
        raise ZooError(f"{tomogram.path}: its voxels are all equal where particles are looked for")
    notes = []
    if padding:
        share = f"{100 * padding:.0f} %"
        notes.append(f"{share} of the voxels have one grey value: taken as padding, not as noise")
    sign, words = settings.contrast, "as given"
    if not sign:
        sign, words, more = _in_words(_sign(sample, settings))
        notes += more
    places = np.concatenate([each[0] for each in found[sign]])
    scores = (np.concatenate([each[1] for each in found[sign]]).astype(np.float64) - sign * middle) / spread
    best = float(scores.max(initial=-math.inf))
    high = np.flatnonzero(scores >= settings.threshold)
    if not len(high):
        reached = f"the best of {len(scores)} has {best:.3g}" if len(scores) else "there is no peak at all"
        raise ZooError(
            f"{tomogram.path}: no peak scores {settings.threshold:g} or more ({reached}); lower --threshold, "
            "or correct --contrast, --mask or --exclude-edge"
        )
    kept = high[best_apart(places[high], scores[high], settings.distance_voxels, settings.count)]
    if settings.count is not None and len(kept) < settings.count:
        wanted = f"--count {settings.count}"
        notes.append(f"{len(kept)} picks, {wanted}: no more peaks score {settings.threshold:g}")
    return Picks(places[kept, ::-1].astype(np.float64), scores[kept], sign, words, len(places), blocks, notes)


def _sign(sample: ResponseSample, settings: PickSettings) -> SignMeasure:
    values, _ = sample.values()
    middle, spread = middle_and_spread(values)
    z = (values - middle) / spread if spread > 0 else np.zeros(1)
    return measure_sign(z, len(values) * sample.step**3, settings.widths_voxel)


def _in_words(measure: SignMeasure) -> tuple[int, str, list[str]]:
    word = "bright (+1)" if measure.sign > 0 else "dark (-1)"
    words = f"particles are {word}, {100 * measure.confidence:.2f} % sure, skewness {measure.skewness:+.3f}"
    unsure = f"the contrast sign is not sure ({words}): look at the picture, or give --contrast"
    return measure.sign, words, [unsure] if measure.confidence < _SURE else []


def _check_shapes(tomogram: TomogramBlocks, settings: PickSettings, mask: TomogramBlocks | None) -> None:
    size = " x ".join(str(side) for side in tomogram.shape[::-1])
    if 1 in tomogram.shape:
        raise ZooError(f"{tomogram.path}: {size} voxels: one section is an image, expected a tomogram")
    least = math.ceil(2 * settings.sigma_voxels)
    if min(tomogram.shape) < least:
        raise ZooError(
            f"{tomogram.path}: {size} voxels, expected at least {least} along each axis for --sigma "
            f"{settings.sigma_voxels:.3g}; give a smaller --sigma or --diameter"
        )
    if 2 * settings.exclude_edge_voxels >= min(tomogram.shape):
        raise ZooError(
            f"{tomogram.path}: {size} voxels: --exclude-edge {settings.exclude_edge_voxels} leaves nothing"
        )
    if mask is not None and mask.shape != tomogram.shape:
        given = " x ".join(str(side) for side in mask.shape[::-1])
        raise ZooError(f"{mask.path}: a mask of {given} voxels, the tomogram has {size}; give its own mask")


def _refuse_non_finite(path: str, volume: np.ndarray, block: Block) -> None:
    finite = np.isfinite(volume)
    if finite.all():
        return
    first = np.argwhere(~finite)[0] + [each.start for each in block.read]
    raise ZooError(
        f"{path}: voxel {first[2]}, {first[1]}, {first[0]} (x, y, z from 0) is NaN or infinite, and "
        f"{int(finite.size - finite.sum()) - 1} more near it; repair the tomogram (set them to its mean)"
    )


def _allowed(places, shape, edge, chosen, block) -> np.ndarray:
    keep = ((places >= edge) & (places < np.array(shape) - edge)).all(axis=1)
    if chosen is not None:
        keep &= chosen[tuple((places - [each.start for each in block.core]).T)]
    return keep
