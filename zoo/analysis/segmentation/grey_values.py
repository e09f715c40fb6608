"""A tomogram as a model wants it: rescaled where asked, on one grey scale, mirrored at its faces."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from zoo.data.formats.tomogram_blocks import TomogramBlocks
from zoo.data.formats.tomogram_scale import Blocks, GreyScale
from zoo.errors import ZooError

Part = tuple[slice, slice, slice]
_SPLINE_REACH = 16  # voxels; beyond it a cubic spline's filter is below float rounding
_BLUR_REACH = 4.0  # standard deviations


class RescaledBlocks:
    """A tomogram at another voxel size, ``factor`` times its own, by parts; the first voxels coincide.

    Cubic splines; before it is made coarser it is smoothed, with a standard deviation of half of what a voxel
    grows by. The parts are those of the whole at once, to float rounding.
    """

    def __init__(self, tomogram: TomogramBlocks, factor: float):
        self.path, self._tomogram, self.factor = tomogram.path, tomogram, float(factor)
        z, y, x = (max(int((size - 1) / factor + 1e-6) + 1, 1) for size in tomogram.shape)
        self.shape = (z, y, x)
        self.voxel_size_angstrom = tomogram.voxel_size_angstrom * factor
        self._sigma = max(self.factor - 1, 0.0) / 2

    def read(self, part: Part) -> np.ndarray:
        """Voxels of a part (slices along z, y, x with start and stop), float32."""
        reach = _SPLINE_REACH + int(np.ceil(_BLUR_REACH * self._sigma))
        read, starts = [], []
        for along, size in zip(part, self._tomogram.shape, strict=True):
            low = max(int(along.start * self.factor) - reach, 0)
            high = min(int(np.ceil((along.stop - 1) * self.factor)) + reach + 1, size)
            read.append(slice(low, high))
            starts.append(along.start * self.factor - low)
        values = self._tomogram.read((read[0], read[1], read[2])).astype(np.float64)
        if self._sigma:
            values = ndimage.gaussian_filter(values, self._sigma, mode="mirror", truncate=_BLUR_REACH)
        shape = tuple(along.stop - along.start for along in part)
        scale = np.full(3, self.factor)
        return ndimage.affine_transform(
            values, scale, starts, shape, order=3, mode="mirror", output=np.float32
        )


class GreyValues:
    """Parts of a tomogram as a model is given them, also beyond its faces, where it is mirrored.

    ``scale`` (None: as stored) and ``sign`` are applied. Raises ZooError for values that are not finite.
    """

    def __init__(self, blocks: Blocks, scale: GreyScale | None, sign: int):
        self.blocks, self.scale, self.sign = blocks, scale, sign
        self.path, self.shape = blocks.path, blocks.shape

    def read(self, part: Part) -> np.ndarray:
        """Voxels of a part (slices along z, y, x; start and stop may lie outside), float32."""
        places = [mirrored(each.start, each.stop, size) for each, size in zip(part, self.shape, strict=True)]
        z, y, x = (slice(int(each.min()), int(each.max()) + 1) for each in places)
        values = self.blocks.read((z, y, x))
        finite = np.isfinite(values)
        if not finite.all():
            at = np.argwhere(~finite)[0] + (z.start, y.start, x.start)
            raise ZooError(
                f"{self.path}: voxel {at[2]}, {at[1]}, {at[0]} (x, y, z from 0) is NaN or infinite; "
                "repair the tomogram (set such voxels to its mean)"
            )
        for axis, (each, inside) in enumerate(zip(places, (z, y, x), strict=True)):
            if len(each) != values.shape[axis] or each[0] != inside.start or each[-1] != inside.stop - 1:
                values = np.take(values, each - inside.start, axis=axis)
        if self.scale is not None:
            return self.scale.of(values, self.sign)
        return values if self.sign > 0 else -values


def mirrored(start: int, stop: int, size: int) -> np.ndarray:
    """The voxels (stop - start,) that stand for ``start`` to ``stop`` of an axis of ``size``, edges twice."""
    place = np.arange(start, stop) % (2 * size)
    return np.where(place < size, place, 2 * size - 1 - place)
