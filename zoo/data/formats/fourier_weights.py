"""What is measured of a subtomogram in Fourier space: masks and CTF volumes of every layout, in one form.

That form is the half transform (n, n, n // 2 + 1) of a real, even weight: kz and ky centred (DC at n // 2),
kx from 0 to n // 2; 1 = measured, 0 = not.
"""

from __future__ import annotations

import numpy as np
import scipy.fft

from zoo.data.formats.mrc import read_header, read_raw, read_volume
from zoo.errors import ZooError

_LEAST = 1e-3


def read_weight(
    path: str, box: int, premultiplied: bool = False, flipped: bool = False
) -> tuple[np.ndarray, np.ndarray | None]:
    """(weight, correction) of a mask or CTF volume for volumes of ``box`` voxels, both in the half form.

    Layouts: a cube with DC in the middle, or RELION's FFTW halves (box, box, box // 2 + 1), followed by
    multiplicities in RELION 4's (2 box, box, box // 2 + 1). ``correction`` is what to multiply the volume's
    transform with (None: nothing), so that volume = weight * truth + white noise: the sign where the CTF
    was not phase-flipped (unless ``flipped`` says that the volume was, whatever the signs of the file); with
    ``premultiplied`` data the root of multiplicity over CTF².
    Raises ZooError for another shape, values that are not finite and a weight that measures nothing.
    """
    raw = _read_any(path)
    multiplicity = None
    half_shape = (box, box, box // 2 + 1)
    if raw.shape == (2 * box, box, box // 2 + 1):
        raw, multiplicity = raw[:box], _centre(raw[box:])
    if raw.shape == (box, box, box):
        weight = half_of(raw)
    elif raw.shape == half_shape:
        weight = _centre(raw)
    else:
        found = " x ".join(str(size) for size in raw.shape[::-1])
        raise ZooError(
            f"{path}: a wedge or CTF volume of {found} voxels for subtomograms of {box}; expected {box} x "
            f"{box} x {box} (DC in the middle) or {box // 2 + 1} x {box} x {box} (RELION's half)"
        )
    if not np.isfinite(weight).all():
        raise ZooError(f"{path}: the wedge or CTF volume holds NaN or infinite values; make it again")
    correction = None
    if premultiplied:
        squared = np.maximum(weight, 0)
        counts = np.ones_like(squared) if multiplicity is None else np.maximum(multiplicity, 0)
        measured = squared > _LEAST * squared.max()
        correction = np.sqrt(np.divide(counts, squared, out=np.zeros_like(squared), where=measured))
        weight = np.sqrt(squared * counts) * measured
    elif weight.min() < 0:
        correction, weight = None if flipped else np.sign(weight), np.abs(weight)
    _require_something(path, weight)
    return (weight / max(1.0, float(weight.max()))).astype(np.float32), correction


def half_of(cube: np.ndarray) -> np.ndarray:
    """The half form of a centred even cube (n, n, n), n even or odd."""
    n = cube.shape[0]
    half = cube[:, :, n // 2 :]
    if n % 2 == 0:  # kx = n/2 stands at the other end, as -n/2 of (-kz, -ky)
        half = np.concatenate([half, np.roll(cube[::-1, ::-1, :1], 1, axis=(0, 1))], axis=2)
    return half


def whole_of(half: np.ndarray) -> np.ndarray:
    """The centred cube (..., n, n, n) of a half form (..., n, n, n // 2 + 1)."""
    n = half.shape[-2]
    mirrored = np.flip(half[..., 1:], axis=(-3, -2, -1))  # kx = -(n // 2) .. -1
    if n % 2 == 0:
        mirrored = np.roll(mirrored, 1, axis=(-3, -2))
    # kx = 0 .. below n / 2; an even n has its Nyquist frequency at the negative end
    return np.concatenate([mirrored, half[..., : n - n // 2]], axis=-1)


def crop_weight(half: np.ndarray, box: int) -> np.ndarray:
    """The half form for volumes whose transform was cropped to ``box``."""
    n = half.shape[0]
    first = n // 2 - box // 2
    return np.ascontiguousarray(half[first : first + box, first : first + box, : box // 2 + 1])


def apply_correction(volume: np.ndarray, correction: np.ndarray) -> np.ndarray:
    """A volume (n, n, n) with its transform multiplied by a half form; float32."""
    factor = scipy.fft.ifftshift(correction, axes=(0, 1))
    product = scipy.fft.rfftn(volume) * factor
    return scipy.fft.irfftn(product, s=volume.shape).astype(np.float32, copy=False)


def _read_any(path: str) -> np.ndarray:
    if path.lower().endswith((".em", ".em.gz")):
        return read_volume(path)[0]
    header = read_header(path)  # not read_volume: a half has voxels of unequal size
    return read_raw(header).astype(np.float32)


def _centre(half: np.ndarray) -> np.ndarray:
    return scipy.fft.fftshift(half, axes=(0, 1))


def _require_something(path: str, weight: np.ndarray) -> None:
    n = weight.shape[0]
    beside_dc = weight.copy()
    beside_dc[n // 2, n // 2, 0] = 0
    if beside_dc.max() <= 0:
        raise ZooError(
            f"{path}: the wedge observes nothing (no weight above 0 beside the mean); expected 1 where "
            "tilts measure and 0 in the missing wedge: make the mask again"
        )
