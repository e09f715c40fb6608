"""The contrast transfer function at given frequencies, in NumPy."""

import numpy as np


def ctf_values(ctf: np.ndarray, frequency_per_angstrom: np.ndarray) -> np.ndarray:
    """CTF (k, m) for parameters (k, 9), order of CTF_COLUMNS, at xy frequencies (2, m) in 1/Å.

    -sin(gamma) exp(-B s^2 / 4) scale; gamma = -pi lambda df s^2 + pi/2 Cs lambda^3 s^4 - phase - amplitude
    contrast's angle, df > 0 underfocus, df along the azimuth after Rohou & Grigorieff 2015 (RELION's sign).
    """
    columns = np.asarray(ctf, np.float64).T[:, :, None]
    defocus_u, defocus_v, angle, voltage_kv, cs_mm, contrast, phase_shift, bfactor, scale = columns
    kx, ky = np.asarray(frequency_per_angstrom, np.float64)
    squared = kx**2 + ky**2
    volts = 1e3 * voltage_kv
    wavelength = 12.2643247 / np.sqrt(volts * (1 + 0.978466e-6 * volts))
    # s^2 cos 2(azimuth - angle), written out: an angle per image, not a cosine per pixel
    double = 2 * np.radians(angle)
    astigmatic = np.cos(double) * (kx**2 - ky**2) + np.sin(double) * (2 * kx * ky)
    defocus_squared = (defocus_u + defocus_v) / 2 * squared + (defocus_u - defocus_v) / 2 * astigmatic
    gamma = (
        -np.pi * wavelength * defocus_squared
        + np.pi / 2 * 1e7 * cs_mm * wavelength**3 * squared**2
        - np.radians(phase_shift)
        - np.arcsin(contrast)
    )
    values = -np.sin(gamma) * scale
    return values * np.exp(-bfactor * squared / 4) if bfactor.any() else values
