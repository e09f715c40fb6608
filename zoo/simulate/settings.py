"""What a simulated particle set is made with, checked before anything is computed."""

from dataclasses import dataclass

import numpy as np

from zoo.errors import ZooError


@dataclass(frozen=True)
class ParticleSettings:
    """Counts, noise, optics and shifts of a simulated set; raises ZooError for values that cannot be.

    `count` is per map. Noise is white and Gaussian: `sigma` is its standard deviation in image units, or
    `snr` the signal variance over the noise variance, both in the whole box; 0 < snr, 0 <= sigma, and sigma 1
    if neither is given. Image units (`scale`): the maps are multiplied by one common factor that makes the
    noise-free projections (CTF applied) vary with a standard deviation of 1 inside the circle that touches
    the sides of the box; with `scale_each` each map has its own factor (for maps in unlike grey units);
    without `scale` a pixel is the sum of the voxels along the beam.
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

    def __post_init__(self):
        low, high = self.defocus_range_angstrom
        finite = np.isfinite([low, high, self.astigmatism_max_angstrom, self.shift_max_px]).all()
        problems = (
            (self.count < 1, f"--count {self.count}: expected at least 1 particle per map"),
            (
                self.sigma is not None and self.snr is not None,
                f"--sigma {self.sigma} and --snr {self.snr} both given: they say the same thing; give one",
            ),
            (
                self.sigma is not None and not (0 <= self.sigma < np.inf),
                f"--sigma {self.sigma}: expected a standard deviation of 0 or more",
            ),
            (
                self.snr is not None and not (0 < self.snr < np.inf),
                f"--snr {self.snr}: expected more than 0; for images without noise give --sigma 0",
            ),
            (not 0 <= self.seed < 2**63, f"--seed {self.seed}: expected a whole number from 0 to 2^63 - 1"),
            (not finite, "defocus, astigmatism and shift must be finite numbers"),
            (low > high, f"--defocus {low:g} {high:g}: the first must not exceed the second (MIN MAX, in Å)"),
            (
                self.astigmatism_max_angstrom < 0,
                f"--astigmatism {self.astigmatism_max_angstrom:g}: expected 0 Å or more",
            ),
            (self.shift_max_px < 0, f"--shift {self.shift_max_px:g}: expected 0 pixels or more"),
            (not 0 < self.voltage_kv < np.inf, f"--voltage {self.voltage_kv:g}: expected kilovolts above 0"),
            (
                self.scale_each and not self.scale,
                "--scale-each and --no-scale both given: they exclude each other; give one",
            ),
            (not np.isfinite(self.cs_mm), f"--cs {self.cs_mm}: expected millimetres"),
            (
                not 0 <= self.amplitude_contrast < 1,
                f"--amplitude-contrast {self.amplitude_contrast:g}: expected a fraction from 0 to below 1",
            ),
        )
        for wrong, message in problems:
            if wrong:
                raise ZooError(message)
