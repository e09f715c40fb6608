"""What a simulated tomogram is made with, checked before anything is computed."""

import math
from dataclasses import dataclass

from zoo.errors import ZooError
from zoo.simulate.subtomogram_settings import SubtomogramSettings

_MOST_VOXELS = 2**32


@dataclass(frozen=True)
class TomogramSettings:
    """Size, content and imaging of a tomogram; raises ZooError for values that cannot be.

    `size_voxels` is (x, y, z). `imaging` gives tilts, optics and seed, its `count` the particles of a class
    to place, its `snr` that of the projections: signal variance over noise variance, mean of the tilts
    (None: no noise). `membranes` are vesicles, shells of two leaflets `leaflet_distance_angstrom` apart,
    `fiducials` gold beads of `bead_diameter_angstrom`. A particle is tried at `attempts` places.
    """

    imaging: SubtomogramSettings
    size_voxels: tuple[int, int, int] = (256, 256, 96)
    membranes: int = 2
    fiducials: int = 5
    leaflet_distance_angstrom: float = 35.0
    bead_diameter_angstrom: float = 100.0
    attempts: int = 200

    def __post_init__(self):
        size = " ".join(str(side) for side in self.size_voxels)
        problems = (
            (
                min(self.size_voxels) < 16 or any(side % 2 for side in self.size_voxels),
                f"--size {size}: expected three even numbers of voxels, 16 or more (X Y Z)",
            ),
            (
                self.size_voxels[2] > self.size_voxels[0],
                f"--size {size}: thicker (Z) than wide (X); a tomogram is a slab, tilted about y",
            ),
            (
                math.prod(self.size_voxels) > _MOST_VOXELS,
                f"--size {size}: {math.prod(self.size_voxels):,} voxels; expected at most {_MOST_VOXELS:,}",
            ),
            (not 0 <= self.membranes <= 10_000, f"--membranes {self.membranes}: expected 0 to 10000"),
            (not 0 <= self.fiducials <= 10_000, f"--fiducials {self.fiducials}: expected 0 to 10000"),
            (self.attempts < 1, f"--attempts {self.attempts}: expected 1 or more"),
            (not self.bead_diameter_angstrom > 0, "a bead's diameter must be above 0 Å"),
            (not self.leaflet_distance_angstrom > 0, "the distance of the leaflets must be above 0 Å"),
            (self.imaging.quick, "a tomogram is made through its tilt series: there is no --quick"),
        )
        for wrong, message in problems:
            if wrong:
                raise ZooError(message)
