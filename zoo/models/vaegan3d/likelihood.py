"""Pose and state of images by the likelihood under explicit maps: slower than an encoder, and exact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from zoo.errors import ZooError
from zoo.models.abinitio3d.config import Config
from zoo.models.abinitio3d.expectation import Expectation
from zoo.ops import fourier_volume as fv

_DRAWS, _STEPS = 6, 3
_VIEWS, _UNIFORM = 41, 42  # streams of random numbers


class KnownRange(NamedTuple):
    """How far poses may be from those that are known; 0: they stay."""

    turn_deg: float
    move_angstrom: float


class StateLikelihood:
    """Search of all poses under the maps of k states at low resolution, and refinement at all of it.

    maps ``(k, m, m, m)`` as `AbInitio3D` leaves them, whose transform over m has the images' coefficients;
    noise ``(s,)``: variance of a coefficient in each shell; box and pixel of the images. Where poses are
    ``known``, those of the batch are taken instead of a search, and refined within that range. Host code.
    """

    def __init__(
        self,
        maps: np.ndarray,
        noise: np.ndarray,
        box: int,
        voxel_size_angstrom: float,
        seed: int = 0,
        known: KnownRange | None = None,
    ):
        self.seed, self.voxel_size_angstrom, self.known = seed, voxel_size_angstrom, known
        settings = Config(box=box, voxel_size_angstrom=voxel_size_angstrom, classes=1)
        self.settings, self.expectation = settings, Expectation(settings)
        self.band = settings.bands[-1]
        self.noise = np.maximum(np.asarray(noise, np.float64), 1e-30)
        e = self.expectation
        self.grids = np.stack([e.full.transform(volume) for volume in maps])
        small = [fv.resized(volume, settings.small_box) / e.factor for volume in maps]
        frames = fv.view_frames(settings.views[-1], settings.turns[-1], fv.generator(seed, _VIEWS, 0))
        self.bank = fv.slice_bank(
            np.stack([e.small.transform(volume) for volume in small]), frames, e.plane, self.band
        )

    def place(self, batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """``image (b, n, n, 1)``, ``ctf (b, 9)``, ``pixel_size_angstrom (b,)`` → what the likelihood says.

        Where poses are known the batch has ``euler_deg (b, 3)``, ``shift_angstrom (b, 2)`` and ``source_row
        (b,)`` too; ZooError where one is missing.

        ``posterior (b, k)`` of the states, equal prior; of the likeliest state and pose ``class (b,)``,
        ``euler_deg (b, 3)`` and ``origin_angstrom (b, 2)`` as RELION's, and ``score (b,)``: log likelihood
        over that of no particle.
        """
        e, states = self.expectation, len(self.grids)
        count = len(batch["image"])
        seen = e.observe({**batch, "index": np.arange(count), "weight": np.ones(count)})
        image, frames, shifts = self._searched(seen) if self.known is None else self._given(batch)
        # A pose of one state is worth a try in all.
        image, frames, shifts = (np.repeat(each, states, axis=0) for each in (image, frames, shifts))
        state = np.tile(np.arange(states), len(image) // states)
        refined = self._refined(seen, state, image, frames, shifts)
        loss = np.full((count, states), np.inf)
        np.minimum.at(loss, (image, state), refined.loss)
        order = np.lexsort((refined.loss, image))
        best = order[np.flatnonzero(np.diff(image[order], prepend=-1))]
        posterior = np.exp(-(loss - loss.min(axis=1, keepdims=True)))
        power = e.plane.shell_means(np.abs(seen.values) ** 2) * e.plane.per_shell
        return {
            "posterior": (posterior / posterior.sum(axis=1, keepdims=True)).astype(np.float32),
            "class": state[best].astype(np.int32),
            "euler_deg": fv.euler_of_frames(refined.frames[best]),
            "origin_angstrom": -refined.shifts[best] * np.float32(self.voxel_size_angstrom),
            "score": (power[:, 1:] / self.noise[1:]).sum(axis=1) - refined.loss[best],
        }

    def _searched(self, seen):
        """Images, and poses drawn for each from its posterior over all poses, with the likeliest."""
        e = self.expectation
        weights = 1 / self.noise[e.plane.shell[1 : 1 + len(self.bank.points)]]
        uniform = fv.uniforms(self.seed, _UNIFORM, 0, seen.index)
        found = fv.search(
            self.bank, seen.values, seen.ctf, weights, e.shifts, self.settings.box, _DRAWS, uniform
        )
        number = np.concatenate([found.best[:, None], found.drawn], axis=1)
        image = np.repeat(seen.index, number.shape[1])
        image, number = np.unique(np.stack([image, number.ravel()]), axis=1)
        return image, *fv.decode(self.bank, e.shifts, number)[1:]

    def _given(self, batch):
        """The one pose of each image that its record has."""
        euler, origin = np.asarray(batch["euler_deg"]), np.asarray(batch["shift_angstrom"])
        origin = np.where(np.isfinite(origin).any(), origin, 0.0)
        unknown = np.flatnonzero(~np.isfinite(np.concatenate([euler, origin], axis=1)).all(axis=1))
        if len(unknown):
            row = int(np.asarray(batch["source_row"])[unknown[0]]) + 1
            raise ZooError(
                f"row {row} of the particles has no pose, but the run was trained with poses=known: give "
                "particles with poses, or encode with --by encoder"
            )
        shifts = (-origin / self.voxel_size_angstrom).astype(np.float32)
        return np.arange(len(euler)), fv.frames_of_euler(euler), shifts

    def _refined(self, seen, state, image, frames, shifts):
        """Poses of candidates refined; known ones no further than their range."""

        def refine(frames, shifts, steps):
            return fv.refine_poses(
                self.grids,
                state,
                image,
                frames,
                shifts,
                seen.values,
                seen.ctf,
                self.expectation.plane,
                np.tile(1 / self.noise, (len(self.grids), 1)),
                self.settings.radius,
                steps,
                self.expectation.largest_shift if self.known is None else np.inf,
            )

        if self.known is None:
            return refine(frames, shifts, _STEPS)
        if not any(self.known):
            return refine(frames, shifts, 0)
        found = refine(frames, shifts, _STEPS)
        turn, move = np.radians(self.known.turn_deg), self.known.move_angstrom / self.voxel_size_angstrom
        frames, shifts, _ = fv.poses_within(found.frames, found.shifts, frames, shifts, turn, move)
        return refine(frames, shifts, 0)
