"""What each voxel of a tomogram is, in colours over its sections (PNG)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from zoo.analysis.figures import save_figure
from zoo.analysis.maps import cluster_colour
from zoo.analysis.sections import draw_sections

_OPACITY = 0.45


def save_labels(
    path,
    read: Callable[[tuple[slice, slice, slice]], np.ndarray],
    labels: np.ndarray,
    names: Sequence[str],
) -> None:
    """Six sections of a tomogram with the ``labels`` (z, y, x) over them: 1 has the first of ``names``, 0
    none.

    ``read`` gives a part of the tomogram; colours are those of the ChimeraX script (`cluster_colour`).
    """
    table = label_colours(len(names), _OPACITY)
    shape = labels.shape

    def draw(panel, z: int, step: int) -> None:
        extent = (-0.5, shape[2] - 0.5, -0.5, shape[1] - 0.5)
        colours = table[labels[z, ::step, ::step]]
        panel.imshow(colours, origin="lower", extent=extent, interpolation="nearest")

    figure = draw_sections(read, shape, draw)
    shares = [float((labels == number).mean()) for number in range(1, len(names) + 1)]
    words = "   ".join(
        f"{name}: {share:.1%} of the voxels" for name, share in zip(names, shares, strict=True)
    )
    figure.suptitle(words, fontsize="small")
    label_legend(figure, names)
    save_figure(figure, path)


def label_colours(count: int, opacity: float) -> np.ndarray:
    """RGBA (count + 1, 4) of labels 0 to ``count``: 0 is transparent, the others are `cluster_colour`."""
    from matplotlib.colors import to_rgba

    return np.array([(0, 0, 0, 0), *(to_rgba(cluster_colour(k), opacity) for k in range(1, count + 1))])


def label_legend(figure, names: Sequence[str]) -> None:
    """The colours of labels 1, 2, ... with their ``names``, below a figure."""
    from matplotlib.patches import Patch

    handles = [Patch(color=cluster_colour(number), label=name) for number, name in enumerate(names, 1)]
    figure.legend(
        handles=handles,
        fontsize="small",
        frameon=False,
        loc="outside lower center",
        ncols=min(len(handles), 6),
    )
