"""Sections of a tomogram as panels of one figure, to draw into: picks as circles, labels as colours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from zoo.analysis.figures import new_figure
from zoo.errors import ZooError

_PANELS = 6
_HALF_THICKNESS = 2
_MOST_PIXELS = 700


def draw_sections(
    read: Callable[[tuple[slice, slice, slice]], np.ndarray],
    shape: tuple[int, int, int],
    draw: Callable[[object, int, int], None],
):
    """A figure of six sections of a tomogram (z, y, x), each the mean of five; the axes are in voxels.

    ``read`` gives a part of the tomogram; ``draw(panel, z, step)`` adds what belongs to a section of which
    every ``step``-th pixel is shown. Raises ZooError for voxels that are not finite.
    """
    count = min(_PANELS, shape[0])
    columns = min(3, count)
    rows = -(-count // columns)
    figure = new_figure(3.4 * columns, 3.4 * rows * min(shape[1] / shape[2], 2.0) + 0.5)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for number, panel in enumerate(panels):
        panel.set(xticks=[], yticks=[])
        if number >= count:
            panel.axis("off")
            continue
        z = int((number + 0.5) * shape[0] / count)
        low, high = max(z - _HALF_THICKNESS, 0), min(z + _HALF_THICKNESS + 1, shape[0])
        plane = np.zeros(shape[1:], np.float32)
        for section in range(low, high):
            plane += read((slice(section, section + 1), slice(0, shape[1]), slice(0, shape[2])))[0]
        if not np.isfinite(plane).all():
            raise ZooError(f"section {z} (from 0) holds voxels that are NaN or infinite; repair the tomogram")
        step = max(max(shape[1:]) // _MOST_PIXELS, 1)
        plane = ndimage.gaussian_filter(plane, step)[::step, ::step]
        dark, bright = np.percentile(plane, [0.5, 99.5])
        extent = (-0.5, shape[2] - 0.5, -0.5, shape[1] - 0.5)
        panel.imshow(plane, cmap="gray", vmin=dark, vmax=bright, origin="lower", extent=extent)
        panel.set_title(f"z = {z}", fontsize="small")
        draw(panel, z, step)
    return figure
