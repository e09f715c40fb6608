"""Figures a person can judge: the latent space as a scatter plot, maps as central slices (PNG)."""

import numpy as np

from zoo.analysis.maps import cluster_colour
from zoo.files import whole_path

_MOST_NAMED = 24  # clusters in a legend


def save_scatter(path, embedding, cluster, label=None, title: str = "", axis: str = "UMAP") -> None:
    """Scatter of an embedding (n, 2), coloured by cluster and, where known, by label (second panel).

    ``axis`` names the coordinates: "UMAP", or "latent" where two latents are drawn as they are.
    """
    panels = [("cluster", np.asarray(cluster))]
    if label is not None and (np.asarray(label) >= 0).any():
        panels.append(("label", np.asarray(label)))
    figure = new_figure(5.2 * len(panels), 4.8)
    for index, (name, values) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), index + 1)
        _scatter(axes, np.asarray(embedding), values, name)
        axes.set(xlabel=f"{axis} 1", ylabel=f"{axis} 2", title=f"by {name}")
        axes.set(aspect="equal", adjustable="datalim")
    if title:
        figure.suptitle(title)
    save_figure(figure, path)


def _scatter(axes, embedding, values, name) -> None:
    size = float(np.clip(20000 / max(len(embedding), 1), 0.5, 14))
    for value in np.unique(values):
        chosen = values == value
        text = f"{name} {value}" if value >= 0 else ("unassigned" if name == "cluster" else "unlabelled")
        # rasterised: 100,000 points stay a small file
        axes.scatter(
            *embedding[chosen].T,
            s=size,
            c=cluster_colour(int(value)),
            linewidths=0,
            label=f"{text} ({chosen.sum():,})",
            rasterized=True,
        )
    if len(np.unique(values)) > _MOST_NAMED:
        return
    axes.legend(markerscale=max(1.0, 4 / np.sqrt(size)), fontsize="small", frameon=False)


def save_slices(path, maps, titles=None, level: float | None = None) -> None:
    """Montage of the three central slices of maps (k, n, n, n): one row per map, columns z, y, x.

    All maps share one grey scale; `level` draws the contour that the ChimeraX scripts use.
    """
    maps = np.asarray(maps)
    save_planes(path, [central_planes(volume) for volume in maps], maps, titles, level)


def central_planes(volume) -> list[np.ndarray]:
    """Copies of the three planes through voxel n // 2 of a map, normal to z, y and x."""
    return [volume.take(volume.shape[axis] // 2, axis=axis) for axis in range(3)]


def save_planes(path, planes, values, titles=None, level: float | None = None) -> None:
    """`save_slices` of the `central_planes` of each map; `values`, all or some, set the grey scale."""
    low, high = np.percentile(values, [0.5, 99.9])
    figure = new_figure(6.3, 2.1 * len(planes) + 0.3)
    axes = figure.subplots(len(planes), 3, squeeze=False)
    for row, three in enumerate(planes):
        for column, (name, plane) in enumerate(zip("zyx", three, strict=True)):
            panel = axes[row, column]
            # origin lower: y grows upwards, as ChimeraX and RELION's display show it
            panel.imshow(plane, cmap="gray", vmin=low, vmax=high, origin="lower", interpolation="nearest")
            if level is not None and plane.min() < level < plane.max():
                panel.contour(plane, levels=[level], colors="#e69f00", linewidths=0.7)
            panel.set(xticks=[], yticks=[])
            if row == 0:
                panel.set_title(f"central slice in {name}", fontsize="small")
        axes[row, 0].set_ylabel(titles[row] if titles else f"map {row}", fontsize="small")
    save_figure(figure, path)


def new_figure(width_inch: float, height_inch: float):
    """An empty matplotlib figure that needs no display."""
    # No pyplot: no global state, no display, nothing to close.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_inch, height_inch), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure, path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with whole_path(path) as partial:
        figure.savefig(partial, format="png", dpi=120, metadata={"Software": "zoo"})
