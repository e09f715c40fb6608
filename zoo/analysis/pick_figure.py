"""Picks drawn into sections of their tomogram (PNG), right and wrong ones apart where the truth is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from zoo.analysis.figures import save_figure
from zoo.analysis.sections import draw_sections

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

    def draw(panel, z: int, step: int) -> None:
        for name, places in groups.items():
            away = places[:, 2] - z
            for x, y, off in zip(places[:, 0], places[:, 1], away, strict=True):
                if abs(off) < radius_voxel:
                    size = float(np.sqrt(radius_voxel**2 - off**2))
                    panel.add_patch(Circle((x, y), size, fill=False, color=_COLOURS[name], linewidth=0.9))

    figure = draw_sections(read, shape, draw)
    shown = "   ".join(f"{name}: {len(places)}" for name, places in groups.items())
    figure.suptitle("circles: " + shown, fontsize="small")
    handles = [Circle((0, 0), 1, fill=False, color=_COLOURS[name], label=name) for name in groups]
    place = {"loc": "outside lower center", "ncols": len(handles)}
    figure.legend(handles=handles, fontsize="small", frameon=False, **place)
    save_figure(figure, path)
