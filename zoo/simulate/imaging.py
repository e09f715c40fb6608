"""From a posed map to its subtomogram: through projections and reconstruction, or directly in 3D."""

from dataclasses import dataclass

import numpy as np
from scipy import fft

from zoo.data.wedge import wedge_mask
from zoo.ops.ctf_values import ctf_values
from zoo.simulate.classes import ClassMaps
from zoo.simulate.project import Projector
from zoo.simulate.reconstruct import TiltReconstructor
from zoo.simulate.rotate import Rotator
from zoo.simulate.subtomogram_settings import SubtomogramSettings
from zoo.simulate.tilt_axis import AboutX
from zoo.simulate.tilt_series import detector_mtf, views

_PILOT_PARTICLES = 64
_PILOT_NOISES = 16
_PILOT_STREAM, _NOISE_STREAM = 1, 2


@dataclass(frozen=True)
class Calibration:
    """Factor on each map, noise standard deviation where it is added, and the SNR of each class.

    `snr` is that of the subtomograms, `snr_projections` that of the projections; None where there are none.
    """

    scales: tuple[float, ...]
    sigma: float
    snr: tuple[float, ...] | None
    snr_projections: tuple[float, ...] | None


class TiltImager:
    """Subtomograms as a microscope makes them: projections, CTF, MTF, noise, reconstruction.

    `transfer` (n, n, n), DC at n // 2, is what a particle's transform is multiplied with on the way.
    """

    def __init__(self, classes: ClassMaps, settings: SubtomogramSettings):
        self.box, self._seed = classes.box, settings.seed
        self._tilts = settings.tilts.matrices()
        self._reconstruct = TiltReconstructor(self.box, settings.tilts.angles_deg())
        self._projectors = [Projector(density, classes.voxel_size_angstrom) for density in classes.maps]
        frequency = self._projectors[0].frequency_per_angstrom * classes.voxel_size_angstrom
        factor = image_transfer(frequency, classes.voxel_size_angstrom, settings)
        self._image_transfer = np.broadcast_to(factor.astype(np.float32), (len(self._tilts), len(factor)))
        lines = self._reconstruct.line_frequency
        factor = image_transfer(lines.reshape(2, -1), classes.voxel_size_angstrom, settings)
        self.transfer = self._reconstruct.transfer_volume(factor.reshape(lines.shape[1:]))

    def projections(self, label: int, pose: np.ndarray, origin_voxels: np.ndarray) -> np.ndarray:
        """Noise-free images (tilts, y, x) of a class in a pose (3, 3) with an origin (3,) in voxels."""
        matrices, origins = views(self._tilts, pose, origin_voxels)
        return self._projectors[label].project(matrices, origins, self._image_transfer)

    def subtomogram(self, label, pose, origin_voxels, scale, sigma, particle) -> np.ndarray:
        """Volume (z, y, x) float32; its noise depends on (seed, particle) alone."""
        images = self.projections(label, pose, origin_voxels) * np.float32(scale)
        if sigma > 0:
            images += np.float32(sigma) * _noise(images.shape, self._seed, _NOISE_STREAM, particle)
        return self._reconstruct(images)

    def signal_variances(self, label, pose, origin_voxels) -> tuple[float, float]:
        """Variance of the noise-free subtomogram, and the mean one of its projections."""
        images = self.projections(label, pose, origin_voxels)
        return float(self._reconstruct(images).var()), float(images.var(axis=(1, 2)).mean())

    def noise_variance(self) -> float:
        """Variance in the volume of white noise of variance 1 at the projections."""
        shape = (len(self._tilts), self.box, self.box)
        noises = (_noise(shape, self._seed, _PILOT_STREAM, number) for number in range(_PILOT_NOISES))
        return float(np.mean([self._reconstruct(noise).var() for noise in noises]))


