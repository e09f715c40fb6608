"""A tilt series: its angles, what each tilt sees of a posed particle, and what camera and lens do to it."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from zoo.errors import ZooError

_MOST_TILTS = 3601  # of 0.05 degrees


@dataclass(frozen=True)
class TiltSeries:
    """Tilts about y (or x) with the beam along z, every `step_deg` degrees from -`range_deg` to `range_deg`.

    With `least_deg` from that instead; its sign is RELION's, as that of all tilts here. Raises ZooError for a
    range outside 0 to 90 (or -90 to 90), a step that is not positive, and another axis.
    """

    range_deg: float = 60.0
    step_deg: float = 3.0
    axis: str = "y"
    least_deg: float | None = None

    def __post_init__(self):
        if self.least_deg is not None:
            if not -90 <= self.least_deg <= self.range_deg <= 90:
                raise ZooError(
                    f"--tilt-range {self.least_deg:g} {self.range_deg:g}: expected the least and the largest "
                    "tilt, from -90 to 90 degrees"
                )
        elif not 0 <= self.range_deg <= 90:
            raise ZooError(f"--tilt {self.range_deg:g}: expected a largest tilt from 0 to 90 degrees")
        if not 0 < self.step_deg <= 90:
            raise ZooError(f"--tilt-step {self.step_deg:g}: expected degrees above 0, at most 90")
        tilts = (self.range_deg - self._least_deg) / self.step_deg + 1
        if tilts > _MOST_TILTS:
            raise ZooError(
                f"--tilt-step {self.step_deg:g}: makes {tilts:.3g} tilts of --tilt {self.range_deg:g}; "
                f"expected at most {_MOST_TILTS}"
            )
        if self.axis not in ("x", "y"):
            raise ZooError(f"--tilt-axis {self.axis}: expected x or y, the beam lies along z")

    def angles_deg(self) -> np.ndarray:
        """(tilts,) float64: whole steps within the range, counted from 0, or from `least_deg` where given."""
        if self.least_deg is None:
            steps = int(np.floor(self.range_deg / self.step_deg + 1e-9))
            angles = self.step_deg * np.arange(-steps, steps + 1)
        else:
            steps = int(np.floor((self.range_deg - self.least_deg) / self.step_deg + 1e-9))
            angles = self.least_deg + self.step_deg * np.arange(steps + 1)
        # -90 and 90 degrees are one projection, seen from both sides
        return angles[1:] if angles[-1] >= 90 and angles[0] <= -90 else angles

    @property
    def _least_deg(self) -> float:
        return -self.range_deg if self.least_deg is None else self.least_deg

    def matrices(self) -> np.ndarray:
        """RELION's matrices (tilts, 3, 3) of the tilts about y: rot 0, tilt t, psi 0."""
        return euler_matrices(np.stack([0 * self.angles_deg(), self.angles_deg(), 0 * self.angles_deg()], 1))


def euler_matrices(euler_deg: np.ndarray) -> np.ndarray:
    """RELION's matrices A (k, 3, 3) of rot, tilt, psi (k, 3) in degrees."""
    return Rotation.from_euler("ZYZ", euler_deg, degrees=True).inv().as_matrix()


def views(tilts: np.ndarray, pose: np.ndarray, origin_voxels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Matrices (tilts, 3, 3), origins (tilts, 2) in pixels of a particle's pose (3, 3) and origin (3,)."""
    return tilts @ pose, (tilts @ origin_voxels)[:, :2]


def detector_mtf(frequency: np.ndarray) -> np.ndarray:
    """sinc(pi w / 2), w the fraction of Nyquist, for frequencies in cycles/pixel: a detector's MTF.

    McMullan et al., Ultramicroscopy 109 (2009); used for simulated tomograms by Pei et al. 2016.
    """
    return np.sinc(np.asarray(frequency))  # np.sinc(x) is sin(pi x)/(pi x), and w / 2 is the frequency
