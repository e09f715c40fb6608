"""Changing the sampling of images and volumes, with pixel N//2 staying the centre."""

from __future__ import annotations

import numpy as np
import scipy.fft

from zoo.data.packing.threads import one_blas_thread
from zoo.errors import ZooError

METHODS = ("fourier", "lanczos")


def resample(images: np.ndarray, box: int, method: str = "fourier") -> np.ndarray:
    """Resample images (k, y, x) or volumes (k, z, y, x) to ``box``; the pixel grows by old box / new box."""
    if method == "fourier":
        return fourier_resample(images, box, images.ndim - 1)
    if method == "lanczos":
        return lanczos_resample(images, box, images.ndim - 1)
    raise ZooError(f"unknown resampling {method!r}; choose one of {', '.join(METHODS)}")


def fourier_resample(array: np.ndarray, box: int, ndim: int = 2) -> np.ndarray:
    """Crop or pad the Fourier transform of the last ``ndim`` axes (2 images, 3 volumes) to ``box`` samples.

    Exact for arrays without frequencies at or above the new Nyquist frequency; grey values keep
    their scale; any sizes, even or odd. The new Nyquist frequency itself takes the mean of both
    ends. Returns float32 for float32.
    """
    _check_box(box)
    array = np.asarray(array)
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float32)
    axes = tuple(range(array.ndim - ndim, array.ndim))
    sizes = [array.shape[axis] for axis in axes]
    if all(size == box for size in sizes):
        return array.copy()
    transform = scipy.fft.rfft(array, axis=axes[-1])
    for axis, size in zip(reversed(axes), reversed(sizes), strict=True):
        half = axis == axes[-1]
        if not half:
            transform = scipy.fft.fft(transform, axis=axis, overwrite_x=True)
        if size != box:  # at once, so that the next axis is transformed for the kept frequencies only
            transform = _change_axis(transform, axis, size, box, half)
    scale = np.prod([box / size for size in sizes])
    result = scipy.fft.irfftn(transform, s=[box] * ndim, axes=axes)
    return (result * scale).astype(array.dtype, copy=False)


def lanczos_resample(
    array: np.ndarray, box: int, ndim: int = 2, lobes: int = 5, align: str = "centre"
) -> np.ndarray:
    """Resample the last ``ndim`` axes to ``box`` with a Lanczos kernel of ``lobes`` lobes.

    When the array shrinks, the kernel widens with it (anti-aliasing). ``align="centre"`` keeps
    sample N//2 the centre; ``"edges"`` maps the outer edges of the field onto each other, as image
    libraries do (``tf.image.resize(..., "lanczos5", antialias=True)``).
    """
    _check_box(box)
    array = np.asarray(array, dtype=np.float32)
    for axis in range(array.ndim - ndim, array.ndim):
        weights = _lanczos_weights(array.shape[axis], box, lobes, align)
        with one_blas_thread():
            array = np.moveaxis(np.moveaxis(array, axis, -1) @ weights.T, -1, axis)
    return np.ascontiguousarray(array)


def resample_at(images: np.ndarray, ratio: float, box: int) -> np.ndarray:
    """Images (k, y, x) on ``box`` samples that lie ``ratio`` old ones apart, (k, box, box) float32.

    As ``fourier_resample`` where the field stays the same; for every other ratio its exact continuation.
    """
    _check_box(box)
    matrix = interpolation_matrix(images.shape[-1], box, ratio).astype(np.float32)
    with one_blas_thread():
        return np.ascontiguousarray(matrix @ np.asarray(images, np.float32) @ matrix.T)


