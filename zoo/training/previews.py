"""Pictures and maps of a model in training: PNG grids, MRC volumes and CSV tables under ``samples/``.

A preview is a dict of items by name (`zoo.models.preview`); a dict in it is a group of them, and plain arrays
are taken by their axes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zoo.files import whole_file, whole_path
from zoo.models.preview import Curve, Figure, Images, Item, Maps, Table, central_slices, typed

_MOST_IMAGES = 64


def figures_of(preview: Mapping[str, Any]) -> dict[str, float]:
    """The single numbers of a preview, by name."""
    return {name: item.value for name, item in _items(preview).items() if isinstance(item, Figure)}


def write_preview(
    folder: str | Path, step: int, preview: Mapping[str, Any], voxel_size_angstrom: float
) -> dict[str, Path]:
    """Write a preview's images, maps and tables under ``folder``; returns the PNG files by name."""
    folder = Path(folder)
    pictures = {}
    for name, item in _items(preview).items():
        stem = f"step-{step:08d}-{name}"
        if isinstance(item, Curve):
            item = Table(np.column_stack([item.x, item.y]))
        if isinstance(item, Table):
            with whole_file(folder / f"{stem}.csv", "w") as file:
                np.savetxt(file, item.values, fmt="%.6g", delimiter=",")
        if isinstance(item, Maps):
            _write_maps(folder, stem, item.values, voxel_size_angstrom)
            item = Images(np.concatenate([central_slices(volume) for volume in item.values]), 3)
        if isinstance(item, Images):
            pictures[name] = folder / f"{stem}.png"
            write_grid(pictures[name], item.values[:_MOST_IMAGES], item.columns or None)
    return pictures


def write_grid(path: str | Path, images: np.ndarray, columns: int | None = None) -> None:
    """Draw images (n, y, x) in rows of ``columns``, each on its own grey scale, as one PNG."""
    import matplotlib.image

    count, height, width = images.shape
    columns = min(columns or int(np.ceil(np.sqrt(count))), count)
    rows = -(-count // columns)
    scale = max(1, round(128 / max(height, width)))
    canvas = np.full((rows * (height * scale + 2) - 2, columns * (width * scale + 2) - 2), 255, np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * (height * scale + 2), i % columns * (width * scale + 2)
        grey = np.repeat(np.repeat(_grey(image), scale, axis=0), scale, axis=1)
        canvas[top : top + grey.shape[0], left : left + grey.shape[1]] = grey
    with whole_path(path) as temporary:
        matplotlib.image.imsave(temporary, np.stack([canvas] * 3, axis=-1), format="png")


def _items(preview: Mapping[str, Any]) -> dict[str, Item]:
    flat: dict[str, Item] = {}
    for name, value in preview.items():
        if isinstance(value, Mapping):
            flat.update({f"{name}-{key}": item for key, item in _items(value).items()})
        else:
            flat[name] = typed(name, value)
    return flat


def _grey(image: np.ndarray) -> np.ndarray:
    """0…255 between the 0.5th and 99.5th percentile: one hot pixel must not blacken the rest."""
    finite = image[np.isfinite(image)]
    low, high = np.percentile(finite, (0.5, 99.5)) if finite.size else (0.0, 0.0)
    if not high > low:
        return np.full(image.shape, 127, np.uint8)
    return (np.clip(np.nan_to_num((image - low) / (high - low)), 0, 1) * 255).astype(np.uint8)


def _write_maps(folder: Path, stem: str, volumes: np.ndarray, voxel_size_angstrom: float) -> None:
    from zoo.data.formats.mrc import write_volume

    for i, volume in enumerate(volumes):
        suffix = f"-{i}" if len(volumes) > 1 else ""
        write_volume(folder / f"{stem}{suffix}.mrc", volume, voxel_size_angstrom)
