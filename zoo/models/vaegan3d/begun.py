"""What a run that began from a reconstruction knows besides its networks: states, poses, likelihoods."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from zoo.metrics.clustering import clustering_scores
from zoo.models.abinitio3d.config import AbInitio3DConfig
from zoo.models.abinitio3d.model import AbInitio3D
from zoo.models.base import ZooModel
from zoo.models.capabilities import EncodesByLikelihood
from zoo.models.outcome import Results, pose_columns
from zoo.models.pose_settings import OF_POSES
from zoo.models.vaegan3d.config import VAEGAN3DConfig
from zoo.models.vaegan3d.likelihood import KnownRange, StateLikelihood
from zoo.models.vaegan3d.start import Start
from zoo.models.vaegan3d.state_latents import place_states
from zoo.ops import fourier_volume as fv

_LEAST_LOG_VARIANCE = -4.0  # of a latent that the likelihood is sure of; the encoder's limit too


class BegunByReconstruction(EncodesByLikelihood):
    """Mixin of `VAEGAN3D`: takes a start, and says what came of it; without a start it has nothing to say."""

    settings: VAEGAN3DConfig
    start: Start | None
    generator: Any
    seed: int
    box: int
    voxel_size_angstrom: float

    @classmethod
    def check_first_phase(cls, info, values) -> None:
        """Raise ZooError where the first phase would refuse the data, before anything is made."""
        known = {name: value for name, value in values.items() if name in VAEGAN3DConfig.settings()}
        phase = VAEGAN3DConfig(**known).first_phase()
        if phase is not None:
            AbInitio3D.check_data(info, {**AbInitio3DConfig.defaults(), **phase.values})

    @property
    def is_finished(self) -> bool:
        """Whether the start saw nothing but noise, so that there is nothing to learn."""
        return self.start is not None and self.start.found_nothing

    @property
    def likelihood_features(self) -> tuple[str, ...]:
        """What the likelihood reads of a particle: its pose too, where poses are known."""
        more = ("euler_deg", "shift_angstrom", "source_row") if self.settings.poses == "known" else ()
        return (*super().likelihood_features, *more)

    @property
    def has_likelihood(self) -> bool:
        """Whether a start gave maps to compare images with."""
        return self.start is not None and self.start.is_taken

    def _take_start(self, other: ZooModel) -> list[str]:
        if self.start is None or not isinstance(other, AbInitio3D):
            raise ValueError("it is no abinitio3d, which start=abinitio3d begins from")
        for name in OF_POSES:
            theirs, ours = getattr(other.settings, name), getattr(self.settings, name)
            if theirs != ours:
                raise ValueError(f"it had {name}={theirs}, not {ours}; give --set {name}={theirs} as it had")
        maps, share = self.start.take(other)
        if self.start.found_nothing:
            return ["no particle was found in the images, so there is nothing to learn: abinitio3d"]
        s = self.settings
        self.generator.set_states(maps, place_states(maps, s.latent_dim, s.state_spacing), share)
        return [f"{len(maps)} states, and poses of {s.count} particles,"]

    def encode_by_likelihood(self, batch) -> dict[str, np.ndarray]:
        """Latents and poses of images by likelihood under the states' maps: all poses are searched, or with
        ``poses=known`` those of the records taken.

        ``z_mean``: the states' places weighted by their posterior, ``z_logvar``: log of the spread about it;
        the rest is `StateLikelihood.place`'s.
        """
        if self.start is None or not self.start.is_taken:
            raise TypeError(f"{type(self).__name__} has no maps to compare images with")
        maps, places, _ = self._states()
        likelihood = getattr(self, "_likelihood", None)
        if likelihood is None:
            noise = ops.convert_to_numpy(self.start.noise)
            s, known = self.settings, None
            if s.poses == "known":
                known = KnownRange(s.pose_range_deg, s.pose_range_angstrom)
            likelihood = StateLikelihood(maps, noise, self.box, self.voxel_size_angstrom, self.seed, known)
            object.__setattr__(self, "_likelihood", likelihood)
        found = likelihood.place(batch)
        return {**_latents_of(found["posterior"], places), **found}

    def results(self, batches, apply):
        """Maps of the states, with state, pose and latents of each particle; how well the encoder knows them.

        Classes and poses are the start's, by likelihood; ``zooLatent0`` … are the encoder's own.
        """
        if self.start is None:
            return None
        if not self.has_likelihood:
            return Results(lines=["no map: no particle was found in the images"])
        seen: dict[str, list] = {"z": [], "label": []}
        for batch in batches:
            seen["z"].append(apply("encode", batch)["z_mean"])
            seen["label"].append(batch["label"])
        z, label = (np.concatenate(parts) for parts in seen.values())
        maps, places, counts = self._found_states()
        table = self.start.columns()
        posterior = table["probability"][:, : len(maps)]
        classes = posterior.argmax(axis=1)
        amortised = ((z[:, None] - places[None]) ** 2).sum(-1).argmin(axis=1)
        rows = {
            "euler_deg": fv.euler_of_frames(table["frame"]),
            "origin_angstrom": -table["shift"] * np.float32(self.voxel_size_angstrom),
            "class": classes,
            "posterior": posterior,
        }
        columns = pose_columns(rows, self.start.half_set())
        columns["rlnLogLikeliContribution"] = table["gain"].astype(np.float64)
        columns |= {f"zooLatent{i}": values.astype(np.float64) for i, values in enumerate(z.T)}
        names = [f"state_{k + 1}" for k in range(len(maps))]
        curves, halves = (ops.convert_to_numpy(x) for x in (self.start.fsc, self.start.half_maps))
        silent = self.box * self.voxel_size_angstrom / float(ops.convert_to_numpy(self.start.told)[1])
        halves_in_words = self._halves_in_words()
        resolutions = ", ".join(
            f"{name} {f'{value:.1f} Å' if value else f'no better than {silent:.0f} Å'}"
            for name, value in zip(names, ops.convert_to_numpy(self.start.resolution), strict=False)
        )
        found = ", ".join(f"state {k + 1} of {count} particles" for k, count in enumerate(counts))
        return Results(
            maps=dict(zip(names, maps, strict=True)),
            half_maps={name: self._enlarged(halves[:, k]) for k, name in enumerate(names)},
            fsc={name: curves[k] for k, name in enumerate(names)},
            columns=columns,
            classes=classes,
            mirrored=self.settings.poses == "find",
            fsc_kind=halves_in_words,
            lines=[
                f"{len(maps)} states were found: {found}",
                *_encoder_lines(amortised, classes, label, table["learned"] == 0),
                f"FSC 0.143 of {halves_in_words}: {resolutions}",
            ],
        )

    def _halves_in_words(self) -> str:
        """What the FSC of the start's half maps is between."""
        values = {name: getattr(self.settings, name) for name in OF_POSES}
        start = AbInitio3DConfig(box=self.box, voxel_size_angstrom=self.voxel_size_angstrom, **values)
        return start.halves_in_words

    def _states(self):
        """Maps ``(j, m, m, m)``, places ``(j, d)`` and shares ``(j,)`` of the states that were found."""
        g = self.generator
        share = np.array(ops.convert_to_numpy(g.share))
        there = share > 0
        return *(np.array(ops.convert_to_numpy(x))[there] for x in (g.maps, g.places)), share[there]

    def _enlarged(self, volumes: np.ndarray) -> np.ndarray:
        """Volumes ``(j, m, m, m)`` in the box of the images, as `density` gives maps."""
        ratio = np.float32(volumes.shape[-1] / self.box)
        return np.stack([fv.resized(volume, self.box) * ratio**2 for volume in volumes])

    def _found_states(self):
        """Maps of the states in the box of the images, their places, and how many particles each has."""
        _, places, share = self._states()
        maps = np.concatenate([ops.convert_to_numpy(self.density(place[None])) for place in places])
        return maps, places, np.rint(share * self.settings.count).astype(int)


def _latents_of(posterior: np.ndarray, places: np.ndarray) -> dict[str, np.ndarray]:
    """Mean and log-variance ``(b, d)`` of the states' places under a posterior ``(b, k)``."""
    mean = posterior @ places
    spread = np.einsum("bk,bkd->bd", posterior, (places[None] - mean[:, None]) ** 2)
    return {
        "z_mean": mean.astype(np.float32),
        "z_logvar": np.log(spread + np.exp(_LEAST_LOG_VARIANCE)).astype(np.float32),
    }


def _encoder_lines(amortised, classes, label, held_back) -> list[str]:
    """How often the encoder alone says what the likelihood says, of particles that it did not learn from."""
    if not held_back.any():
        return []
    of = f"the encoder alone, {held_back.sum()} particles held back:"
    agrees = (amortised == classes)[held_back].mean()
    lines = [f"{of} {agrees:.1%} in the state of the likelihood"]
    known = held_back & (label >= 0)
    if len(np.unique(label[known])) > 1:
        nmi = clustering_scores(label[known], amortised[known])["nmi"]
        lines.append(f"{of} NMI {nmi:.3f} against labels")
    return lines
