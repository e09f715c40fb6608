"""Tilt series of a slab much wider than it is thick, and its weighted back-projection."""

import numpy as np
from scipy import fft, ndimage, sparse

from zoo.simulate.project import PAD

_ROWS = 16


def project_slab(volume: np.ndarray, angles_deg: np.ndarray) -> np.ndarray:
    """Projections (tilts, y, x) float32 of a volume (z, y, x), tilts about y, beam along z.

    Each xz plane is projected alone, by lines of its padded transform (projection slice theorem), found by
    cubic interpolation: a slab is full to its edges, where linear interpolation fails. Outside the slab
    there is nothing.
    """
    nz, ny, nx = volume.shape
    deep, wide = PAD * (nz + nz % 2), PAD * (nx + nx % 2)
    k = np.arange(wide // 2 + 1) / wide
    theta = np.radians(angles_deg)[:, None]
    at = np.stack([deep * (0.5 - k * np.sin(theta)), wide * (0.5 + k * np.cos(theta))])  # kz, kx
    images = np.empty((len(angles_deg), ny, nx), np.float32)
    z0, x0 = deep // 2 - nz // 2, wide // 2 - nx // 2
    plane = np.zeros((deep, wide), np.float32)
    for row in range(ny):
        plane[z0 : z0 + nz, x0 : x0 + nx] = volume[:, row]
        transform = fft.fftshift(fft.fft2(fft.ifftshift(plane)))
        lines = ndimage.map_coordinates(transform, at, order=3, mode="grid-wrap")
        profile = np.roll(fft.irfft(lines, wide, axis=1), wide // 2, axis=1)
        images[:, row] = profile[:, x0 : x0 + nx]
    return images


def back_project(images: np.ndarray, angles_deg: np.ndarray, thickness: int) -> np.ndarray:
    """Weighted back-projection of images (tilts, y, x) to a volume (thickness, y, x) float32.

    Ramp filter along x, |k| times the step between tilts, and not below 1 / tilts, where all overlap; then
    each image is smeared out along its beam, with linear interpolation (Radermacher 1988). Frequencies that
    were measured come back in the units of the specimen.
    """
    tilts, ny, nx = images.shape
    theta = np.radians(np.asarray(angles_deg, np.float64))
    step = np.abs(np.diff(np.sort(theta))).mean() if tilts > 1 else 1.0
    frequency = np.arange(nx + 1) / (2 * nx)  # of rows padded twice: the ramp must not wrap round
    ramp = np.maximum(frequency * nx * step, 1 / tilts)
    z, x = np.meshgrid(np.arange(thickness) - thickness // 2, np.arange(nx) - nx // 2, indexing="ij")
    rows, columns, values = [], [], []
    for tilt, angle in enumerate(theta):
        place = (x * np.cos(angle) - z * np.sin(angle) + nx // 2).ravel()
        low = np.floor(place).astype(int)
        for offset in (0, 1):
            inside = np.flatnonzero((low + offset >= 0) & (low + offset < nx))
            rows.append(inside)
            columns.append(tilt * nx + low[inside] + offset)
            values.append(1 - np.abs(place[inside] - low[inside] - offset))
    shape = (thickness * nx, tilts * nx)
    entries = (np.concatenate(values).astype(np.float32), (np.concatenate(rows), np.concatenate(columns)))
    smear = sparse.csr_array(entries, shape=shape)
    volume = np.empty((thickness, ny, nx), np.float32)
    for start in range(0, ny, _ROWS):
        part = images[:, start : start + _ROWS]
        filtered = fft.irfft(fft.rfft(part, 2 * nx, axis=2) * ramp, 2 * nx, axis=2)[..., :nx]
        flat = filtered.transpose(0, 2, 1).reshape(tilts * nx, -1).astype(np.float32)
        volume[:, start : start + _ROWS] = (smear @ flat).reshape(thickness, nx, -1).transpose(0, 2, 1)
    return volume / np.float32(nx)
