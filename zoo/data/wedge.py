"""The part of Fourier space that a tilt series measures: tilts about y, beam along z."""

import numpy as np

_MARGIN_DEG = 1e-4  # planes that go exactly through grid points


def wedge_mask(n, tilt_min_deg, tilt_max_deg):
    """NumPy float32 ``(n, n, n)``, index [z, y, x], DC at n//2: 1 where tilts in the range measure.

    A tilt of t degrees measures the plane kz = −kx·tan t (RELION's matrix for rot 0, tilt t, psi 0), so
    ±60° observes |kz| ≤ tan 60°·|kx|. Raises ValueError unless −90 ≤ min ≤ max ≤ 90.
    """
    if not -90 <= tilt_min_deg <= tilt_max_deg <= 90:
        raise ValueError(f"tilts {tilt_min_deg} to {tilt_max_deg} degrees; expected -90 <= min <= max <= 90")
    inside = measured_plane(tilt_of_plane(n), tilt_min_deg, tilt_max_deg)
    return np.repeat(inside[:, None, :], n, axis=1).astype("float32")


def tilt_of_plane(n):
    """NumPy float32 ``(n, n)``, index [z, x]: the tilt in (−90, 90] that measures (kx, kz); 0 on the axis."""
    k = np.arange(n, dtype="float64") - n // 2
    angle = np.degrees(np.arctan2(k[:, None], k[None, :]))
    return -((angle + 90.0) % 180.0 - 90.0).astype("float32") + 0.0


def measured_plane(tilt, tilt_min_deg, tilt_max_deg):
    """Whether points of a tilt (from ``tilt_of_plane``) are measured; plain operators: NumPy and tensors.

    The bounds broadcast against ``tilt``. The plane of 90° is that of −90°, the axis lies on every plane.
    """
    inside = (tilt >= tilt_min_deg - _MARGIN_DEG) & (tilt <= tilt_max_deg + _MARGIN_DEG)
    vertical = (tilt >= 90.0 - _MARGIN_DEG) | (tilt <= _MARGIN_DEG - 90.0)
    whole = (tilt_max_deg >= 90.0 - _MARGIN_DEG) | (tilt_min_deg <= _MARGIN_DEG - 90.0)
    n = tilt.shape[-1]
    axis = np.zeros((n, n), bool)
    axis[n // 2, n // 2] = True
    return inside | (vertical & whole) | axis