class QuickImager:
    """Subtomograms made in 3D: the posed map, white noise, then the wedge; no optics."""

    def __init__(self, classes: ClassMaps, settings: SubtomogramSettings):
        self.box, self._seed = classes.box, settings.seed
        angles = settings.tilts.angles_deg()
        self._rotators = [Rotator(density) for density in classes.maps]
        self.transfer = wedge_mask(self.box, float(angles.min()), float(angles.max()))
        self._wedge = fft.ifftshift(self.transfer)[..., : self.box // 2 + 1]

    def subtomogram(self, label, pose, origin_voxels, scale, sigma, particle) -> np.ndarray:
        """Volume (z, y, x) float32; its noise depends on (seed, particle) alone."""
        volume = self._rotators[label](pose, origin_voxels) * np.float32(scale)
        if sigma > 0:
            volume += np.float32(sigma) * _noise(volume.shape, self._seed, _NOISE_STREAM, particle)
        return fft.irfftn(fft.rfftn(volume) * self._wedge, s=volume.shape).astype(np.float32, copy=False)

    def signal_variances(self, label, pose, origin_voxels) -> tuple[float, None]:
        """Variance of the noise-free volume before the wedge; there are no projections."""
        return float(self._rotators[label](pose, origin_voxels).var()), None

    def noise_variance(self) -> float:
        """1: noise is added to the volume itself."""
        return 1.0


def make_imager(classes: ClassMaps, settings: SubtomogramSettings) -> TiltImager | QuickImager | AboutX:
    """What makes the subtomograms of these settings."""
    imager = QuickImager(classes, settings) if settings.quick else TiltImager(classes, settings)
    return AboutX(imager) if settings.tilts.axis == "x" else imager


def image_transfer(frequency: np.ndarray, voxel_size_angstrom: float, settings) -> np.ndarray:
    """CTF and MTF (m,) at frequencies (2, m) in cycles/pixel, as the settings ask for them."""
    factor = np.ones(frequency.shape[1])
    if settings.apply_ctf:
        factor = ctf_values(settings.ctf_row(), frequency / voxel_size_angstrom)[0]
        if settings.phase_flip:
            factor = np.abs(factor)  # flipping the noise with it leaves white noise white
    if settings.apply_mtf:
        factor = factor * detector_mtf(np.hypot(*frequency))
    return factor


def calibrate(imager, label, poses, origins, settings: SubtomogramSettings) -> Calibration:
    """Scale maps and noise so that the set has its SNR, by the first particles of each class."""
    volume, image = [], []  # mean signal variance per class
    for kind in range(int(label.max()) + 1):
        rows = np.flatnonzero(label == kind)[:_PILOT_PARTICLES]
        pairs = [imager.signal_variances(kind, poses[row], origins[row]) for row in rows]
        volume.append(np.mean([pair[0] for pair in pairs]))
        image.append(np.nan if settings.quick else np.mean([pair[1] for pair in pairs]))
    volume, image = np.array(volume), np.array(image)
    if settings.snr is None:
        wanted = volume.mean() if settings.common_scale else volume
        scales, sigma = np.sqrt(1 / (wanted + 0 * volume)), 0.0
        return Calibration(tuple(scales.tolist()), sigma, None, None)
    noise = imager.noise_variance()
    sigma = noise**-0.5
    signal, against = (image, sigma**2) if settings.snr_of == "projections" else (volume, 1.0)
    if settings.common_scale:
        signal = np.full_like(signal, signal.mean())
    scales = np.sqrt(settings.snr * against / signal)
    of_projections = None if settings.quick else tuple((scales**2 * image / sigma**2).tolist())
    return Calibration(tuple(scales.tolist()), sigma, tuple((scales**2 * volume).tolist()), of_projections)


def _noise(shape, seed, stream, number):
    """Standard normal float32 array, a function of (seed, stream, number) alone."""
    # Philox is counter-based: a generator per particle costs microseconds and needs no order
    generator = np.random.Generator(np.random.Philox(key=[seed, (stream << 40) + int(number)]))
    return generator.standard_normal(shape, dtype=np.float32)
