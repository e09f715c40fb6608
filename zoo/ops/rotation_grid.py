"""Even sets of rotations, in NumPy."""

import math

import numpy as np


def so3_grid(step_deg):
    """Near-uniform rotations about step_deg apart → NumPy float64 ``(m, 3, 3)``, m ≈ 8π²/step³.

    Super-Fibonacci spiral of quaternions (Alexa 2022, "Super-Fibonacci spirals").
    """
    if not 0.0 < step_deg <= 180.0:
        raise ValueError(f"so3_grid takes a step in (0, 180] degrees, got {step_deg}")
    count = max(1, math.ceil(8.0 * math.pi**2 / (step_deg * math.radians(1.0)) ** 3))
    phi, psi = math.sqrt(2.0), 1.533751168755204288118041
    s = np.arange(count) + 0.5
    radius, radius_other = np.sqrt(s / count), np.sqrt(1.0 - s / count)
    alpha, beta = 2.0 * np.pi * s / phi, 2.0 * np.pi * s / psi
    x, y = radius * np.sin(alpha), radius * np.cos(alpha)
    z, w = radius_other * np.sin(beta), radius_other * np.cos(beta)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)