def interpolation_matrix(old_box: int, new_box: int, ratio: float) -> np.ndarray:
    """(new_box, old_box): values at new samples, ``ratio`` old ones apart, band-limited by the coarser.

    Trigonometric interpolation, sample N//2 staying the centre; 0 beyond the old field.
    """
    at = (np.arange(new_box) - new_box // 2) * ratio + old_box // 2
    frequency = np.arange(-(old_box // 2), old_box // 2 + 1)
    limit = min(old_box / 2, old_box / (2 * ratio))
    weight = (np.abs(frequency) < limit - 1e-9).astype(float)
    # Nyquist of an even box is one frequency seen from both ends
    weight[np.abs(np.abs(frequency) - limit) <= 1e-9] = 0.5
    phase = 2 * np.pi / old_box * frequency
    forward = np.exp(-1j * phase[:, None] * np.arange(old_box))
    matrix = (np.exp(1j * at[:, None] * phase) * weight @ forward).real / old_box
    matrix[(at < -0.5) | (at > old_box - 0.5)] = 0.0
    return matrix


def window(array: np.ndarray, box: int, ndim: int = 2, fill: float = 0.0) -> np.ndarray:
    """Cut or pad the last ``ndim`` axes in real space to ``box`` samples, sample N//2 staying the centre."""
    _check_box(box)
    array = np.asarray(array)
    out = np.full((*array.shape[: array.ndim - ndim], *[box] * ndim), fill, dtype=array.dtype)
    source, target = [slice(None)] * (array.ndim - ndim), [slice(None)] * (array.ndim - ndim)
    for size in array.shape[array.ndim - ndim :]:
        offset = size // 2 - box // 2
        source.append(slice(max(offset, 0), min(offset + box, size)))
        target.append(slice(max(-offset, 0), min(size - offset, box)))
    out[tuple(target)] = array[tuple(source)]
    return out


def rescale_volume(
    volume: np.ndarray, voxel_size_angstrom: float, new_voxel_size_angstrom: float, box: int | None = None
) -> tuple[np.ndarray, float]:
    """Fourier-resample a (z, y, x) volume to a new voxel size, then window it to ``box`` voxels.

    Returns the volume and its exact voxel size in Å: the new size is a whole, even number of voxels
    (rounded as ``relion_image_handler --rescale_angpix`` does), so it differs slightly from the one
    asked for. Volumes that are not cubic are padded first. Raises ZooError for sizes <= 0.
    """
    if not (voxel_size_angstrom > 0 and new_voxel_size_angstrom > 0):
        raise ZooError(
            f"voxel sizes {voxel_size_angstrom:g} and {new_voxel_size_angstrom:g} Å: expected positive "
            f"numbers; give the voxel size if the file does not state it"
        )
    if len(set(volume.shape)) != 1:
        volume = window(volume, max(volume.shape), ndim=3)
    size = volume.shape[0]
    new_size = round(size * voxel_size_angstrom / new_voxel_size_angstrom)
    new_size = max(new_size - new_size % 2, 2)
    volume = fourier_resample(volume, new_size, ndim=3)
    exact = voxel_size_angstrom * size / new_size
    return (volume if box is None else window(volume, box, ndim=3)), exact


def _check_box(box: int) -> None:
    if box < 2:
        raise ZooError(f"box of {box} pixels: expected 2 or more")


def _change_axis(transform: np.ndarray, axis: int, size: int, new: int, half: bool) -> np.ndarray:
    """Crop or pad one axis of a transform; ``half`` marks the axis that rfftn left half of."""
    transform = np.moveaxis(transform, axis, -1)
    small = min(size, new)
    positive = (small + 1) // 2  # frequencies 0 .. below Nyquist
    length = new // 2 + 1 if half else new
    odd = size % 2 or new % 2  # then N//2 lies at another fraction of the field
    if odd:
        transform = transform * _centre_phase(size, half, +1).astype(transform.dtype)
    out = np.zeros((*transform.shape[:-1], length), dtype=transform.dtype)
    out[..., :positive] = transform[..., :positive]
    if not half and positive > 1:
        out[..., -(positive - 1) :] = transform[..., -(positive - 1) :]
    if small % 2 == 0:
        nyquist = small // 2
        if half:  # its other end is implied by symmetry
            out[..., nyquist] = transform[..., nyquist] * (1.0 if new < size else 0.5)
        elif new < size:
            out[..., nyquist] = 0.5 * (transform[..., nyquist] + transform[..., -nyquist])
        else:
            out[..., nyquist] = out[..., -nyquist] = 0.5 * transform[..., nyquist]
    if odd:
        out *= _centre_phase(new, half, -1).astype(out.dtype)
    return np.moveaxis(out, -1, axis)


def _centre_phase(size: int, half: bool, sign: int) -> np.ndarray:
    frequencies = np.fft.rfftfreq(size) if half else np.fft.fftfreq(size)
    return np.exp(sign * 2j * np.pi * frequencies * (size // 2))


def _lanczos_weights(size: int, new: int, lobes: int, align: str) -> np.ndarray:
    """(new, size) float32 weights; rows sum to 1, also where the kernel reaches over the edge."""
    step = size / new
    if align == "centre":
        positions = (np.arange(new) - new // 2) * step + size // 2
    elif align == "edges":
        positions = (np.arange(new) + 0.5) * step - 0.5
    else:
        raise ZooError(f"unknown alignment {align!r}; choose centre or edges")
    distance = (positions[:, None] - np.arange(size)) / max(step, 1.0)
    weights = np.sinc(distance) * np.sinc(distance / lobes) * (np.abs(distance) < lobes)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
