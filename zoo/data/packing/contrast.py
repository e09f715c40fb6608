"""The sign of the contrast, measured: are the particles brighter or darker than their surroundings?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from zoo.data.packing.resample import fourier_resample
from zoo.data.packing.shards import Reader
from zoo.errors import ZooError

_SIDE = 32  # low-pass: the sign is in the coarse shape, the noise in everything finer
_DISC_RADII = (0.15, 0.20, 0.25, 0.30)  # in box sides; particles fill between a third and two thirds


# Spread of the two signs in images of white noise (measured on 3,000). Fixed, not taken from the images at
# hand: divided by a spread of three images the sum is no longer Student's t, and noise seems sure too often.
_NOISE_DIFFERENCE, _NOISE_LEAN = 0.285, 0.18


@dataclass(frozen=True)
class ContrastMeasure:
    """``sign`` +1 for bright particles, −1 for dark ones, and how sure that is.

    ``score`` is the signed difference between centre and border in standard deviations of an
    image; ``confidence`` the probability, 0 to 1, that noise alone would have shown less.
    """

    sign: int
    score: float
    confidence: float
    images: int

    def __str__(self) -> str:
        word = "bright (+1)" if self.sign > 0 else "dark (-1)"
        sure = f"{100 * self.confidence:.2f} % sure from {self.images} images"
        return f"particles are {word}, {sure}, centre minus border {self.score:+.3f} std"


def measure_contrast(images: np.ndarray) -> ContrastMeasure:
    """Measure the contrast sign of (k, y, x) particle images, in any scale and with any offset.

    Two signs of a particle are looked for in every image after a strong low-pass: the centre
    differs from the border, and the grey values lean to the side of the few pixels that the
    particle covers (skewness). Both, in units of what white noise shows, are added and tested against
    zero over the images (Student's t). With fewer than 3 images the confidence is 0.
    """
    images = np.asarray(images, dtype=np.float32)
    if images.ndim != 3 or not len(images):
        raise ZooError(f"contrast is measured on (k, y, x) images, not on an array of shape {images.shape}")
    images = images - images.mean(axis=(1, 2), keepdims=True)
    spread = images.std(axis=(1, 2))
    images = images[spread > 0] / spread[spread > 0][:, None, None]
    if not len(images):
        return ContrastMeasure(1, 0.0, 0.0, 0)
    side = min(_SIDE, images.shape[-1])
    coarse = ndimage.gaussian_filter(fourier_resample(images, side), (0, 1, 1))
    axis = (np.arange(side) - side // 2) / side
    radius = np.hypot(axis[:, None], axis[None, :])
    border = coarse[:, (radius > 0.4) & (radius < 0.5)].mean(axis=1)
    centre = np.mean([coarse[:, radius < edge].mean(axis=1) for edge in _DISC_RADII], axis=0)
    difference = centre - border
    inside = coarse[:, radius < 0.45]
    from scipy import stats  # takes half a second, and a refused command does without it

    lean = stats.skew(inside, axis=1)
    score = float(difference.mean())
    count = len(images)
    if count < 3:
        return ContrastMeasure(1 if score + lean.mean() >= 0 else -1, score, 0.0, count)
    scale = coarse.std(axis=(1, 2))
    scale[scale == 0] = 1.0
    evidence = difference / scale / _NOISE_DIFFERENCE + lean / _NOISE_LEAN
    error = evidence.std(ddof=1) / np.sqrt(count)
    t = evidence.mean() / error if error > 0 else 0.0
    confidence = 1.0 - 2.0 * float(stats.t.sf(abs(t), count - 1))
    return ContrastMeasure(1 if t >= 0 else -1, score, confidence, count)


def measure_contrast_of(reader: Reader, max_images: int = 400) -> ContrastMeasure:
    """Measure the contrast sign on up to ``max_images`` particles, evenly spread over the data set.

    Of volumes the projections along z are looked at: in them the noise is less.
    """
    count = min(len(reader), max_images)
    indices = np.linspace(0, len(reader) - 1, count).round().astype(np.int64)
    if reader.table.image_ndim == 3:
        # One at a time: many volumes would fill memory.
        return measure_contrast(np.stack([reader.read([index])[0].sum(axis=0) for index in indices]))
    return measure_contrast(reader.read(indices))
