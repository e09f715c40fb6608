"""Pictures and maps of a model in training: PNG grids and MRC volumes under ``samples/``.

A preview is a dict of arrays by name; a dict in it is a group of them. By its axes an array is

- a figure (one number): it goes to ``metrics.csv`` and TensorBoard;
- a table (n, k), written as CSV;
- images (n, y, x) or (n, y, x, 1), drawn as a grid, or (n, k, y, x), drawn with k in a row;
- volumes (n, z, y, x) or (z, y, x) where its name starts with ``map``, written as MRC with their
  voxel size and drawn as three central slices each.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_MOST_IMAGES = 64


def figures_of(preview: Mapping[str, Any]) -> dict[str, float]:
    """The single numbers of a preview, by name."""
    return {name: float(value) for name, value in _arrays(preview).items() if value.size == 1}


def write_preview(
    folder: str | Path, step: int, preview: Mapping[str, Any], voxel_size_angstrom: float
) -> dict[str, Path]:
    """Write a preview's images and maps under ``folder``; returns the PNG files by name."""
    folder = Path(folder)
    pictures = {}
    for name, array in _arrays(preview).items():
        if array.size == 1:
            continue
        stem = f"step-{step:08d}-{name}"
        if array.ndim == 2:
            np.savetxt(folder / f"{stem}.csv", array, fmt="%.6g", delimiter=",")
            continue
        if name.startswith("map"):
            volumes = array[None] if array.ndim == 3 else array.reshape(-1, *array.shape[1:4])
            _write_maps(folder, stem, volumes, voxel_size_angstrom)
            array = np.stack([central_slices(volume) for volume in volumes])
        images, columns = _as_images(array)
        pictures[name] = folder / f"{stem}.png"
        write_grid(pictures[name], images[:_MOST_IMAGES], columns)
    return pictures


def central_slices(volume: np.ndarray) -> np.ndarray:
    """The three slices (3, n, n) through the centre voxel n//2 of a cube, across z, y and x."""
    z, y, x = (size // 2 for size in volume.shape)
    return np.stack([volume[z], volume[:, y], volume[:, :, x]])


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
    matplotlib.image.imsave(path, np.stack([canvas] * 3, axis=-1), format="png")


def _arrays(preview: Mapping[str, Any]) -> dict[str, np.ndarray]:
    flat = {}
    for name, value in preview.items():
        if isinstance(value, Mapping):
            flat.update({f"{name}-{key}": array for key, array in _arrays(value).items()})
        else:
            flat[name] = np.asarray(value, np.float32)
    return flat


def _as_images(array: np.ndarray) -> tuple[np.ndarray, int | None]:
    """Images (n, y, x) and how many go in a row (None: as square as can be)."""
    if array.ndim == 4 and array.shape[-1] != 1:
        return array.reshape(-1, *array.shape[2:]), array.shape[1]
    return array.reshape(array.shape[:3]), None


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
