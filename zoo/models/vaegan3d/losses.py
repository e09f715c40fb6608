"""The losses of `vaegan3d`'s players, and the schedules they follow (thesis §11, Algorithms 6–8)."""

from __future__ import annotations

import math

import numpy as np
from keras import ops

from zoo.layers.reparameterisation import gaussian_kl
from zoo.models.gradient_model import gradient_penalty
from zoo.models.vaegan3d.config import VAEGAN3DConfig
from zoo.models.vaegan3d.taught import TaughtLosses, gumbel
from zoo.ops import fourier

_LOG_2PI = math.log(2.0 * math.pi)


class VAEGANLosses(TaughtLosses):
    """Mixin of a model with settings, networks and a forward model; each loss is in keras.ops only.

    Critic: Wasserstein distance with gradient penalty on generated and reconstructed images. Encoder: KL and
    perceptual distance, or with pose search the posterior over codes. Generator, noise and camera: −E[D] of
    both kinds of images, diversity, and with pose search the misfit of the slices that were found.
    """

    settings: VAEGAN3DConfig

    def prepare(self, batch, draws, step):
        """Pose search (where it is on): a sampled latent, its pose, and the posterior over codes.

        With a start, what that knows of the particles stands in for the search.
        """
        if self.start is not None:
            return self.known(batch, draws, step)
        ramp = {"latent_ramp": self._latent_ramp(step)}
        if not self.settings.pose_search:
            return ramp
        s, search = self.settings, self.pose_search
        generator = self._ramped({**draws, **ramp})
        images = ops.cast(batch["image"][..., 0], "float32")
        ctf = self._ctf(batch["ctf"], batch)
        sigma = self._mean_sigma(draws)
        cutoff = self._cutoff(step)
        ratio, frames, shifts = search.search(
            generator,
            draws["codes"],
            draws["turn"],
            images,
            self._radial_ctf(ctf),
            sigma,
            ops.minimum(cutoff, float(search.rings)),
            jitter=self._temperature(step) * gumbel(draws["pick_pose"]) if s.search_sample_poses else None,
            model_error=s.search_model_error,
        )
        chosen = self._sample(ratio, draws, step)
        z = ops.take(draws["codes"], chosen, axis=0)
        frame = ops.take_along_axis(frames, chosen[:, None, None, None], axis=1)[:, 0]
        shift = ops.take_along_axis(shifts, chosen[:, None, None], axis=1)[:, 0]
        target = self._coefficients(images)
        half_ctf = search.cartesian(ctf, ctf)[0]
        for i in range(1, s.search_refinements + 1):
            # From the search's own frequencies outwards: at all of them a step of the grid is too far away.
            reach = search.rings + (cutoff - search.rings) * (i / s.search_refinements)
            frame, shift = search.refine(
                generator,
                z,
                frame,
                shift,
                half_ctf,
                target,
                ops.minimum(reach, cutoff),
                search.share(i, s.search_refine_points),
                sigma,
                s.search_model_error,
            )
        if s.search_rescore:
            # The codes compared again where the pose is right to a degree or two, at all frequencies in use.
            at = search.share(0, s.search_refine_points)
            ratio = search.score(generator, draws["codes"], frame, shift, half_ctf, target, sigma, cutoff, at)
            z = ops.take(draws["codes"], self._sample(ratio, draws, step), axis=0)
        return {
            **ramp,
            "search_z": z,
            "search_frames": frame,
            "search_shifts": shift,
            "search_posterior": ops.softmax(ratio, axis=-1),
            "search_codes": draws["codes"],
            "search_ctf": half_ctf,
            "search_target_re": target[0],
            "search_target_im": target[1],
            "search_sigma": sigma,
        }

    def _sample(self, ratio, draws, step):
        """Indices ``(b,)`` drawn from the posterior over codes at the annealed temperature."""
        return ops.argmax(ratio / self._temperature(step) + gumbel(draws["pick"]), axis=-1)

    def player_loss(self, player: str, batch: dict, draws: dict, input_gradient, step):
        """The loss of one player; see the module's reference for the terms."""
        if player == "critic":
            part = thinned(batch, draws, self._stride(self.settings.adversarial_batch))
            return self._critic_loss(*part, input_gradient)
        if player == "encoder":
            return self._encoder_loss(batch, draws)
        return self._generator_loss(batch, draws, step)

    def _critic_loss(self, batch, draws, input_gradient):
        s = self.settings
        real = ops.cast(batch["image"], "float32")
        fake = ops.stop_gradient(self._fakes(batch, draws)[1])[..., None]
        rec = ops.stop_gradient(self._reconstructions(batch, draws)[1])[..., None]
        score_real, score_fake, score_rec = (ops.mean(self._score(x)) for x in (real, fake, rec))
        penalty = gradient_penalty(self._score, real, fake, draws["mix_fake"], input_gradient)
        penalty += gradient_penalty(self._score, real, rec, draws["mix_rec"], input_gradient)
        distance = score_real - 0.5 * (score_fake + score_rec)
        loss = -2.0 * distance + s.gradient_penalty * penalty
        return loss, {"wasserstein": distance, "penalty": penalty}

    def _score(self, images):
        return ops.cast(self.critic(images, training=True)[0], "float32")

    def _features(self, images):
        return ops.cast(self.critic(images, training=True)[1], "float32")

    def _encoder_loss(self, batch, draws):
        s = self.settings
        logs = {}
        if self.start is not None:
            return self._taught_loss(batch, draws)
        if s.pose_search:
            part, few = thinned(batch, draws, self._stride(s.encoder_batch))
            mean, log_variance = self._encode(part["image"], part["ctf"], part, training=True)
            # Wake phase: the codes that explain the image, weighted by their posterior.
            codes = draws["search_codes"][None]
            nll = 0.5 * ops.sum(
                ops.square(codes - mean[:, None]) * ops.exp(-log_variance[:, None])
                + log_variance[:, None]
                + _LOG_2PI,
                axis=-1,
            )
            wake = ops.mean(ops.sum(few["search_posterior"] * nll, axis=-1))
            loss = wake
            logs["encoder_nll"] = wake
        else:
            part = batch
            mean, log_variance = self._encode(part["image"], part["ctf"], part, training=True)
            kl = ops.mean(gaussian_kl(mean, log_variance))
            clean = self._reconstructions(part, draws)[1]
            real_features = ops.stop_gradient(self._features(ops.cast(part["image"], "float32")))
            gap = ops.sqrt(
                ops.sum(ops.square(real_features - self._features(clean[..., None])), axis=(1, 2, 3)) + 1e-12
            )
            perceptual = ops.mean(gap)
            loss = s.kl_weight * kl + s.perceptual_weight * perceptual
            logs.update(kl=kl, perceptual=perceptual)
        if s.latent_regression_weight:
            regression = self._latent_regression(*thinned(batch, draws, self._stride(s.adversarial_batch)))
            loss = loss + s.latent_regression_weight * regression
            logs["latent_error"] = regression
        if s.pose_search:
            logs["kl"] = ops.mean(gaussian_kl(mean, log_variance))
        return loss, logs

    def _latent_regression(self, batch, draws):
        """E[−log N(z; E(G(z)))] up to constants: how well z can be read back from generated images."""
        images = self._fakes(batch, draws)[1]
        mean, log_variance = self._encode(images[..., None], batch["ctf_random"], batch, training=True)
        error = ops.square(draws["z"] - mean)
        if not self.settings.pose_search:
            return ops.mean(ops.sum(error, axis=-1))
        return 0.5 * ops.mean(ops.sum(error * ops.exp(-log_variance) + log_variance, axis=-1))

    def _generator_loss(self, batch, draws, step):
        s = self.settings
        part, few = thinned(batch, draws, self._stride(s.adversarial_batch))
        _, fake, sigma, rotations = self._fakes(part, few)
        loss, logs = 0.0, {}
        if "critic" in self.players:
            _, rec, _ = self._reconstructions(part, few)
            adversarial = -ops.mean(self._score(fake[..., None])) - ops.mean(self._score(rec[..., None]))
            loss = s.adversarial_weight * adversarial
            logs["adversarial"] = adversarial
        if sigma is not None:
            logs["sigma"] = ops.mean(sigma)
            if s.diversity_weight:
                diversity = self._noise_diversity(sigma, few["z_noise_fake"])
                loss = loss - s.diversity_weight * diversity
                logs["diversity"] = diversity
        if self.camera is not None and s.camera_spread_weight:
            crowding = self._camera_crowding(rotations)
            loss = loss + s.camera_spread_weight * crowding
            logs["camera_crowding"] = crowding
        if s.latent_regression_weight and self.pose_search is None:
            loss = loss + s.latent_regression_weight * self._latent_regression(part, few)
        if self.pose_search is not None:
            fit, chi2 = self._fit(draws, step)
            loss = loss + s.reconstruction_weight * fit
            logs["chi2"] = chi2
        return loss, logs

    def _fit(self, draws, step):
        """Squared misfit of the searched slices, and the noise level's own likelihood on the residual."""
        s, search = self.settings, self.pose_search
        mask = search.weights(self._cutoff(step))
        emphasis = mask * (search.half_plane_radius / search.half_plane_radius.mean()) ** s.fit_radius_power
        re, im = search.slices(
            self._ramped(draws),
            draws["search_z"],
            draws["search_frames"],
            draws["search_shifts"],
            draws["search_ctf"],
        )
        squared = ops.square(draws["search_target_re"] - re) + ops.square(draws["search_target_im"] - im)
        sigma = draws["search_sigma"]
        chi2 = ops.mean(ops.sum(squared * mask, axis=-1)) / ops.sum(mask) / (sigma * sigma)
        loss = ops.mean(ops.sum(squared * emphasis, axis=-1)) / ops.sum(emphasis) / (sigma * sigma)
        if s.noise_model == "gaussian":
            level = self._mean_sigma(draws)
            # At the outer frequencies a particle has least power: the noise is known before the maps are.
            radius = search.half_plane_radius
            outer = (radius > 0.85 * radius.max()).astype("float32")
            variance = ops.stop_gradient(ops.mean(ops.sum(squared * outer, axis=-1)) / outer.sum())
            loss = loss + 0.5 * (2.0 * ops.log(level) + variance / (level * level))
        return loss, chi2

    def _noise_diversity(self, sigma, z_noise):
        """‖σ(z1) − σ(z2)‖/‖z1 − z2‖, mean over pairs of neighbours in the batch (0 for a batch of one)."""
        pairs = ops.shape(sigma)[0] // 2
        sigma_gap = sigma[: 2 * pairs : 2] - sigma[1 : 2 * pairs : 2]
        latent_gap = z_noise[: 2 * pairs : 2] - z_noise[1 : 2 * pairs : 2]
        top = ops.sqrt(ops.sum(ops.square(sigma_gap), axis=(1, 2)) + 1e-12)
        bottom = ops.sqrt(ops.sum(ops.square(latent_gap), axis=1) + 1e-6)
        return ops.sum(top / bottom) / ops.maximum(ops.cast(pairs, "float32"), 1.0)

    def _camera_crowding(self, rotations):
        """Log mean kernel between view directions and in-plane frames of the batch: 0 if all are equal."""
        views = ops.reshape(rotations, (-1, 9))
        distance = 6.0 - 2.0 * ops.matmul(views, ops.transpose(views))
        kernel = ops.exp(-distance)
        count = ops.cast(ops.shape(views)[0], "float32")
        off = ops.sum(kernel) - ops.sum(ops.diagonal(kernel))
        return ops.log(off / ops.maximum(count * (count - 1.0), 1.0) + 1e-8)

    def _stride(self, count: int) -> int:
        """Every how many examples a term that sees ``count`` of a batch (0: all) takes one."""
        return max(1, self.settings.batch_size // count) if count else 1

    def _mean_sigma(self, draws):
        if self.settings.noise_model != "gaussian":
            return ops.ones(())
        return ops.mean(self.noise_level(draws["z_noise_level"]))

    def _cutoff(self, step):
        """Largest frequency in use (index units): linear from start to end over the schedule."""
        s = self.settings
        done = ops.minimum(ops.cast(step, "float32") / max(1.0, s.frequency_steps * s.training_steps), 1.0)
        return (s.frequency_start + (s.frequency_end - s.frequency_start) * done) * self.box

    def _latent_ramp(self, step):
        """How much of z the generator sees: 0 until latent_start, 1 from latent_full."""
        s = self.settings
        if s.latent_full <= 0.0:
            return ops.ones(())
        done = ops.cast(step, "float32") / max(1.0, s.training_steps)
        return ops.clip((done - s.latent_start) / max(s.latent_full - s.latent_start, 1e-6), 0.0, 1.0)

    def _ramped(self, draws):
        """The generator as the players see it: of z only what the ramp lets through."""
        return lambda frequency, z: self.generator(frequency, z * draws["latent_ramp"])

    def _temperature(self, step):
        s = self.settings
        done = ops.minimum(
            ops.cast(step, "float32") / max(1.0, s.search_temperature_steps * s.training_steps), 1.0
        )
        return 1.0 + (s.search_temperature - 1.0) * (1.0 - done)

    def _coefficients(self, images):
        re, im = fourier.fft2(images)
        return self.pose_search.cartesian(re / self.box, im / self.box)

    def _radial_ctf(self, ctf):
        """CTF ``(b, n, n)`` → its mean over directions at each ring ``(b, rings)``."""
        return ops.matmul(
            ops.reshape(ctf, (-1, self.box * self.box)), _ring_means(self.box, self.pose_search.rings)
        )


_SHARED_DRAWS = {"codes", "turn", "z_noise_level", "latent_ramp", "search_codes", "search_sigma"}


def thinned(batch: dict, draws: dict, stride: int) -> tuple[dict, dict]:
    """Every ``stride``-th example of a batch and of its draws.

    Not the first ones: the replicas of a distributed step together take what one device would take.
    """
    if stride == 1:
        return batch, draws
    few = {name: value if name in _SHARED_DRAWS else value[::stride] for name, value in draws.items()}
    return {name: value[::stride] for name, value in batch.items()}, few


def _ring_means(box: int, rings: int) -> np.ndarray:
    x = np.arange(box) - box // 2
    radius = np.round(np.sqrt((x[:, None] ** 2) + x[None] ** 2)).reshape(-1)
    ring = (radius[:, None] == np.arange(1, rings + 1)[None]).astype("float32")
    return ring / ring.sum(0)
