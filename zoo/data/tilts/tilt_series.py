"""What is known of the tilts of a tomogram, and where the particles of a set lie in it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from zoo.ops.ctf_values import ctf_values

DOSE_A, DOSE_B, DOSE_C = 0.245, -1.665, 2.81


@dataclass(frozen=True)
class TiltSeries:
    """f tilts of one tomogram.

    ``matrices`` (f, 3, 3) turn places in the tomogram (x, y, z) into places in the tilt image (x, y, depth);
    ``ctf`` (f, 9) in the order of CTF_COLUMNS is that of the tomogram's middle; ``dose`` (f,) in e/Å² is what
    the specimen had received before each tilt. ``hand`` (±1) and ``defocus_slope`` say how the defocus
    changes with the depth; ``bfactor_per_dose`` in Å² per e/Å² replaces the dose weight where above 0.
    """

    name: str
    matrices: np.ndarray
    ctf: np.ndarray
    dose: np.ndarray
    pixel_size_angstrom: float
    size_voxel: tuple[float, float, float] | None = None
    hand: float = -1.0
    defocus_slope: float = 1.0
    bfactor_per_dose: float = 0.0

    def __len__(self) -> int:
        return len(self.matrices)

    def transfer(
        self, tilts: np.ndarray, position_angstrom: np.ndarray, frequency_per_angstrom: np.ndarray
    ) -> np.ndarray:
        """What ``tilts`` (k indices) pass of a particle at xyz frequencies (2, m) of the image: (k, m).

        CTF at the height of ``position_angstrom`` (xyz from the tomogram's middle) times the dose weight:
        RELION 5's ``Tomogram::getCtf`` and ``Damage::weightImage``.
        """
        ctf = self.ctf[tilts].copy()
        depth = self.matrices[tilts, 2] @ position_angstrom
        ctf[:, :2] += (self.hand * self.defocus_slope * depth)[:, None]
        squared = np.square(frequency_per_angstrom).sum(axis=0)
        if self.bfactor_per_dose > 0:
            weight = np.exp(-self.bfactor_per_dose / 4 * self.dose[tilts][:, None] * squared)
        else:
            weight = dose_weight(self.dose[tilts], np.sqrt(squared))
        return ctf_values(ctf, frequency_per_angstrom) * weight


def dose_weight(dose: np.ndarray, frequency_per_angstrom: np.ndarray) -> np.ndarray:
    """exp(−N / 2N_c), N_c = 0.245 k^−1.665 + 2.81 e/Å²: doses (k,) at frequencies (m,) in 1/Å → (k, m).

    Grant & Grigorieff, eLife 4 (2015) e06980, equations 3 and 5, for 300 kV; 1 at frequency 0.
    """
    frequency = np.maximum(np.asarray(frequency_per_angstrom, np.float64), 1e-9)
    critical = DOSE_A * frequency**DOSE_B + DOSE_C
    return np.exp(-0.5 * np.asarray(dose, np.float64)[:, None] / critical)


@dataclass(frozen=True)
class TiltParticles:
    """n particles of tilt series: which series, which tilts show them, how and where they lie.

    ``series_index`` (n,) points into ``series``; ``visible`` (n, most tilts) bool; ``turns`` (n, 3, 3) turn
    the axes of the subtomogram into those of the tomogram (RELION's rlnTomoSubtomogramRot, Tilt, Psi);
    ``position_angstrom`` (n, 3) is xyz from the tomogram's middle. ``premultiplied`` (n,) bool: images were
    multiplied with their CTF and dose weight already. ``files`` are the files all this was read from.
    """

    series: tuple[TiltSeries, ...]
    series_index: np.ndarray
    visible: np.ndarray
    turns: np.ndarray
    position_angstrom: np.ndarray
    premultiplied: np.ndarray
    files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def select(self, indices) -> TiltParticles:
        """The particles at ``indices`` (anything that indexes an array)."""
        parts = ("series_index", "visible", "turns", "position_angstrom", "premultiplied")
        return replace(self, **{name: getattr(self, name)[indices] for name in parts})

    def seen(self, row: int) -> np.ndarray:
        """Indices of the tilts in which a particle is visible, in the order of the series."""
        return np.flatnonzero(self.visible[row])
