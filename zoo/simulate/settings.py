"""What a simulated particle set is made with, checked before anything is computed."""

from dataclasses import dataclass

import numpy as np

from zoo.errors import ZooError

MOST_PARTICLES = 1_000_000_000
LEAST_SNR = 1e-9
LARGEST_SIGMA = 1e9
LARGEST_DEFOCUS_ANGSTROM = 1e6
_PREFERRED_WITHIN_DEG = 20.0


def optics_problems(voltage_kv: float, cs_mm: float, amplitude_contrast: float):
    """(whether it is wrong, what to say) of each of the three numbers of a microscope."""
    return (
        (not 1 <= voltage_kv <= 10_000, f"--voltage {voltage_kv:g}: expected kilovolts above 0 (1 to 10000)"),
        (not abs(cs_mm) <= 1000, f"--cs {cs_mm}: expected millimetres (-1000 to 1000)"),
        (
            not 0 <= amplitude_contrast < 1,
            f"--amplitude-contrast {amplitude_contrast:g}: expected a fraction from 0 to below 1",
        ),
    )


@dataclass(frozen=True)
class ParticleSettings:
    """Counts, noise, optics and shifts of a simulated set; raises ZooError for values that cannot be.

    `count` is per map. Noise is white and Gaussian: `sigma` is its standard deviation in image units, or
    `snr` the signal variance over the noise variance, both in the whole box; 0 < snr, 0 <= sigma, and sigma 1
    if neither is given. Image units (`scale`): the maps are multiplied by one common factor that makes the
    noise-free projections (CTF applied) vary with a standard deviation of 1 inside the circle that touches
    the sides of the box; with `scale_each` each map has its own factor (for maps in unlike grey units);
    without `scale` a pixel is the sum of the voxels along the beam.
    Views are even, but `preferred_share` of them lie within `preferred_within_deg` of the beam along +z,
    evenly there, and the others beyond it.
    Defocus is uniform in `defocus_range_angstrom`, positive underfocus; U - V uniform up to
    `astigmatism_max_angstrom`. Shifts are uniform in +-`shift_max_px` along x and y.
    """

    count: int
    sigma: float | None = None
    snr: float | None = None
    seed: int = 0
    apply_ctf: bool = True
    defocus_range_angstrom: tuple[float, float] = (10000.0, 25000.0)
    astigmatism_max_angstrom: float = 200.0
    voltage_kv: float = 300.0
    cs_mm: float = 2.7
    amplitude_contrast: float = 0.1
    shift_max_px: float = 0.0
    scale: bool = True
    scale_each: bool = False
    preferred_share: float = 0.0
    preferred_within_deg: float = _PREFERRED_WITHIN_DEG

    def __post_init__(self):
        low, high = self.defocus_range_angstrom
        finite = np.isfinite([low, high, self.astigmatism_max_angstrom, self.shift_max_px]).all()
        problems = (
            (self.count < 1, f"--count {self.count}: expected at least 1 particle per map"),
            (self.count > MOST_PARTICLES, f"--count {self.count}: expected at most {MOST_PARTICLES:,}"),
            (
                self.sigma is not None and self.snr is not None,
                f"--sigma {self.sigma} and --snr {self.snr} both given: they say the same thing; give one",
            ),
            (
                self.sigma is not None and not (0 <= self.sigma <= LARGEST_SIGMA),
                f"--sigma {self.sigma}: expected a deviation of 0 or more, at most {LARGEST_SIGMA:g}",
            ),
            (
                self.snr is not None and not (LEAST_SNR <= self.snr <= 1 / LEAST_SNR),
                f"--snr {self.snr}: expected more than 0 ({LEAST_SNR:g} to {1 / LEAST_SNR:g}); for images "
                "without noise give --sigma 0",
            ),
            (not 0 <= self.seed < 2**63, f"--seed {self.seed}: expected a whole number from 0 to 2^63 - 1"),
            (not finite, "defocus, astigmatism and shift must be finite numbers"),
            (
                max(abs(low), abs(high), self.astigmatism_max_angstrom) > LARGEST_DEFOCUS_ANGSTROM,
                f"--defocus {low:g} {high:g}, --astigmatism {self.astigmatism_max_angstrom:g}: expected at "
                f"most {LARGEST_DEFOCUS_ANGSTROM:g} Å",
            ),
            (low > high, f"--defocus {low:g} {high:g}: the first must not exceed the second (MIN MAX, in Å)"),
            (
                self.astigmatism_max_angstrom < 0,
                f"--astigmatism {self.astigmatism_max_angstrom:g}: expected 0 Å or more",
            ),
            (self.shift_max_px < 0, f"--shift {self.shift_max_px:g}: expected 0 pixels or more"),
            (
                not 0 <= self.preferred_share <= 1,
                f"--preferred-share {self.preferred_share:g}: expected a share of the views, 0 to 1",
            ),
            (
                not 0 < self.preferred_within_deg <= 180,
                f"--preferred-within {self.preferred_within_deg:g}: expected degrees above 0, 180 at most",
            ),
            (
                self.preferred_share == 0 and self.preferred_within_deg != _PREFERRED_WITHIN_DEG,
                f"--preferred-within {self.preferred_within_deg:g}: no views are preferred; give "
                "--preferred-share, too",
            ),
            *optics_problems(self.voltage_kv, self.cs_mm, self.amplitude_contrast),
            (
                self.scale_each and not self.scale,
                "--scale-each and --no-scale both given: they exclude each other; give one",
            ),
        )
        for wrong, message in problems:
            if wrong:
                raise ZooError(message)
