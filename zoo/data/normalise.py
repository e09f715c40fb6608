"""Grey values of particles on one scale: the background around the particle sets zero and unit."""

from __future__ import annotations

import numpy as np

from zoo.errors import ZooError

METHODS = ("background", "ramp", "signal", "none")


def default_radius(box: int) -> int:
    """Radius in pixels of the circle around the particle, 3/8 of the box, as RELION's own default."""
    return round(0.375 * box)


def background_mask(box: int, radius_pixels: float) -> np.ndarray:
    """Pixels farther than ``radius_pixels`` from pixel (box//2, box//2): (y, x) bool.

    Raises ZooError if the circle leaves no background or no particle.
    """
    axis = np.arange(box) - box // 2
    mask = axis[:, None] ** 2 + axis[None, :] ** 2 > radius_pixels**2
    if not 0 < radius_pixels or not mask.any():
        raise ZooError(
            f"background radius {radius_pixels:g} pixels: expected more than 0 and less than "
            f"{box / 2:g} (half the box), so that there is particle and background"
        )
    return mask


def normalise(
    images: np.ndarray, radius_pixels: float | None = None, method: str = "background"
) -> np.ndarray:
    """Normalise (k, y, x) images by the background outside a circle; returns a new float32 array.

    ``background``: subtract the background mean, divide by the background's standard deviation
    (``relion_preprocess --norm --no_ramp``). ``ramp``: subtract a plane fitted to the background
    instead of its mean (RELION's default). ``signal``: subtract the background mean, divide by the
    difference between the mean inside the circle and the background mean (eq. 49 of the VAE-GAN
    thesis to the letter; it turns dark particles bright and needs images with strong signal).
    ``none``: as they are. ``radius_pixels`` defaults to ``default_radius``. An image with a constant
    background (masked, such as a class average) is divided by the standard deviation of the whole
    image instead; a blank image becomes zero. Raises ZooError for an unknown method or radius.
    """
    if method not in METHODS:
        raise ZooError(f"unknown normalisation {method!r}; choose one of {', '.join(METHODS)}")
    images = np.asarray(images, dtype=np.float32)
    if method == "none":
        return images.copy()
    count, box = len(images), images.shape[-1]
    radius = default_radius(box) if radius_pixels is None else radius_pixels
    mask = background_mask(box, radius).reshape(-1)
    weights = (mask / mask.sum()).astype(np.float32)
    flat = images.reshape(count, -1)
    rounding = 1e-6 * np.abs(flat).max(axis=1, initial=0)  # below this, differences are float32 noise
    flat = flat - (flat @ weights)[:, None]
    flat -= (flat @ weights)[:, None]  # once more: the first sum rounds where the mean is large
    if method == "signal":
        inside = (~mask / (~mask).sum()).astype(np.float32)
        scale = flat @ inside
        if (np.abs(scale) <= rounding).any():
            index = int(np.argmax(np.abs(scale) <= rounding))
            raise ZooError(
                f"image {index + 1} of the batch: signal and background have the same mean, so 'signal' "
                f"normalisation divides by zero; use 'background'"
            )
        return (flat / scale[:, None]).reshape(images.shape)
    if method == "ramp":
        flat -= _background_plane(flat, mask, box)
    scale = np.sqrt(np.square(flat) @ weights)
    whole = flat.std(axis=1)
    scale = np.where(scale <= np.maximum(rounding, 1e-5 * whole), whole, scale)
    blank = scale <= rounding
    flat /= np.where(blank, 1.0, scale)[:, None]
    flat[blank] = 0.0
    return flat.reshape(images.shape)


def _background_plane(flat: np.ndarray, mask: np.ndarray, box: int) -> np.ndarray:
    """Least-squares plane through the background pixels of every image, (k, pixels)."""
    axis = np.arange(box, dtype=np.float64) - box // 2
    y, x = (grid.reshape(-1) for grid in np.meshgrid(axis, axis, indexing="ij"))
    design = np.stack([x, y, np.ones(box * box)])
    solve = np.linalg.pinv(design[:, mask]).astype(np.float32)
    return (flat[:, mask] @ solve) @ design.astype(np.float32)
