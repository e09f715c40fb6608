"""The contrast transfer function, with RELION's sign and formula."""

import math

from keras import ops

from zoo.ops import fourier
from zoo.ops.known_ctf import CTF_COLUMNS

COLUMNS = CTF_COLUMNS


def electron_wavelength_angstrom(voltage_kv):
    """Relativistic wavelength in Å: 12.2643247/√(V(1 + 0.978466e-6·V)), V in volts."""
    volts = 1e3 * voltage_kv
    return 12.2643247 / ops.sqrt(volts * (1.0 + 0.978466e-6 * volts))


def ctf_2d(ctf9, n, pixel_size_angstrom):
    """``(b, 9)`` (columns in the order of COLUMNS), n, ``(b,)`` Å/pixel → CTF ``(b, n, n)`` about n//2.

    −sin γ·exp(−B s²/4)·scale, γ = −πλΔf s² + ½πC_s λ³ s⁴ − φ − atan(w/√(1−w²)), Δf > 0 underfocus
    (RELION ``CTF::getCTF``; Δf along the azimuth by Rohou & Grigorieff 2015, eq. 2).
    """
    values = ops.cast(ctf9, "float32")[:, :, None, None]
    u, v, angle, voltage, cs, contrast, phase, bfactor, scale = (values[:, i] for i in range(9))
    pixel = ops.reshape(ops.cast(pixel_size_angstrom, "float32"), (-1, 1, 1))
    k = fourier.frequency_axis(n)
    kx, ky = k[None, None, :] / pixel, k[None, :, None] / pixel
    s2 = kx * kx + ky * ky
    # Δf·s² with cos 2(azimuth − angle)·s² written out: no azimuth, so no atan2 at the origin.
    double = math.pi / 90.0 * angle
    cross = ops.cos(double) * (kx * kx - ky * ky) + ops.sin(double) * 2.0 * kx * ky
    defocus_s2 = 0.5 * (u + v) * s2 + 0.5 * (u - v) * cross
    wavelength = electron_wavelength_angstrom(voltage)
    # atan(w/√(1−w²)) in a form that stays finite at w = 1.
    amplitude = ops.arctan2(contrast, ops.sqrt(ops.maximum(1.0 - contrast * contrast, 1e-12)))
    gamma = (
        -math.pi * wavelength * defocus_s2
        + 0.5 * math.pi * (cs * 1e7) * wavelength**3 * s2 * s2
        - phase * (math.pi / 180.0)
        - amplitude
    )
    return -ops.sin(gamma) * ops.exp(-0.25 * bfactor * s2) * scale


def apply_ctf(images, ctf):
    """Images ``(b, y, x)`` or ``(b, y, x, 1)`` times the CTF ``(b, n, n)`` in Fourier space."""
    with_channel = len(images.shape) == 4
    re, im = fourier.fft2(images[..., 0] if with_channel else images)
    filtered = fourier.ifft2(re * ctf, im * ctf)[0]
    return filtered[..., None] if with_channel else filtered
