"""``wgan3d``: a Wasserstein GAN of density maps.

Wang, Zeng, Liang, Huo, Xing, Xu: Image-derived generative modeling of pseudo-macromolecular structures –
towards the statistical assessment of electron cryotomography template matching (2018), section 2.1 and
figure 1. The authors' public code takes one norm over a whole batch in the gradient penalty; here, as in
Gulrajani et al. 2017, each map has its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.engines.draws import Draw
from zoo.metrics.map_sets import collapse_line, compare_sets, volumes_and_pieces
from zoo.models.capabilities import Compares, Generates, MakesMaps
from zoo.models.endpoint import Endpoint, Input
from zoo.models.gradient_model import GradientModel, gradient_penalty
from zoo.models.outcome import Results
from zoo.models.preview import Figure, Maps
from zoo.models.wgan3d.config import WGAN3DConfig
from zoo.models.wgan3d.networks import build_critic, build_features, build_generator
from zoo.ops.rotations import quaternion_to_matrix
from zoo.ops.turned_maps import turned_maps

_OWN_TURNS = 1024  # maps whose fixed turns differ
_SHOWN = 8
_PREVIEW_SAMPLES, _RESULT_SAMPLES = 64, 256
_PREVIEW_TURNS, _RESULT_TURNS = 4, 16  # of each known map
_MOST_KNOWN = 256  # that are compared, turns included: they are in memory


@keras.saving.register_keras_serializable("zoo")
class WGAN3D(GradientModel, MakesMaps, Generates, Compares):
    """Latents (b, latent_dim), normally distributed → density maps (b, n, n, n) with a peak near 1.

    Takes the values of `WGAN3DConfig` as keyword arguments; ``seed`` fixes every initial weight. Batches hold
    ``map`` (b, n, n, n, 1) and ``name_index`` (b,), as `zoo.data.records.map_pipeline.map_batches` yields
    them; each update of a step turns them anew and divides each by its peak, since matter has one density.
    """

    def __init__(self, name: str | None = None, seed: int = 0, **config: Any):
        config = {k: v for k, v in config.items() if k not in ("trainable", "dtype")}
        s = WGAN3DConfig.of(config, "wgan3d")
        super().__init__(name=name or "wgan3d", seed=seed)
        self.settings = s
        self.box, self.voxel_size_angstrom, self.latent_dim = s.box, s.voxel_size_angstrom, s.latent_dim
        self.players = ("critic",) * s.critic_steps + ("generator",)
        initial = self.first_initialiser_seed
        self.generator = build_generator(s, initial)
        self.generator_average = self.generator
        if s.average_decay:
            self.generator_average = build_generator(s, initial, "generator_average")
            self.generator_average.trainable = False
        self.critic_features = build_features(s, initial)
        self.critic = build_critic(s, initial, self.critic_features)
        self._fixed_turns = _fixed_turns(s.turns, self.seed) if s.turns else None
        self._collapse, self._told = "", ""
        self.built = True

    def get_config(self) -> dict[str, Any]:
        """Seed and hyperparameters, as ``__init__`` takes them."""
        return {"name": self.name, "seed": self.seed, **self.settings.values()}

    # -- learning -------------------------------------------------------------------------------

    def player_variables(self, player: str) -> list:
        """The weights of the critic, or of the generator."""
        return (self.critic if player == "critic" else self.generator).trainable_variables

    def make_optimizers(self) -> dict[str, keras.optimizers.Optimizer]:
        """Adam for both."""
        s = self.settings
        rates = {"critic": s.critic_learning_rate or s.learning_rate, "generator": s.learning_rate}
        return {
            player: keras.optimizers.Adam(rate, beta_1=s.beta_1, beta_2=s.beta_2)
            for player, rate in rates.items()
        }

    def draw_specs(self) -> dict[str, Draw]:
        """Latents for each update, and for those of the critic turns and the mixing of the penalty."""
        k = self.settings.critic_steps
        turn = Draw((k, 1), "uniform") if self.settings.turns else Draw((k, 4))
        return {"z": Draw((k + 1, self.latent_dim)), "turn": turn, "mix": Draw((k, 1), "uniform")}

    def draws_for(self, position: int, draws: dict) -> dict:
        """Every update has numbers of its own."""
        last = self.settings.critic_steps - 1
        return {name: values[:, min(position, last + (name == "z"))] for name, values in draws.items()}

    def player_loss(self, player: str, batch: dict, draws: dict, input_gradient, step) -> tuple:
        """Critic: −(E[D(x)] − E[D(G(z))]) and the penalty, one norm a map; generator: −E[D(G(z))]."""
        fake = ops.cast(self.generator(draws["z"], training=True), "float32")
        if player == "generator":
            loss = -ops.mean(self._score(fake))
            return loss, {"generator": loss}
        fake = ops.stop_gradient(fake)
        real = ops.stop_gradient(self.turned(batch, draws["turn"]))
        distance = ops.mean(self._score(real)) - ops.mean(self._score(fake))
        penalty = gradient_penalty(self._score, real, fake, draws["mix"], input_gradient)
        loss = self.settings.gradient_penalty * penalty - distance
        return loss, {"wasserstein": distance, "penalty": penalty}

    def _score(self, maps):
        return ops.cast(self.critic(maps, training=True), "float32")

    def turned(self, batch: Mapping[str, Any], turn):
        """``map`` of a batch with a peak of 1, turned: by quaternions (b, 4), or by one of the fixed turns.

        With fixed turns, ``turn`` (b, 1) in [0, 1) says which of those of each map.
        """
        maps = unit_peak(batch["map"])
        if self._fixed_turns is None:
            return turned_maps(maps, quaternion_to_matrix(turn))
        common, own = (ops.convert_to_tensor(each) for each in self._fixed_turns)
        count = self.settings.turns
        which = ops.minimum(ops.cast(turn[:, 0] * count, "int32"), count - 1)
        rows = ops.mod(ops.cast(batch["name_index"], "int32"), _OWN_TURNS)
        return turned_maps(maps, ops.matmul(ops.take(common, which, axis=0), ops.take(own, rows, axis=0)))

    def update_averages(self) -> None:
        """Move the average of the generator's weights, statistics of its norms included."""
        if self.generator_average is self.generator:
            return
        # In the first steps the average follows: it would remember the initial weights for long.
        done = ops.cast(ops.convert_to_tensor(self.step_counter), "float32")
        decay = ops.minimum(self.settings.average_decay, (1.0 + done) / (10.0 + done))
        for average, value in zip(self.generator_average.weights, self.generator.weights, strict=True):
            average.assign(decay * average + (1.0 - decay) * value)

    # -- what a trained model is asked for --------------------------------------------------------

    def call(self, latents, training: bool = False):
        """As `generate`."""
        return self.generate(latents)

    def generate(self, latents):
        """Latents (b, latent_dim) → maps (b, n, n, n), z, y, x; normal latents give samples."""
        return ops.cast(self.generator_average(latents, training=False), "float32")[..., 0]

    def density(self, z):
        """As `generate`: every latent point has a map."""
        return self.generate(z)

    def features(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """``features`` (b, k) of ``map`` (b, n, n, n, 1): what the critic's last convolution says."""
        return {"features": ops.cast(self.critic_features(unit_peak(batch["map"])), "float32")}

    def endpoints(self) -> dict[str, Endpoint]:
        """Named signatures of the SavedModel."""
        latents = Input((None, self.latent_dim), "latent")
        volume = Input((None, *(self.box,) * 3, 1))
        return {
            "generate": Endpoint(lambda latents: {"map": self.generate(latents)}, {"latents": latents}),
            "density": Endpoint(lambda z: {"density": self.density(z)}, {"z": latents}),
            "features": Endpoint(lambda **batch: self.features(batch), {"map": volume}),
        }

    def preview(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Samples beside known maps, with the figures of `zoo.metrics.map_sets.compare_sets`."""
        batch = {name: np.asarray(batch[name]) for name in ("map", "name_index")}
        samples, figures = self._compare(batch, _PREVIEW_SAMPLES, _PREVIEW_TURNS)
        self._collapse = collapse_line(figures)
        known = ops.convert_to_numpy(self.turned(batch, self._turns(len(batch["map"]))))[..., 0]
        shown = {"maps-samples": samples, "maps-data": known}
        return {
            **{name: Figure(value) for name, value in figures.items()},
            **{name: Maps(maps[:_SHOWN]) for name, maps in shown.items()},
        }

    def notices(self) -> list[str]:
        """That the generator has collapsed, or makes different maps again: once."""
        if bool(self._collapse) == bool(self._told):
            return []
        self._told = self._collapse
        return [self._collapse or "the generator makes maps that differ again"]

    def results(self, batches, apply) -> Results:
        """Samples, and how they compare with the known maps."""
        known = _first(batches, _MOST_KNOWN)
        samples, figures = self._compare(known, _RESULT_SAMPLES, _RESULT_TURNS)
        maps = {f"sample_{i:02d}": samples[i] for i in range(_SHOWN)}
        volumes, pieces = volumes_and_pieces(samples[:_SHOWN])
        cubic_nm = (self.voxel_size_angstrom / 10.0) ** 3
        measures = {
            name: {"volume_nm3": float(volumes[i] * cubic_nm), "pieces": float(pieces[i])}
            for i, name in enumerate(maps)
        }
        return Results(maps=maps, measures=measures, lines=_lines(figures, len(samples)))

    def _compare(self, batch: Mapping[str, np.ndarray], count: int, turns: int) -> tuple[np.ndarray, dict]:
        """``count`` samples and the figures of them beside the maps of a batch at ``turns`` turns each."""
        latents = np.random.default_rng(0).standard_normal((count, self.latent_dim)).astype(np.float32)
        samples, features = [], []
        for start in range(0, count, 16):
            maps = self.generate(latents[start : start + 16])
            samples.append(ops.convert_to_numpy(maps))
            features.append(ops.convert_to_numpy(self.features({"map": maps[..., None]})["features"]))
        data, data_features = [], []
        turns = max(1, min(turns, _MOST_KNOWN // len(batch["map"])))
        many = np.array_split(self._turns(turns * len(batch["map"])), turns)
        for turn in many:
            maps = self.turned(batch, turn)
            data.append(ops.convert_to_numpy(maps)[..., 0])
            data_features.append(ops.convert_to_numpy(self.features({"map": maps})["features"]))
        labels = np.tile(np.asarray(batch["name_index"]), turns)
        found = np.concatenate(samples)
        figures = compare_sets(
            found,
            np.concatenate(data),
            np.concatenate(features),
            np.concatenate(data_features),
            labels,
            self.voxel_size_angstrom,
        )
        return found, figures

    def _turns(self, count: int) -> np.ndarray:
        """The same ``count`` turns at each call, as `turned` takes them."""
        rng = np.random.default_rng(1)
        if self._fixed_turns is not None:
            return rng.uniform(size=(count, 1)).astype(np.float32)
        return rng.standard_normal((count, 4)).astype(np.float32)


def unit_peak(maps):
    """Maps (b, …) divided by their largest value; a map without anything positive stays as it is."""
    maps = ops.cast(maps, "float32")
    peak = ops.max(maps, axis=tuple(range(1, len(maps.shape))), keepdims=True)
    return maps / ops.where(peak > 0, peak, 1.0)


def _first(batches, count: int) -> dict[str, np.ndarray]:
    """``map`` and ``name_index`` of the first ``count`` records."""
    parts: list[dict[str, np.ndarray]] = []
    for batch in batches:
        parts.append({name: np.asarray(batch[name]) for name in ("map", "name_index")})
        if sum(len(part["name_index"]) for part in parts) >= count:
            break
    return {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}


def _fixed_turns(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(count, 3, 3) turns of all maps, and (_OWN_TURNS, 3, 3): one before them, for each map another."""
    from zoo.ops.fourier_volume.views import random_rotations

    rng = np.random.default_rng([seed, count])
    common, own = random_rotations(count, rng), random_rotations(_OWN_TURNS, rng)
    return common.astype(np.float32), own.astype(np.float32)


def _lines(figures: Mapping[str, float], count: int) -> list[str]:
    pairs = (figures[f"correlation_{name}"] for name in ("samples", "data"))
    volumes = (figures[f"volume_{name}_nm3"] for name in ("samples", "data"))
    pieces = (figures[f"pieces_{name}"] for name in ("samples", "data"))
    lines = [
        "{} samples beside the known maps: mean correlation of pairs {:.2f} ({:.2f}), median volume {:,.0f} "
        "({:,.0f}) nm³, connected pieces {:.1f} ({:.1f})".format(count, *pairs, *volumes, *pieces),
        f"{figures['coverage']:.0%} of the known maps are the nearest of some sample",
    ]
    return [*lines, *filter(None, [collapse_line(figures)])]
