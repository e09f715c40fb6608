"""Wigner matrices: how spherical harmonics turn with a rotation. NumPy float64, computed once.

R = Rz(alpha)·Ry(beta)·Rz(gamma) acts on xyz columns; the rotated harmonic is
Y_lm(R⁻¹x) = Σ_m' D^l_m'm(R)·Y_lm'(x) with D^l_mm' = exp(−i·m·alpha)·d^l_mm'(beta)·exp(−i·m'·gamma).
Orders m run from −l to l. (Varshalovich et al. 1988, chapter 4; Condon–Shortley phase.)
"""

from functools import lru_cache

import numpy as np


def wigner_small_d(degree, beta_rad):
    """d^l(beta) ``(..., 2l+1, 2l+1)`` for angles of any shape ``(...)``: exp(−i·beta·J_y)."""
    frequencies, vectors = _spin_y(degree)
    phases = np.exp(-1j * np.asarray(beta_rad, float)[..., None] * frequencies)
    return np.real((vectors * phases[..., None, :]) @ vectors.conj().T)


def wigner_big_d(degree, alpha_rad, beta_rad, gamma_rad):
    """D^l(alpha, beta, gamma) ``(2l+1, 2l+1)`` complex, for three angles."""
    m = np.arange(-degree, degree + 1)
    small = wigner_small_d(degree, beta_rad)
    return np.exp(-1j * m * alpha_rad)[:, None] * small * np.exp(-1j * m * gamma_rad)[None, :]


@lru_cache(maxsize=128)
def wigner_half_pi(degree):
    """Δ^l = d^l(π/2), from which every d^l(beta) follows (see ``small_d_spectrum``)."""
    matrix = wigner_small_d(degree, np.pi / 2)
    matrix.setflags(write=False)
    return matrix


def small_d_spectrum(degree):
    """Real ``(m, h, m')``, each −l…l: d^l_mm'(beta) = i^(m−m')·Σ_h spectrum·exp(−i·h·beta).

    A turn about y is one about z between two quarter turns, so that the spectrum is Δ^l_hm·Δ^l_hm'
    (Risbo 1996; Kovacs & Wriggers 2002, equation 8).
    """
    delta = wigner_half_pi(degree)
    return np.einsum("hm,hn->mhn", delta, delta)


@lru_cache(maxsize=128)
def _spin_y(degree):
    """Eigenvalues, which are the integers −l…l, and eigenvectors of the angular momentum J_y."""
    m = np.arange(-degree, degree)
    raising = np.diag(np.sqrt(degree * (degree + 1.0) - m * (m + 1.0)), -1)
    _, vectors = np.linalg.eigh((raising - raising.T) / 2j)
    return np.arange(-degree, degree + 1.0), vectors
