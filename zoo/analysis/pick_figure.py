"""Picks drawn into sections of their tomogram (PNG), right and wrong ones apart where the truth is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from zoo.analysis.figures import new_figure, save_figure

_PANELS = 6
_HALF_THICKNESS = 2
_MOST_PIXELS = 700
_COLOURS = {"pick": "#e69f00", "right": "#009e73", "wrong": "#d55e00", "missed": "#56b4e9"}


def save_picks(
    path,
    read: Callable[[tuple[slice, slice, slice]], np.ndarray],
    shape: tuple[int, int, int],
    groups: dict[str, np.ndarray],
    radius_voxel: float,
) -> None:
    """Six sections of a tomogram (z, y, x), each the mean of five, with a circle where a section cuts a ball.

    ``read`` gives a part of the tomogram; ``groups`` maps "pick", or "right", "wrong" and "missed", to places
    (n, 3) xyz in voxels, drawn as balls of ``radius_voxel``.
    """
    from matplotlib.patches import Circle

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
        step = max(max(shape[1:]) // _MOST_PIXELS, 1)
        plane = ndimage.gaussian_filter(plane, step)[::step, ::step]
        dark, bright = np.percentile(plane, [0.5, 99.5])
        panel.imshow(
            plane, cmap="gray", vmin=dark, vmax=bright, origin="lower",
            extent=(-0.5, shape[2] - 0.5, -0.5, shape[1] - 0.5),
        )  # fmt: skip
        panel.set_title(f"z = {z}", fontsize="small")
        for name, places in groups.items():
            away = places[:, 2] - z
            for x, y, off in zip(places[:, 0], places[:, 1], away, strict=True):
                if abs(off) < radius_voxel:
                    size = float(np.sqrt(radius_voxel**2 - off**2))
                    panel.add_patch(Circle((x, y), size, fill=False, color=_COLOURS[name], linewidth=0.9))
    shown = "   ".join(f"{name}: {len(places)}" for name, places in groups.items())
    figure.suptitle("circles: " + shown, fontsize="small")
    handles = [Circle((0, 0), 1, fill=False, color=_COLOURS[name], label=name) for name in groups]
    place = {"loc": "outside lower center", "ncols": len(handles)}
    figure.legend(handles=handles, fontsize="small", frameon=False, **place)
    save_figure(figure, path)
