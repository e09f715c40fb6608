"""Even grids of rotations."""

import numpy as np
from scipy.spatial.transform import Rotation

_PSI = 1.533751168755204288118041


def rotation_grid(n: int) -> Rotation:
    """n rotations spread evenly over SO(3), always the same; neighbours lie about 250 deg / n^(1/3) apart.

    Source: Alexa, Super-Fibonacci Spirals: Fast, Low-Discrepancy Sampling of SO(3), CVPR 2022.
    """
    s = np.arange(n) + 0.5
    inner, outer = np.sqrt(s / n), np.sqrt(1 - s / n)
    alpha, beta = 2 * np.pi * s / np.sqrt(2), 2 * np.pi * s / _PSI
    quaternions = [inner * np.sin(alpha), inner * np.cos(alpha), outer * np.sin(beta), outer * np.cos(beta)]
    return Rotation.from_quat(np.stack(quaternions, axis=1))
