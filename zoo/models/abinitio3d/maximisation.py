"""The M-steps: maps, noise and explained shares from the sums of an update."""

from __future__ import annotations

import numpy as np

from zoo.models.abinitio3d.config import Config
from zoo.models.abinitio3d.expectation import Expectation
from zoo.ops import fourier_volume as fv

_SMALL_FSC, _FULL_FSC = 0.02, 0.005  # least FSC of half sets that a shell is credited with
_NOISE_RATE = 0.5
_SHARED_SHELLS = 5
_SHARE_BAND = 8
_EDGE = 3 / 32  # of the sphere mask, in boxes
_FADED = 0.5  # what an update of its usual size leaves of the sums before it
_FEW = 20


class Maximisation:
    """M-steps on a state: they read the sums and assign maps, noise and figures."""

    def __init__(self, config: Config, expectation: Expectation):
        self.config, self.e = config, expectation
        self.small_mask, self.full_mask = (
            grid.sphere(config.mask_radius * grid.box, _EDGE * grid.box)
            for grid in (expectation.small, expectation.full)
        )
        self.per_shell = expectation.plane.per_shell

    def measure(self, state) -> None:
        """Power by shell, and the noise; the noise of every shell begins with all its power.

        Noise is what lies beyond Nyquist, in the corners of the plane, or in the corners of the image, where
        that is less: signal reaches the first in images that were cut down, the second where it is spread
        far.
        """
        count = max(float(state["sum_count"][0]), 1.0)
        power = state["sum_power"][0] / count
        noise = min(float(state["sum_corner"]), float(state["sum_background"])) / count
        floor = max(noise, 1e-6 * float(power.max()), 1e-30)
        state["noise_floor"] = np.float32(floor)
        state["signal_power"] = np.maximum(power, floor).astype(np.float32)
        self.restart_noise(state)

    def restart_noise(self, state, trust: float = 0.0) -> None:
        """Noise = all power that a map, trusted as much, may leave unexplained."""
        noise = np.maximum((1 - trust) * state["signal_power"], state["noise_floor"])
        state["noise"] = np.broadcast_to(noise, state["noise"].shape).astype(np.float32)

    def excess(self, state, band: int) -> float:
        """Power over that of the noise in the shells 1 to ``band``."""
        inside = slice(1, band + 1)
        power = (state["signal_power"][inside] * self.per_shell[inside]).sum()
        return float(power / (state["noise_floor"] * self.per_shell[inside].sum()))

    # ---- mini-batches

    def consensus(self, state, band: int) -> None:
        """One map of each half set, of all its images, as the half maps of class 1."""
        solved = fv.solve_halves(self.e.small, state["sum_small"][:, 0], band, self.small_mask, _SMALL_FSC)
        halves = state["half_maps"].copy()
        halves[:, 0] = self.enlarged(solved.halves)
        state["half_maps"] = halves

    def small_maps(self, state, band: int, usual: float, groups, first: bool) -> None:
        """Maps of ``groups`` from the faded sums of past updates and the new ones.

        ``usual`` images end an update: one of fewer fades the past by less.
        """
        count = float(state["sum_count"].sum())
        faded = 0.0 if first else _FADED ** min(count / max(usual, 1.0), 1.0)
        sums = np.float32(faded) * state["small_sums"] + state["sum_small"]
        maps = state["small_maps"].copy()
        for k in groups:
            maps[k] = fv.solve_halves(self.e.small, sums[:, k], band, self.small_mask, _SMALL_FSC).whole
        state["small_sums"], state["small_maps"] = sums, maps

    def noise(self, state, band: int, rate: float = _NOISE_RATE, together: bool = True) -> None:
        """Residual power of each shell up to ``band``; beyond it all power is noise.

        ``together``: one noise for all maps, so that they compete on equal terms.
        """
        residual, count = state["sum_residual"], state["sum_count"]
        if together:
            residual, count = residual.sum(0, keepdims=True), count.sum(keepdims=True)
        found = residual / (np.maximum(count, 1)[:, None] * self.per_shell)
        found = np.maximum(found, state["noise_floor"])
        found = np.where(np.arange(len(self.per_shell)) <= band, found, state["signal_power"])
        new = (1 - rate) * state["noise"] + rate * found
        state["noise"] = np.where((count > 0)[:, None], new, state["noise"]).astype(np.float32)

    def shares(self, state, band: int) -> np.ndarray:
        """Share ``(K,)`` of the signal power, shells 1 to ``band``, of its images that each map explains."""
        inside = slice(1, min(band, self.config.radius) + 1)
        noise = float(state["noise_floor"]) * self.per_shell[inside].sum()
        count = np.maximum(state["sum_count"], 1)
        left = state["sum_residual"][:, inside].sum(1) / count - noise
        total = state["sum_power"][:, inside].sum(1) / count - noise
        share = 1 - left / np.maximum(total, 1e-3 * noise)
        return np.where(state["sum_count"] > _FEW, share, 0).astype(np.float32)

    # ---- full passes

    def full_maps(self, state, apart: bool = False) -> None:
        """Maps, half maps and their FSC; noise, shares, and the band that the halves agree to.

        ``apart``: a half map is made of its own images alone, and the band follows the halves at once.
        """
        config, top = self.config, self.config.radius
        band, inserted = int(state["band"]), self.e.inserted(int(state["band"]))
        solved = [
            fv.solve_halves(self.e.full, state["sum_full"][:, k], inserted, self.full_mask, _FULL_FSC)
            for k in range(config.classes)
        ]
        join = min(_SHARED_SHELLS, config.bands[-1])
        state["maps"] = np.stack([part.whole for part in solved])
        state["fsc"] = np.stack([part.fsc for part in solved]).astype(np.float32)
        # half maps that share nothing drift apart: each half would turn its own way
        halves = [
            [
                part.halves[h] if apart else fv.share_low_shells(part.halves[h], part.whole, join)
                for part in solved
            ]
            for h in (0, 1)
        ]
        state["half_maps"] = np.stack([np.stack(half) for half in halves])
        self.noise(state, top, rate=1.0)
        state["share"] = self.shares(state, _SHARE_BAND)
        state["members"] = state["sum_count"].copy()
        state["cross"] = state["sum_cross"] / np.maximum(state["sum_count"], 1)[:, None]
        state["small_maps"] = self.reduced(state["maps"])
        reach = max(
            fv.last_shell(curve)
            for curve, count in zip(state["fsc"], state["members"], strict=True)
            if count > 0
        )
        # halves that have seen each other's images agree in noise too: they are believed by and by
        state["band"] = np.int32(min(top, max(band, reach + 1 if apart else min(reach + 1, band + 3))))

    def start_apart(self, state) -> None:
        """Maps that both half sets start from: those of all images, up to `Config.start_shell`."""
        low = [fv.low_passed(volume, self.config.start_shell) for volume in state["maps"]]
        state["half_maps"] = np.stack([np.stack(low)] * 2)
        state["small_maps"] = self.reduced(low)

    def reduced(self, maps):
        """Maps → small maps with the same Fourier coefficients."""
        small = [fv.resized(volume, self.config.small_box) / self.e.factor for volume in maps]
        return np.stack(small).astype(np.float32)

    def enlarged(self, maps):
        """Small maps → maps with the same Fourier coefficients."""
        large = [fv.resized(volume, self.config.map_box) * self.e.factor for volume in maps]
        return np.stack(large).astype(np.float32)
