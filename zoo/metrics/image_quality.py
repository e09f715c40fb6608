"""Pixel-wise likeness of two images or volumes: PSNR and SSIM."""

import numpy as np
from scipy.ndimage import gaussian_filter

from zoo.errors import ZooError


def psnr(image: np.ndarray, reference: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB; the peak is the range of `reference`. Equal images: infinity."""
    image, reference = _pair(image, reference)
    error = np.mean((image - reference) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(np.ptp(reference) ** 2 / error))


def ssim(image: np.ndarray, reference: np.ndarray, sigma_px: float = 1.5) -> float:
    """Mean structural similarity of images (y, x) or volumes (z, y, x) with a Gaussian window.

    Constants 0.01 and 0.03 times the range of `reference`. Source: Wang et al., IEEE TIP 13 (2004).
    """
    image, reference = _pair(image, reference)

    def blur(values):
        return gaussian_filter(values, sigma_px, truncate=3.5, mode="reflect")

    c1, c2 = (0.01 * np.ptp(reference)) ** 2, (0.03 * np.ptp(reference)) ** 2
    mean_a, mean_b = blur(image), blur(reference)
    variance_a = blur(image**2) - mean_a**2
    variance_b = blur(reference**2) - mean_b**2
    covariance = blur(image * reference) - mean_a * mean_b
    likeness = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return float(np.mean(likeness / ((mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2))))


def _pair(image, reference):
    image, reference = np.asarray(image, np.float64), np.asarray(reference, np.float64)
    if image.shape != reference.shape:
        raise ZooError(f"images of shape {image.shape} and {reference.shape}; expected equal shapes")
    if np.ptp(reference) == 0:
        raise ZooError("the reference image is constant; expected an image with contrast")
    return image, reference
