"""Losses of `vaegan3d` where a start has found states and poses: the encoder is taught."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from keras import ops

from zoo.errors import ZooError
from zoo.models.vaegan3d.config import VAEGAN3DConfig

_LOG_2PI = math.log(2.0 * math.pi)


class TaughtLosses:
    """Mixin of `VAEGANLosses`: what a step knows from the start, and what the encoder learns from it."""

    settings: VAEGAN3DConfig
    generator: Any
    start: Any
    pose_search: Any
    _ctf: Callable
    _coefficients: Callable
    _mean_sigma: Callable
    _fakes: Callable
    _encode_seen: Callable

    def known(self, batch, draws, step) -> dict:
        """State, pose and place in the latent space of each particle of a batch, in the terms of the search.

        ``z`` of generated images is the place of a state drawn by the states' shares.
        """
        if "index" not in batch:
            raise ZooError(
                "vaegan3d with a start learns from what that found of each particle, but the batches do not "
                "say which they hold (index); train it with zoo-train, or take a preset without a start"
            )
        generator, rows = self.generator, self.start.rows(batch["index"])
        places = self._places(generator)
        share = ops.where(generator.present, ops.convert_to_tensor(generator.share), 0.0)
        drawn = ops.argmax(ops.log(share + _TINY) + gumbel(draws["pick_fake"]), axis=-1)
        chosen = ops.argmax(ops.log(rows["probability"] + _TINY) + gumbel(draws["pick"]), axis=-1)
        ctf = self._ctf(batch["ctf"], batch)
        target = self._coefficients(ops.cast(batch["image"][..., 0], "float32"))
        return {
            "latent_ramp": ops.ones(()),
            "z": ops.take(places, drawn, axis=0),
            "drawn_state": drawn,
            "learned": rows["learned"],
            "search_z": ops.take(places, chosen, axis=0),
            "search_frames": rows["frame"],
            "search_shifts": rows["shift"],
            "search_posterior": rows["probability"],
            "search_ctf": self.pose_search.cartesian(ctf, ctf)[0],
            "search_target_re": target[0],
            "search_target_im": target[1],
            "search_sigma": self._mean_sigma(draws),
        }

    def _places(self, generator):
        return ops.convert_to_tensor(generator.places)

    def _taught_loss(self, batch, draws):
        """Which state is it, and where in the latent space does that lie? Of real and of generated images.

        Cross-entropy of the states, read off the mean as the generator mixes its maps by it, and the negative
        log likelihood of the states' places. Both kinds of images come mirrored and turned by quarters: a
        mirrored projection is one from behind. Particles that are held back count for nothing.
        """
        s = self.settings
        _, fake, _, _ = self._fakes(batch, draws)
        if s.noise_model == "none":
            fake = fake + draws["noise_fake"]
        real = ops.cast(batch["image"][..., 0], "float32")
        images = ops.concatenate([real, ops.stop_gradient(fake)])
        ctf = ops.concatenate([self._ctf(batch[name], batch) for name in ("ctf", "ctf_random")])
        flip = ops.concatenate([draws["mirror"][:, :3], draws["mirror"][:, 3:]]) < 0.5
        both = turned(ops.stack([images, ctf], axis=-1), flip)
        mean, log_variance = self._encode_seen(both[..., :1], both[..., 1:], training=True)
        states = ops.one_hot(draws["drawn_state"], s.classes)
        wanted = ops.concatenate([draws["search_posterior"], states])
        learned = draws["learned"] / (1.0 - s.held_back)
        weight = ops.concatenate([learned, ops.ones_like(learned)])
        choice = -ops.sum(wanted * self.generator.log_mixture(mean), axis=-1)
        gap = ops.square(self._places(self.generator)[None] - mean[:, None])
        place = ops.sum(gap * ops.exp(-log_variance[:, None]) + log_variance[:, None] + _LOG_2PI, axis=-1)
        place = 0.5 * ops.sum(wanted * place, axis=-1)
        choice, place = ops.mean(weight * choice), ops.mean(weight * place)
        return s.state_weight * choice + s.kl_weight * place, {"choice": choice, "encoder_nll": place}


def turned(images, which):
    """Images ``(b, n, n, c)``, each transposed and mirrored in y and x where ``which (b, 3)`` says so.

    The middle stays at pixel n // 2, so that these are the eight turns and mirrors of a square about it.
    """
    by = which[:, :, None, None, None]
    even = images.shape[1] % 2 == 0
    images = ops.where(by[:, 0], ops.transpose(images, (0, 2, 1, 3)), images)
    for place, axis in ((1, 1), (2, 2)):
        mirrored = ops.flip(images, axis=axis)
        mirrored = ops.roll(mirrored, 1, axis=axis) if even else mirrored
        images = ops.where(by[:, place], mirrored, images)
    return images


def gumbel(uniform):
    """Uniform numbers in [0, 1) → Gumbel noise: argmax of logits plus it is a sample of their softmax."""
    return -ops.log(-ops.log(uniform * (1.0 - 2e-6) + 1e-6))


_TINY = 1e-12
