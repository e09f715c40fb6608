"""Reconstruction of one class, and local refinement of its poses against the map of each image's own half."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from zoo.analysis.reconstruction.drift import Drift, measure_drift, turned_poses
from zoo.analysis.reconstruction.images import ParticleImages
from zoo.analysis.reconstruction.noise_groups import NoiseGroups
from zoo.analysis.reconstruction.volume import Poses, Volume, band_of, filled_shells
from zoo.metrics.fsc import resolution_at
from zoo.ops.fourier_volume import FourierGrid, generator, refine_poses, resized

_GROWTH = 3  # shells that the band may grow by in a round, or a quarter of it
_STEPS = 3  # of Gauss-Newton in a round
_LEAST_BAND = 4
_LEAST_START, _START_SHARE = 5, 0.4
_GAIN = 0.005  # less resolution gained than this share of it in two rounds ends the refinement
_JITTER_STREAM = 42
_CHANCE_IMAGES, _LEAST_CHANCE_IMAGES = 1000, 50
_BEYOND = 3  # shells that are looked at beyond those that the halves share


@dataclass(frozen=True)
class Refinement:
    """What is done to poses. ``rounds`` 0: nothing.

    ``forget``: poses begin as far off at random as blurs all beyond ``start_shell`` (None: found from the
    FSC of the start), so that halves whose poses come from one model share nothing beyond that shell.
    ``largest_shift_px`` bounds the particle's place from the middle of its image along each axis.
    """

    rounds: int = 0
    forget: bool = False
    start_shell: int | None = None
    largest_shift_px: float = np.inf
    seed: int = 0


@dataclass
class Round:
    """One pass over the images: band that the poses were refined to, FSC of the halves after it, its
    resolution in shells, median change of rotation and shift, and the drift between the halves that was
    found before it and taken out."""

    band: int
    fsc: np.ndarray
    shell: float
    turn_deg: float = 0.0
    move_px: float = 0.0
    drift_deg: float = 0.0
    drift_px: float = 0.0


@dataclass
class Reconstructed:
    """Poses, sums of both halves, gain in log likelihood ``(n,)`` of every image over no particle,
    noise variance ``(groups, shells)``, and the rounds, the first of which is the start."""

    poses: Poses
    volume: Volume
    gain: np.ndarray
    noise: np.ndarray
    rounds: list[Round]
    chosen: int
    """Which of the rounds the maps are of."""
    given_fsc: np.ndarray
    """FSC of the half maps at the poses as they were given, before anything was forgotten."""
    start_shell: int | None
    """What the halves share of their start ends here, where it was forgotten."""

    @property
    def fsc(self) -> np.ndarray:
        """FSC of the unfiltered half maps."""
        return self.rounds[self.chosen].fsc


def reconstruct(
    images: ParticleImages,
    poses: Poses,
    settings: Refinement,
    tell: Callable[[int, int, str], None] = lambda done, total, words: None,
) -> Reconstructed:
    """Maps of both halves of all ``images``, after local refinement of their ``poses`` if asked for.

    Every round refines all poses against the map of their own half, up to the band that the FSC allows, and
    inserts the images there; what the halves have drifted apart since the start is measured on low shells and
    taken out of the second half's poses (six numbers; nothing else goes from one half to the other). It
    stops where the resolution no longer grows, and the best round is kept. ``tell(done, total, words)`` hears
    of every batch.
    """
    groups = NoiseGroups(images)
    noise = groups.power()
    poses = poses.copy()
    volume, _ = _pass(images, groups, noise, poses, None, settings, tell, "reconstructing")
    rounds = [_round(volume, 0)]
    given, start_shell = rounds[0].fsc, None
    if settings.rounds and settings.forget:
        start_shell = settings.start_shell or _start_shell(given)
        _forget(poses, start_shell, settings.seed, images.box)
        del volume  # one at a time: they are the largest things in memory
        volume, _ = _pass(images, groups, noise, poses, None, settings, tell, "starting")
        rounds = [_round(volume, 0)]
    best = _Best.of(0, volume, rounds[0], poses, noise, images, settings)
    band = max(_LEAST_BAND, band_of(rounds[0].fsc))
    band = _bounded(band if start_shell is None else min(band, start_shell), images, poses)
    for number in range(1, settings.rounds + 1):
        before = poses.copy()
        drift = _drift(volume, rounds[-1].fsc)
        against = _Against(_references(volume, rounds[-1].fsc, band), band, drift)
        del volume
        words = f"refining, round {number}, shell {band}"
        volume, seen = _pass(images, groups, noise, poses, against, settings, tell, words)
        found = _round(volume, band)
        found.turn_deg, found.move_px = _change(before, poses)
        found.drift_deg, found.drift_px = drift.angle_deg, float(np.linalg.norm(drift.shift_px))
        noise = seen.noise
        rounds.append(found)
        if found.shell >= rounds[best.number].shell:
            best = _Best.of(number, volume, found, poses, noise, images, settings)
        if _is_done(rounds, band):
            break
        band = _next_band(band, found.fsc, images, poses)
    del volume
    poses = best.poses
    volume, seen = _pass(images, groups, best.noise, poses, best.against, settings, tell, "final maps")
    rounds[best.number].fsc = volume.half_fsc()
    return Reconstructed(poses, volume, seen.gain, seen.noise, rounds, best.number, given, start_shell)


def chance_level(images: ParticleImages, found: Reconstructed, seed: int = 0) -> float | None:
    """How many standard errors better poses explain images than those of other particles do.

    Each image is compared with the map of the half that it is not in, at its own pose and at that of
    another particle. Poses at chance give values about 0, real ones many. None for too few to tell.
    """
    if len(images) < _LEAST_CHANCE_IMAGES:
        return None
    batch = images.sample(_CHANCE_IMAGES)
    shared = found.start_shell or 0  # what both halves know of the start would speak for any pose found in it
    band = min(max(_LEAST_BAND, band_of(found.fsc), shared + _BEYOND), images.plane.radius)
    weights = np.ones((2, images.plane.radius + 1))
    weights[:, : shared + 1] = 0
    references = _references(found.volume, found.fsc, band)
    groups = NoiseGroups(images)
    values, ctf = groups.whitened(batch, found.noise)
    rows = batch.rows
    own = found.poses.half[rows]
    other = generator(seed, _JITTER_STREAM, 1).permutation(len(rows))
    losses = []
    for frames in (found.poses.frames[rows], found.poses.frames[rows][other]):
        result = refine_poses(
            references,
            2 - own,  # half 1 sees map 2
            np.arange(len(rows)),
            frames,
            found.poses.shifts[rows],
            values,
            ctf,
            images.plane,
            weights,
            band,
            0,
            np.inf,
        )
        losses.append(result.loss)
    gain = losses[1] - losses[0]
    spread = gain.std(ddof=1) if len(gain) > 1 else 0.0
    return float(gain.mean() / (spread / np.sqrt(len(gain)))) if spread > 0 else 0.0


@dataclass
class _Against:
    """What a pass compares images with: grids of both half maps, up to a band; and how far the second half
    had drifted from the first, which is taken out of its poses before they are inserted."""

    references: np.ndarray
    band: int
    drift: Drift | None = None
    steps: int = _STEPS


@dataclass
class _Best:
    """The best round so far: its number, poses and noise, and what the final pass compares images with."""

    number: int
    poses: Poses
    noise: np.ndarray
    against: _Against

    @classmethod
    def of(cls, number, volume, found: Round, poses, noise, images, settings) -> _Best:
        band = min(max(_LEAST_BAND, band_of(found.fsc)), images.plane.radius)
        drift = _drift(volume, found.fsc) if settings.rounds else None
        against = _Against(_references(volume, found.fsc, band), band, drift, steps=0)
        return cls(number, poses.copy(), noise, against)


@dataclass
class _Seen:
    gain: np.ndarray
    noise: np.ndarray


def _pass(images, groups, noise, poses, against, settings, tell, words):
    """One pass over all images: refine where there is something to refine against, then insert."""
    volume = Volume(images.box, images.plane.radius)
    gain = np.zeros(len(images))
    shells = images.plane.radius + 1
    total, weight = np.zeros((len(groups.numbers), shells)), np.zeros(len(groups.numbers))
    done = 0
    for batch in images.batches():
        values, ctf = groups.whitened(batch, noise)
        rows = batch.rows
        if against is not None:
            band = against.band
            found = refine_poses(
                against.references,
                poses.half[rows] - 1,
                np.arange(len(rows)),
                poses.frames[rows],
                poses.shifts[rows],
                values,
                ctf,
                images.plane,
                np.ones((2, shells)),
                band,
                against.steps,
                settings.largest_shift_px,
            )
            poses.frames[rows], poses.shifts[rows] = found.frames, found.shifts
            if against.drift is not None:
                second = rows[poses.half[rows] == 2]
                turned = turned_poses(poses.frames[second], poses.shifts[second], against.drift)
                poses.frames[second], poses.shifts[second] = turned
            count = images.plane.up_to(band)
            power = np.abs(values) ** 2
            gain[rows] = power[:, 1:count].sum(1, dtype=np.float64) - found.loss
            # beyond the band nothing was predicted: all power counts as noise
            left = images.plane.shell_means(power) * images.plane.per_shell
            left[:, 1 : band + 1] = found.residual[:, 1 : band + 1]
            np.add.at(total, groups.of[rows], left * noise[groups.of[rows]])
            np.add.at(weight, groups.of[rows], 1)
        volume.add(poses, rows, values, ctf, images.plane.points)
        done += len(rows)
        tell(done, len(images), words)
    volume.finish()
    if against is None:
        return volume, None
    found = total / np.maximum(weight, 1)[:, None] / images.plane.per_shell
    return volume, _Seen(gain, np.maximum(found, 1e-6 * found.max()))


def _round(volume: Volume, band: int) -> Round:
    curve = volume.half_fsc()
    return Round(band, curve, resolution_at(curve, 0.143).shell)


def _references(volume: Volume, curve, band: int) -> np.ndarray:
    """Fourier grids of both Wiener half maps, in a box that just holds the band."""
    box = volume.grid.box
    small = min(box, 2 * (band + 2))
    grid, factor = FourierGrid(small), np.float32((small / box) ** 2)
    halves = [volume.filtered(curve, which, band) * volume.mask for which in (0, 1)]
    return np.stack([grid.transform(resized(half, small) / factor) for half in halves])


def _start_shell(curve) -> int:
    """How much of the start is kept where it is forgotten: well within what its FSC shows."""
    return int(max(_LEAST_START, round(_START_SHARE * resolution_at(curve, 0.5).shell)))


def _next_band(band, curve, images, poses):
    reach = band_of(curve) + 1
    return _bounded(max(_LEAST_BAND, min(reach, band + max(_GROWTH, band // 4))), images, poses)


def _bounded(band, images, poses):
    fewest = min((poses.half == 1).sum(), (poses.half == 2).sum())
    return int(min(band, images.plane.radius, max(_LEAST_BAND, filled_shells(int(fewest)))))


def _is_done(rounds, band):
    """Two rounds that gained hardly anything, at a band that the FSC does not push further."""
    if len(rounds) < 4:
        return False
    now, before = max(each.shell for each in rounds[-2:]), max(each.shell for each in rounds[:-2])
    grows = band_of(rounds[-1].fsc) > band and rounds[-1].band > rounds[-2].band
    return now < (1 + _GAIN) * before and not grows


def _drift(volume, curve) -> Drift:
    band = band_of(curve, 0.5)
    if band < 2:
        return Drift(np.eye(3), np.zeros(3))
    return measure_drift(volume.filtered(curve, 0), volume.filtered(curve, 1), band, curve)


def _change(before: Poses, after: Poses) -> tuple[float, float]:
    """Median angle between frames in degrees, and median distance between shifts in pixels."""
    a, b = (
        np.concatenate([f, np.cross(f[:, 0], f[:, 1])[:, None]], axis=1).astype(np.float64)
        for f in (before.frames, after.frames)
    )
    cosine = (np.einsum("nij,nij->n", a, b) - 1) / 2
    moved = np.linalg.norm(after.shifts - before.shifts, axis=1)
    return float(np.degrees(np.median(np.arccos(np.clip(cosine, -1, 1))))), float(np.median(moved))


def _forget(poses: Poses, shell: int, seed: int, box: int) -> None:
    """Turn and move every pose at random by as much as blurs all beyond the start's shell.

    A turn by 2/(pi k) rad moves what lies a quarter of the box from the middle by one radian of phase of
    shell k.
    """
    rng = generator(seed, _JITTER_STREAM, 0)
    count = len(poses.frames)
    turns = rng.normal(size=(count, 3)) * 2 / (np.pi * shell)
    poses.frames = (poses.frames @ Rotation.from_rotvec(turns).as_matrix()).astype(np.float32)
    moves = rng.normal(size=(count, 2)) * box / (2 * np.pi * shell)
    poses.shifts = (poses.shifts + moves).astype(np.float32)
