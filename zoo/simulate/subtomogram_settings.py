"""What a simulated set of subtomograms is made with, checked before anything is computed."""

from dataclasses import dataclass, field

import numpy as np

from zoo.errors import ZooError
from zoo.simulate.settings import LARGEST_DEFOCUS_ANGSTROM, LEAST_SNR, optics_problems
from zoo.simulate.tilt_series import TiltSeries

MOST_SUBTOMOGRAMS = 10_000_000
SNR_OF = ("subtomograms", "projections")


@dataclass(frozen=True)
class SubtomogramSettings:
    """Counts, tilts, noise, optics and poses of a set; raises ZooError for values that cannot be.

    `count` is per class, the same for all or one for each. `snr` is signal variance over noise variance in
    the whole box, the mean over the particles of a class; None is no noise. It is that `snr_of` the
    subtomograms: what two aligned copies with independent noise give as cc / (1 - cc) (Frank & Al-Ali 1975),
    or that of the projections. The noise is white at the projections. With `quick` there are no projections:
    white noise is added in 3D and the wedge cuts both; `snr` is then that before the wedge. Each class has
    the SNR asked for, unless `common_scale`: then the mean of all has, and large particles have more.
    Units: noise with a standard deviation of 1 in the subtomograms (before the wedge with `quick`); without
    noise, a signal with a standard deviation of 1.
    Defocus is positive underfocus. With `phase_flip` the CTF is that of phase-flipped images, its absolute.
    Shifts are uniform in +-`shift_max_voxels` on each axis. `preferred_axis` (x, y or z) turns all particles
    about that axis alone; `principal` first brings the principal axis of the map onto it.
    """

    count: int | tuple[int, ...]
    snr: float | None = None
    snr_of: str = "subtomograms"
    quick: bool = False
    tilts: TiltSeries = field(default_factory=TiltSeries)
    seed: int = 0
    apply_ctf: bool = True
    phase_flip: bool = True
    defocus_angstrom: float = 60000.0
    voltage_kv: float = 300.0
    cs_mm: float = 2.7
    amplitude_contrast: float = 0.1
    apply_mtf: bool = True
    shift_max_voxels: float = 3.0
    preferred_axis: str | None = None
    principal: bool = True
    common_scale: bool = False

    def __post_init__(self):
        counts = self.count if isinstance(self.count, tuple) else (self.count,)
        least, most = min(counts, default=0), max(counts, default=0)
        problems = (
            (least < 1, f"--count {least}: expected at least 1 subtomogram per class"),
            (most > MOST_SUBTOMOGRAMS, f"--count {most}: expected at most {MOST_SUBTOMOGRAMS:,}"),
            (
                self.snr is not None and not LEAST_SNR <= self.snr <= 1 / LEAST_SNR,
                f"--snr {self.snr}: expected more than 0 ({LEAST_SNR:g} to {1 / LEAST_SNR:g}); leave it out "
                "for no noise",
            ),
            (self.snr_of not in SNR_OF, f"--snr-of {self.snr_of}: expected one of {', '.join(SNR_OF)}"),
            (
                self.quick and self.snr_of != "subtomograms",
                "--quick makes no projections, so there is no --snr-of projections: leave one out",
            ),
            (not 0 <= self.seed < 2**63, f"--seed {self.seed}: expected a whole number from 0 to 2^63 - 1"),
            (
                not abs(self.defocus_angstrom) <= LARGEST_DEFOCUS_ANGSTROM,
                f"--defocus {self.defocus_angstrom}: expected Å, at most {LARGEST_DEFOCUS_ANGSTROM:g}",
            ),
            *optics_problems(self.voltage_kv, self.cs_mm, self.amplitude_contrast),
            (
                not 0 <= self.shift_max_voxels < np.inf,
                f"--shift {self.shift_max_voxels:g}: expected 0 voxels or more",
            ),
            (
                self.preferred_axis not in (None, "x", "y", "z"),
                f"--preferred-axis {self.preferred_axis}: expected x, y or z",
            ),
        )
        for wrong, message in problems:
            if wrong:
                raise ZooError(message)

    def counts(self, classes: int) -> np.ndarray:
        """Subtomograms of each of so many classes (k,); ZooError where another number of counts is given."""
        if not isinstance(self.count, tuple):
            return np.full(classes, self.count)
        if len(self.count) != classes:
            raise ZooError(
                f"--count: given {len(self.count)} times, expected once, or once for each of {classes}"
            )
        return np.array(self.count)

    @property
    def count_of_each(self) -> int:
        """Particles of each class, where all have the same number; ZooError where they have not."""
        if isinstance(self.count, tuple):
            raise ZooError(f"--count {self.count}: expected one number for all classes")
        return self.count

    def ctf_row(self) -> np.ndarray:
        """The CTF parameters (1, 9) in the order of zoo.data.tables.particle_table.CTF_COLUMNS."""
        optics = [self.voltage_kv, self.cs_mm, self.amplitude_contrast, 0.0, 0.0, 1.0]
        return np.array([[self.defocus_angstrom, self.defocus_angstrom, 0.0, *optics]])
