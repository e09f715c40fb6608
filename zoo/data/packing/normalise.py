"""Grey values of particles on one scale: the background around the particle sets zero and unit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from zoo.data.packing.threads import one_blas_thread
from zoo.errors import ZooError

METHODS = ("background", "ramp", "signal", "tomogram", "none")
_CHUNK_PIXELS = 1 << 18


def default_radius(box: int) -> int:
    """Radius in pixels of the circle around the particle, 3/8 of the box, as RELION's own default."""
    return round(0.375 * box)


def background_mask(box: int, radius_pixels: float, ndim: int = 2) -> np.ndarray:
    """Pixels farther than ``radius_pixels`` from pixel box//2 on each of ``ndim`` axes: (y, x) bool.

    Raises ZooError if the circle leaves no background or no particle.
    """
    check_radius(box, radius_pixels)
    axis = np.arange(box) - box // 2
    squares = [grid**2 for grid in np.meshgrid(*[axis] * ndim, indexing="ij")]
    return np.sum(squares, axis=0) > radius_pixels**2


def check_radius(box: int, radius_pixels: float) -> None:
    """Raise ZooError for a circle that leaves no background or no particle (one of NaN, too)."""
    if not 0 < radius_pixels < box / 2:
        raise ZooError(
            f"background radius {radius_pixels:g} pixels: expected more than 0 and less than "
            f"{box / 2:g} (half the box), so that there is particle and background"
        )


def normalise(
    images: np.ndarray, radius_pixels: float | None = None, method: str = "background"
) -> np.ndarray:
    """Normalise images (k, y, x) or volumes (k, z, y, x) by the background outside a circle or sphere.

    Returns a new float32 array.

    ``background``: subtract the background mean, divide by the background's standard deviation
    (``relion_preprocess --norm --no_ramp``). ``ramp``: subtract a plane fitted to the background
    instead of its mean (RELION's default). ``signal``: subtract the background mean, divide by the
    difference between the mean inside the circle and the background mean (eq. 49 of the VAE-GAN
    thesis to the letter; it turns dark particles bright and needs images with strong signal).
    ``none``: as they are; so ``tomogram``, whose boxes come on the scale of their tomogram. ``radius_pixels``
    defaults to ``default_radius``. An image with a constant background (masked, such as a class average) is
    divided by the standard deviation of the whole image instead; a blank image becomes zero. Raises ZooError
    for an unknown method or radius.
    """
    if method not in METHODS:
        raise ZooError(f"unknown normalisation {method!r}; choose one of {', '.join(METHODS)}")
    images = np.asarray(images, dtype=np.float32)
    if method in ("none", "tomogram"):
        return images.copy()
    box, ndim = images.shape[-1], images.ndim - 1
    geometry = _geometry(box, float(default_radius(box) if radius_pixels is None else radius_pixels), ndim)
    out = np.empty_like(images, order="C")
    step = max(_CHUNK_PIXELS // box**ndim, 1)  # a few images at a time stay in the processor's cache
    for start in range(0, len(images), step):
        chunk = out[start : start + step].reshape(-1, box**ndim)
        chunk[...] = images[start : start + step].reshape(chunk.shape)
        with one_blas_thread():
            scale = _centre(chunk, geometry, method)
        if not scale.all():
            index = start + int(np.argmin(scale != 0))
            raise ZooError(
                f"image {index + 1} of the batch: signal and background have the same mean, so 'signal' "
                f"normalisation divides by zero; use 'background'"
            )
        chunk /= scale[:, None]
    return out


@dataclass(frozen=True)
class _Geometry:
    """Weights over the pixels of an image that give means outside and inside the circle, and a plane."""

    outside: np.ndarray  # (pixels,)
    inside: np.ndarray  # (pixels,)
    fit_plane: np.ndarray  # (pixels, axes + 1): image → least-squares plane through its background
    plane: np.ndarray  # (axes + 1, pixels): plane → image


@lru_cache(maxsize=4)
def _geometry(box: int, radius_pixels: float, ndim: int) -> _Geometry:
    mask = background_mask(box, radius_pixels, ndim).reshape(-1)
    axis = np.arange(box, dtype=np.float64) - box // 2
    grids = [grid.reshape(-1) for grid in np.meshgrid(*[axis] * ndim, indexing="ij")]
    plane = np.stack([*grids[::-1], np.ones(box**ndim)])
    fit_plane = np.zeros((box**ndim, ndim + 1))
    ring = plane[:, mask]
    fit_plane[mask] = np.linalg.solve(ring @ ring.T, ring).T
    weights = (mask / mask.sum(), ~mask / (~mask).sum(), fit_plane, plane)
    return _Geometry(*(array.astype(np.float32) for array in weights))


def _centre(chunk: np.ndarray, geometry: _Geometry, method: str) -> np.ndarray:
    """Subtract the background of (k, pixels) in place; return what to divide each by (0: impossible)."""
    rounding = 1e-6 * np.maximum(chunk.max(axis=1), -chunk.min(axis=1))  # less is float32 noise
    chunk -= (chunk @ geometry.outside)[:, None]
    chunk -= (chunk @ geometry.outside)[:, None]  # the first sum rounds where the mean is large
    if method == "signal":
        scale = chunk @ geometry.inside
        return np.where(np.abs(scale) > rounding, scale, 0)
    if method == "ramp":
        chunk -= (chunk @ geometry.fit_plane) @ geometry.plane
    squares = np.square(chunk)
    scale = np.sqrt(squares @ geometry.outside)
    whole = np.sqrt(np.maximum(squares.mean(axis=1) - np.square(chunk.mean(axis=1)), 0))
    scale = np.where(scale > np.maximum(rounding, 1e-5 * whole), scale, whole)
    blank = scale <= rounding
    chunk[blank] = 0.0
    return np.where(blank, 1.0, scale)
