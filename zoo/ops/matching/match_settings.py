"""What a search for rotations and shifts needs to know beforehand."""

from dataclasses import dataclass

MODES = ("magnitude", "phase")


@dataclass(frozen=True)
class MatchSettings:
    """Box in voxels, mode, and how finely to search; radii are in Fourier voxels (box/radius = resolution).

    Raises ValueError for settings that cannot work.
    """

    box: int
    mode: str = "phase"
    candidates: int = 8  # kept per subtomogram and template, at most 50
    max_shift_voxels: float | None = None  # box/8 if None
    step_deg: float = 13.0  # phase: between neighbouring rotations
    bandwidth: int = 16  # magnitude: highest degree of the spherical harmonics
    search_radius: int = 5  # phase: frequencies of the search, and of the shifts in both modes
    magnitude_radius: int = 8  # magnitude: number of shells
    refine_radius: int | None = None  # a third of the box, at most 12, if None
    refine_steps: int = 2

    def __post_init__(self):
        if self.mode not in MODES:
            raise ValueError(f"mode is one of {', '.join(MODES)}, got {self.mode!r}")
        if self.box < 12:
            raise ValueError(f"matching needs a box of at least 12 voxels, got {self.box}")
        if not 1 <= self.candidates <= 50:
            raise ValueError(f"candidates is 1 to 50, got {self.candidates}")
        if not 2 <= self.bandwidth <= 32 or self.bandwidth % 2:
            raise ValueError(f"bandwidth is even, 2 to 32, got {self.bandwidth}")
        if not 0 < self.step_deg <= 40:
            raise ValueError(f"step_deg is in (0, 40], got {self.step_deg}")
        largest = self.box // 2 - 1
        for name in ("search_radius", "magnitude_radius", "refine_radius"):
            radius = getattr(self, name)
            if radius is None:
                radius = max(min(self.box // 3, 12), min(self.search_radius, largest))
            if radius < 2:
                raise ValueError(f"{name} is at least 2 Fourier voxels, got {radius}")
            # a small box has fewer shells than the defaults ask for
            object.__setattr__(self, name, min(radius, largest))
        if self.refine_radius < self.search_radius:
            raise ValueError(f"refine_radius is at least search_radius, got {self.refine_radius}")
        if self.max_shift_voxels is None:
            object.__setattr__(self, "max_shift_voxels", self.box / 8)
        if not 0 <= self.max_shift_voxels <= self.box / 2:
            raise ValueError(f"max_shift_voxels is 0 to box/2, got {self.max_shift_voxels}")

    @property
    def zoom_radius(self):
        """Fourier voxels that templates are kept for."""
        return max(self.refine_radius, self.magnitude_radius)

    @property
    def pool(self):
        """Rotations that the search hands on."""
        return max(32, 2 * self.candidates)

    @property
    def rounds(self):
        """Refinements in turn: radius, and how many candidates begin it. Few see the frequencies that cost.

        At low signal the true peak is one of many: a joint search follows more, and sorts them once more.
        """
        first, last = self.search_radius, self.refine_radius
        middle = round((first * last) ** 0.5)
        joint = self.mode == "phase"
        rounds = [(first, self.pool if joint else self.pool // 2)]
        if joint or last > 2.5 * first:
            rounds.append((middle, self.candidates))
        return [pair for pair in rounds if pair[0] < last] + [(last, self.candidates)]
