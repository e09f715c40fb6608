"""Rotations: RELION Euler angles, 6-vectors, quaternions and a near-uniform grid on SO(3).

A rotation is RELION's matrix A, shape ``(..., 3, 3)``, acting on ``xyz`` columns. A central slice of a
map in orientation A has the frequencies Aᵀ(kx, ky, 0).
"""

import math

from keras import ops

from zoo.ops.rotation_grid import so3_grid  # noqa: F401  (NumPy alone: it lies where no backend is needed)

_DEGREE = math.pi / 180.0
# Below this, float32 cannot tell a direction from rounding.
_DEGENERATE = 1e-6


def euler_to_matrix(euler_deg):
    """RELION rot, tilt, psi in degrees ``(b, 3)`` → RELION's matrix A ``(b, 3, 3)``.

    Equals ``scipy Rotation.from_euler("ZYZ", [rot, tilt, psi], degrees=True).inv()``
    (Heymann et al. 2005; RELION ``Euler_angles2matrix``).
    """
    angles = ops.cast(euler_deg, "float32") * _DEGREE
    c_rot, c_tilt, c_psi = (ops.cos(angles[..., i]) for i in range(3))
    s_rot, s_tilt, s_psi = (ops.sin(angles[..., i]) for i in range(3))
    return _matrix(
        (c_psi * c_tilt * c_rot - s_psi * s_rot, c_psi * c_tilt * s_rot + s_psi * c_rot, -c_psi * s_tilt),
        (-s_psi * c_tilt * c_rot - c_psi * s_rot, -s_psi * c_tilt * s_rot + c_psi * c_rot, s_psi * s_tilt),
        (s_tilt * c_rot, s_tilt * s_rot, c_tilt),
    )


def matrix_to_euler(matrix):
    """RELION's matrix A ``(b, 3, 3)`` → rot, tilt, psi in degrees ``(b, 3)``, tilt in [0, 180].

    Where tilt is 0 or 180 only one angle in the plane is defined: rot is then 0, as in RELION.
    """
    a = ops.cast(matrix, "float32")
    sin_tilt_squared = a[..., 0, 2] ** 2 + a[..., 1, 2] ** 2
    pole = sin_tilt_squared < _DEGENERATE**2
    sin_tilt = ops.where(pole, 0.0, ops.sqrt(ops.where(pole, 1.0, sin_tilt_squared)))
    up = ops.where(a[..., 2, 2] >= 0.0, 1.0, -1.0)

    def angle(y, x, y_pole, x_pole):
        return ops.arctan2(ops.where(pole, y_pole, y), ops.where(pole, x_pole, x))

    zero, one = ops.zeros_like(up), ops.ones_like(up)
    rot = angle(a[..., 2, 1], a[..., 2, 0], zero, one)
    psi = angle(a[..., 1, 2], -a[..., 0, 2], -up * a[..., 1, 0], up * a[..., 0, 0])
    tilt = ops.arctan2(sin_tilt, a[..., 2, 2])
    return ops.stack([rot, tilt, psi], axis=-1) / _DEGREE


def rotation_from_6d(v):
    """Two 3-vectors ``(..., 6)`` → rotation ``(..., 3, 3)`` with rows u1, u2, u1×u2 (Gram–Schmidt).

    Zhou et al. 2019, "On the continuity of rotation representations". Every input gives a proper
    rotation and a finite gradient: a zero or parallel vector is replaced by a fixed other direction.
    """
    v = ops.cast(v, "float32")
    u1 = _unit(_scaled(v[..., :3]), ops.convert_to_tensor((1.0, 0.0, 0.0), dtype="float32"))
    u2 = _unit(_without(_scaled(v[..., 3:]), u1), _perpendicular(u1))
    # Once more: where v1 and v2 are nearly parallel, the first pass leaves rounding along u1.
    u2 = _without(u2, u1)
    u2 = u2 / ops.sqrt(ops.sum(u2 * u2, axis=-1, keepdims=True))
    return ops.stack([u1, u2, _cross(u1, u2)], axis=-2)


def quaternion_to_matrix(quaternion):
    """Quaternion (w, x, y, z) ``(..., 4)`` of any length → rotation ``(..., 3, 3)``."""
    identity = ops.convert_to_tensor((1.0, 0.0, 0.0, 0.0), dtype="float32")
    unit = _unit(_scaled(ops.cast(quaternion, "float32")), identity)
    w, x, y, z = (unit[..., i] for i in range(4))
    return _matrix(
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )


def uniform_rotations(normal):
    """Standard normal numbers ``(b, 6)`` or ``(b, 4)`` → rotations ``(b, 3, 3)``, uniform on SO(3)."""
    size = normal.shape[-1]
    if size == 6:
        return rotation_from_6d(normal)
    if size == 4:
        return quaternion_to_matrix(normal)
    raise ValueError(f"uniform_rotations takes (b, 6) or (b, 4) normal numbers, got last axis {size}")


def rotation_distance_deg(a, b):
    """Angle in degrees ``(...)`` of the rotation between a and b ``(..., 3, 3)``; accurate near 0 and 180."""
    a, b = ops.cast(a, "float32"), ops.cast(b, "float32")
    half_sine = _safe_sqrt(ops.sum((a - b) ** 2, axis=(-2, -1)) / 8.0)
    half_cosine = _safe_sqrt((1.0 + ops.sum(a * b, axis=(-2, -1))) / 4.0)
    return 2.0 * ops.arctan2(half_sine, half_cosine + 1e-30) / _DEGREE


def _matrix(*rows):
    return ops.stack([ops.stack(row, axis=-1) for row in rows], axis=-2)


def _cross(a, b):
    ax, ay, az = (a[..., i] for i in range(3))
    bx, by, bz = (b[..., i] for i in range(3))
    return ops.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)


def _scaled(v):
    # The direction does not depend on the length, so the length may be a constant to the gradient.
    largest = ops.stop_gradient(ops.max(ops.abs(v), axis=-1, keepdims=True))
    return v / ops.maximum(largest, 1e-12)


def _without(v, unit):
    return v - ops.sum(v * unit, axis=-1, keepdims=True) * unit


def _unit(v, fallback):
    degenerate = ops.sum(v * v, axis=-1, keepdims=True) < _DEGENERATE**2
    safe = ops.where(degenerate, fallback, v)
    return safe / ops.sqrt(ops.sum(safe * safe, axis=-1, keepdims=True))


def _perpendicular(u):
    # Cross with the axis that u has least of: never shorter than sqrt(2/3).
    u = ops.stop_gradient(u)
    least = ops.one_hot(ops.argmin(ops.abs(u), axis=-1), 3, dtype="float32")
    p = _cross(u, least)
    return p / ops.sqrt(ops.sum(p * p, axis=-1, keepdims=True))


def _safe_sqrt(x):
    positive = x > 1e-14
    return ops.where(positive, ops.sqrt(ops.where(positive, x, 1.0)), 0.0)
