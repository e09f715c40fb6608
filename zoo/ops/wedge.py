"""The part of Fourier space that a tilt series measures: tilts about y, beam along z."""

import numpy as np


def wedge_mask(n, tilt_min_deg, tilt_max_deg):
    """NumPy float32 ``(n, n, n)``, index [z, y, x], DC at n//2: 1 where tilts in the range measure.

    A tilt of t degrees measures the plane kz = −kx·tan t (RELION's matrix for rot 0, tilt t, psi 0), so
    ±60° observes \\|kz\\| ≤ tan 60°·\\|kx\\|. Raises ValueError unless −90 ≤ min ≤ max ≤ 90.
    """
    if not -90 <= tilt_min_deg <= tilt_max_deg <= 90:
        raise ValueError(f"tilts {tilt_min_deg} to {tilt_max_deg} degrees; expected -90 <= min <= max <= 90")
    k = np.arange(n, dtype="float64") - n // 2
    angle = np.degrees(np.arctan2(k[:, None], k[None, :]))  # of (kx, kz), index [z, x]
    tilt = -((angle + 90.0) % 180.0 - 90.0)  # a line through the origin has one tilt in (-90, 90]
    margin = 1e-6  # planes that go exactly through grid points
    inside = (tilt >= tilt_min_deg - margin) & (tilt <= tilt_max_deg + margin)
    # the plane of 90 degrees is that of -90; the tilt axis is on every plane
    inside |= (np.abs(np.abs(tilt) - 90.0) <= margin) & (max(-tilt_min_deg, tilt_max_deg) >= 90.0 - margin)
    inside |= (k[:, None] == 0) & (k[None, :] == 0)
    return np.repeat(inside[:, None, :], n, axis=1).astype("float32")
