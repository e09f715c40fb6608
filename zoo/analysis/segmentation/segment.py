"""A tomogram and a trained model → what every voxel is: probabilities and classes, block by block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from zoo.analysis.markers import SEGMENTATION
from zoo.analysis.segmentation.grey_values import GreyValues, Part, RescaledBlocks
from zoo.analysis.segmentation.windows import BlendedWindows, WholeWindows, mirrored_ways, plan_cores
from zoo.data.formats.label_volume import LabelVolume, write_names
from zoo.data.formats.mrc_blocks import MrcBlockWriter
from zoo.data.formats.tomogram_blocks import TomogramBlocks
from zoo.data.formats.tomogram_scale import Blocks, measure_scale
from zoo.data.packing.normalise import normalise
from zoo.errors import ZooError
from zoo.metrics.overlap import overlap_counts

PROBABILITIES = ("float32", "float16", "none")
_SAME_VOXEL = 0.01
_BLENDED_CORE_BOXES = 3


@dataclass(frozen=True)
class SegmentSettings:
    """``window``: edge of what the model is given at once, in voxels. ``contrast``: the sign that grey values
    are multiplied with (0: that of the records the model learned from). ``rescale``: bring the tomogram to
    the model's voxel size. ``probabilities`` is how these are stored, or "none". ``voxel_size_angstrom``
    overrides the header. ``mirrors``: the mean of what the model says of each window and of its mirror
    images along x, y and z.
    """

    window: int = 96
    contrast: int = 0
    rescale: bool = False
    probabilities: str = "float32"
    voxel_size_angstrom: float | None = None
    mirrors: bool = False

    def check(self, multiple: int, reach: int) -> None:
        """Raise ZooError for a value that cannot be, of a model that sees ``reach`` voxels far."""
        least = 2 * -(-reach // multiple) * multiple + multiple
        if self.window % multiple or self.window < least:
            raise ZooError(
                f"--window {self.window}: expected a multiple of {multiple}, {least} or more: what the model "
                "sees of its middle"
            )
        if self.probabilities not in PROBABILITIES:
            raise ZooError(
                f"--probabilities {self.probabilities}: expected one of {', '.join(PROBABILITIES)}"
            )
        if self.contrast not in (-1, 0, 1):
            raise ZooError(f"--contrast {self.contrast}: expected auto, +1 or -1")


@dataclass(frozen=True)
class Segmented:
    """Voxels (classes,) of each class and the mean of its probability in them; ``truth`` has the counts of
    `overlap_counts` where the truth is known.
    """

    voxels: np.ndarray
    certainty: np.ndarray
    truth: dict[str, np.ndarray] | None = None


def open_grey(
    tomogram: TomogramBlocks, model, settings: SegmentSettings, notes: Callable[[str], None]
) -> tuple[GreyValues, float]:
    """The grey values of a tomogram as an opened model wants them, and their voxel size in Å.

    Raises ZooError for one section, another voxel size than the model's (unless that is brought to it), and
    as `measure_scale` does.
    """
    if min(tomogram.shape) == 1:
        size = " x ".join(str(side) for side in tomogram.shape[::-1])
        raise ZooError(f"{tomogram.path}: {size} voxels: one section is an image, expected a tomogram")
    own, wanted = settings.voxel_size_angstrom or tomogram.voxel_size_angstrom, model.voxel_size_angstrom
    blocks: Blocks = tomogram
    if not own:
        notes(
            f"{tomogram.path} states no voxel size: taken for the {wanted:.4g} Å that the model learned from"
        )
        own = wanted
    if abs(own / wanted - 1) > _SAME_VOXEL:
        if not settings.rescale:
            raise ZooError(
                f"{tomogram.path}: voxels of {own:.4g} Å, but the model learned from {wanted:.4g} Å; "
                "--rescale brings it to these, --pixel-size corrects a wrong header"
            )
        blocks = RescaledBlocks(tomogram, wanted / own)
        size = " x ".join(str(side) for side in blocks.shape[::-1])
        notes(f"rescaled from {own:.4g} to {wanted:.4g} Å: {size} voxels, and so are the results")
        own = wanted
    facts = model.trained_on
    sign = settings.contrast or int(facts.get("contrast_sign", 1))
    if sign < 0:
        notes("dark is taken for density, as in the records that the model learned from"
              if not settings.contrast else "dark is taken for density")  # fmt: skip
    scale = measure_scale(blocks) if facts.get("normalisation") == "tomogram" else None
    return GreyValues(blocks, scale, sign), own


def predictor(
    model, grey: GreyValues, settings: SegmentSettings
) -> tuple[WholeWindows | BlendedWindows, int]:
    """What gives the probabilities of a core, and the edge of a good core in voxels."""
    reach, multiple = int(model.segments["reach_voxels"]), int(model.segments["multiple"])

    def once(cubes: np.ndarray) -> np.ndarray:
        return model.apply("segment", {"volume": cubes[..., None]})["probability"]

    predict = mirrored_ways(once) if settings.mirrors else once
    method = model.trained_on.get("normalisation")
    if method in (None, "none", "tomogram"):
        side = settings.window - 2 * -(-reach // multiple) * multiple
        return WholeWindows(grey, predict, reach, multiple), side
    radius = model.trained_on.get("circle_radius_pixels")

    def normalised(cubes: np.ndarray) -> np.ndarray:
        return normalise(cubes, radius, method)

    box = int(model.box)
    return BlendedWindows(grey, predict, box, normalised), _BLENDED_CORE_BOXES * box


def segment(
    folder: Path,
    model,
    grey: GreyValues,
    voxel_size_angstrom: float,
    settings: SegmentSettings,
    origin_angstrom: tuple[float, float, float] = (0.0, 0.0, 0.0),
    places_voxel: np.ndarray | None = None,
    truth: LabelVolume | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Segmented:
    """Write segmentation.mrc (int8), its names, and probability_NAME.mrc of each class into ``folder``.

    ``places_voxel`` (n, 3) xyz: only cubes of the model's box around these are looked at; everything else is
    background. ``truth`` has the model's classes. Memory follows ``settings.window`` and the length of a row,
    not the number of rows and sections.
    """
    names: Sequence[str] = model.segments["class_names"]
    windows, side = predictor(model, grey, settings)
    cores = plan_cores(grey.shape, side, int(model.segments["multiple"]))
    kept, certainty = np.zeros(len(names)), np.zeros(len(names))
    sums: dict[str, np.ndarray] = {}
    files = {"labels": (folder / SEGMENTATION, "int8")}
    if settings.probabilities != "none":
        files |= {name: (folder / f"probability_{name}.mrc", settings.probabilities) for name in names}
    with ExitStack() as stack:
        writers = {
            key: stack.enter_context(
                MrcBlockWriter(path, grey.shape, dtype, voxel_size_angstrom, origin_angstrom)
            )
            for key, (path, dtype) in files.items()
        }
        done = 0
        for (z, y), along in groupby(cores, key=lambda core: core[:2]):
            # Whole rows are written at once: many small pieces of a file are slow.
            strip = np.empty((z.stop - z.start, y.stop - y.start, grey.shape[2], len(names)), np.float32)
            for core in along:
                strip[:, :, core[2]] = _probability(windows, core, places_voxel, model, len(names))
                done += 1
                progress(done, len(cores))
            part = z, y, slice(0, grey.shape[2])
            labels = strip.argmax(axis=-1).astype(np.int8)
            writers["labels"].write(part, labels)
            for each, name in enumerate(names):
                here = labels == each
                kept[each] += here.sum()
                certainty[each] += strip[..., each][here].sum(dtype=np.float64)
                if name in writers:
                    writers[name].write(part, strip[..., each])
            if truth is not None:
                for key, value in overlap_counts(labels, truth.part(part), len(names)).items():
                    sums[key] = sums.get(key, 0) + value
    write_names(folder / SEGMENTATION, names)
    return Segmented(kept.astype(np.int64), certainty / np.maximum(kept, 1), sums or None)


def _probability(windows, core: Part, places_voxel: np.ndarray | None, model, classes: int) -> np.ndarray:
    if places_voxel is None:
        return windows.of(core)
    near = _near(core, places_voxel, int(model.box))
    nothing = _nothing(core, classes)
    return np.where(near[..., None], windows.of(core), nothing) if near.any() else nothing


def _nothing(core: Part, classes: int) -> np.ndarray:
    probability = np.zeros((*(each.stop - each.start for each in core), classes), np.float32)
    probability[..., 0] = 1
    return probability


def _near(core: Part, places_voxel: np.ndarray, box: int) -> np.ndarray:
    """Which voxels of a core lie in a cube of ``box`` voxels around one of the places, bool (z, y, x)."""
    near = np.zeros(tuple(each.stop - each.start for each in core), bool)
    first = np.rint(places_voxel[:, ::-1]).astype(int) - box // 2
    low = np.array([each.start for each in core])
    high = np.array([each.stop for each in core])
    for start in first[((first < high) & (first + box > low)).all(axis=1)]:
        at = np.maximum(start - low, 0), np.minimum(start + box, high) - low
        near[tuple(slice(a, b) for a, b in zip(*at, strict=True))] = True
    return near
