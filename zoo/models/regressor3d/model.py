"""``regressor3d``: maps → the latents from which a trained ``wgan3d`` would make them.

Wang, Zeng, Liang, Huo, Xing, Xu: Image-derived generative modeling of pseudo-macromolecular structures –
towards the statistical assessment of electron cryotomography template matching (2018), section 2.2. The paper
trains an autoencoder whose decoder is the finished generator, by the sum of squared errors; the authors'
public code has no such training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from zoo.engines.draws import Draw
from zoo.metrics.map_sets import correlations
from zoo.models.base import ZooModel
from zoo.models.capabilities import Encodes, Generates, MakesMaps
from zoo.models.endpoint import Endpoint, Input
from zoo.models.gradient_model import GradientModel
from zoo.models.outcome import Results
from zoo.models.preview import Figure, Maps
from zoo.models.regressor3d.config import Regressor3DConfig
from zoo.models.wgan3d.model import WGAN3D, unit_peak
from zoo.models.wgan3d.networks import build_generator, convolution, normed
from zoo.ops.rotations import quaternion_to_matrix
from zoo.ops.turned_maps import turned_maps

_SHOWN = 6
_PREVIEW, _RESULT, _RESULT_TURNS = 32, 128, 4


@keras.saving.register_keras_serializable("zoo")
class Regressor3D(GradientModel, Encodes, MakesMaps, Generates):
    """Maps (b, n, n, n, 1) → latents (b, latent_dim) → the generator's maps (b, n, n, n).

    Takes the values of `Regressor3DConfig` as keyword arguments. The generator is that of the finished
    `WGAN3D` that `start_from` gets, and never changes.
    """

    def __init__(self, name: str | None = None, seed: int = 0, **config: Any):
        config = {k: v for k, v in config.items() if k not in ("trainable", "dtype")}
        s = Regressor3DConfig.of(config, "regressor3d")
        super().__init__(name=name or "regressor3d", seed=seed)
        self.settings = s
        self.box, self.voxel_size_angstrom, self.latent_dim = s.box, s.voxel_size_angstrom, s.latent_dim
        self.players = ("regressor",)
        initial = self.first_initialiser_seed
        self.regressor = _build(s, initial)
        self.generator = build_generator(s, initial)
        self.generator.trainable = False
        self.built = True

    def get_config(self) -> dict[str, Any]:
        """Seed and hyperparameters, as ``__init__`` takes them."""
        return {"name": self.name, "seed": self.seed, **self.settings.values()}

    def start_from(self, other: ZooModel) -> list[str]:
        """Take the generator of a finished `WGAN3D`; ValueError where it is of another shape or model."""
        if not isinstance(other, WGAN3D):
            raise ValueError("it is no wgan3d, whose generator is inverted")
        for name in ("box", "latent_dim", "filters"):
            ours, theirs = (getattr(model.settings, name) for model in (self, other))
            if ours != theirs:
                text = ",".join(map(str, theirs)) if isinstance(theirs, tuple) else theirs
                raise ValueError(f"its generator has {name}={text}; give --set {name}={text}")
        self.generator.set_weights(other.generator_average.get_weights())
        return ["the generator"]

    # -- learning -------------------------------------------------------------------------------

    def player_variables(self, player: str) -> list:
        """The weights of the regressor; the generator stays as it is."""
        return self.regressor.trainable_variables

    def make_optimizers(self) -> dict[str, keras.optimizers.Optimizer]:
        """Adam."""
        s = self.settings
        return {"regressor": keras.optimizers.Adam(s.learning_rate, beta_1=s.beta_1, beta_2=s.beta_2)}

    def draw_specs(self) -> dict[str, Draw]:
        """Latents of generated maps, and the turns of known ones."""
        return {"z": Draw((self.latent_dim,)), "turn": Draw((4,))}

    def player_loss(self, player: str, batch: dict, draws: dict, input_gradient, step) -> tuple:
        """‖x − G(R(x))‖², means over known and over generated maps, and ‖z − R(G(z))‖² of the latter."""
        s = self.settings
        real = turned_maps(unit_peak(batch["map"]), quaternion_to_matrix(draws["turn"]))
        fake = self.generate(draws["z"])[..., None]
        maps = ops.stop_gradient(ops.concatenate([real, fake], axis=0))
        # One pass: the norms see known and generated maps together, as they will in use.
        latents = ops.cast(self.regressor(maps, training=True), "float32")
        error = ops.sum(ops.square(maps[..., 0] - self.generate(latents)), axis=(1, 2, 3))
        of_known, of_samples = (ops.mean(each) for each in ops.split(error, 2, axis=0))
        recovered = ops.split(latents, 2, axis=0)[1]
        of_latents = ops.mean(ops.sum(ops.square(recovered - draws["z"]), axis=-1))
        loss = of_known + s.sample_weight * of_samples + s.latent_weight * of_latents
        return loss, {"known_error": of_known, "sample_error": of_samples, "latent_error": of_latents}

    # -- what a trained model is asked for --------------------------------------------------------

    def call(self, maps, training: bool = False):
        """Maps (b, n, n, n, 1) in any unit → latents (b, latent_dim)."""
        return self.encode({"map": maps})["z_mean"]

    def encode(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """``z_mean`` (b, d) of ``map`` (b, n, n, n, 1); ``z_logvar`` is 0, latents have no spread."""
        latents = ops.cast(self.regressor(unit_peak(batch["map"]), training=False), "float32")
        return {"z_mean": latents, "z_logvar": ops.zeros_like(latents)}

    def generate(self, latents):
        """Latents (b, d) → maps (b, n, n, n) of the generator that is inverted."""
        return ops.cast(self.generator(latents, training=False), "float32")[..., 0]

    def density(self, z):
        """As `generate`."""
        return self.generate(z)

    def endpoints(self) -> dict[str, Endpoint]:
        """Named signatures of the SavedModel."""
        latents = Input((None, self.latent_dim), "latent")
        volume = Input((None, *(self.box,) * 3, 1))
        return {
            "encode": Endpoint(lambda **batch: self.encode(batch), {"map": volume}),
            "generate": Endpoint(lambda latents: {"map": self.generate(latents)}, {"latents": latents}),
            "density": Endpoint(lambda z: {"density": self.density(z)}, {"z": latents}),
        }

    def preview(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Known maps and what comes back of them, and how well latents of samples are found again."""
        maps, back = self._there_and_back(np.asarray(batch["map"]), 0)
        figures = {"correlation_known": correlations(maps, back).mean(), **self._of_samples(_PREVIEW)}
        return {
            **{name: Figure(float(value)) for name, value in figures.items()},
            "maps-known": Maps(maps[:_SHOWN]),
            "maps-back": Maps(back[:_SHOWN]),
        }

    def results(self, batches, apply) -> Results:
        """Known maps beside what comes back of them, with the correlation of each at several turns."""
        found: list[np.ndarray] = []
        shown: dict[str, np.ndarray] = {}
        for batch in batches:
            known = np.asarray(batch["map"])
            for turn in range(_RESULT_TURNS):
                maps, back = self._there_and_back(known, turn)
                found.append(np.stack([np.asarray(batch["name_index"]), correlations(maps, back)], axis=1))
                if not turn and len(shown) < 2 * _SHOWN:
                    for i in range(min(_SHOWN - len(shown) // 2, len(maps))):
                        name = f"known_{int(batch['name_index'][i]):02d}"
                        shown |= {name: maps[i], f"{name}_back": back[i]}
        rows = np.concatenate(found)
        by_map = {int(k): float(rows[rows[:, 0] == k, 1].mean()) for k in np.unique(rows[:, 0])}
        values = np.array(list(by_map.values()))
        samples = self._of_samples(_RESULT)
        lines = [
            f"maps that come back: correlation of G(R(x)) with x {np.median(values):.2f} of {len(values)} "
            f"known maps (median; {values.min():.2f} to {values.max():.2f}), "
            f"{samples['correlation_samples']:.2f} of samples (mean)",
            f"latents of samples found again: correlation {samples['latents_recovered']:.2f} (mean)",
        ]
        measures = {
            name: {"correlation": by_map[int(name.split("_")[1])]} for name in shown if name.endswith("_back")
        }
        return Results(maps=shown, measures=measures, lines=lines)

    def _there_and_back(self, maps: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Maps (b, n, n, n, 1), turned, with a peak of 1, and G(R(x)) of them: (b, n, n, n) each."""
        turn = np.random.default_rng(seed).standard_normal((len(maps), 4)).astype(np.float32)
        turned = turned_maps(unit_peak(maps), quaternion_to_matrix(turn))
        back = self.generate(self.encode({"map": turned})["z_mean"])
        return ops.convert_to_numpy(turned)[..., 0], ops.convert_to_numpy(back)

    def _of_samples(self, count: int) -> dict[str, float]:
        """Mean correlation of G(R(G(z))) with G(z), and of R(G(z)) with z."""
        z = np.random.default_rng(0).standard_normal((count, self.latent_dim)).astype(np.float32)
        samples, found = [], []
        for start in range(0, count, 16):
            maps = self.generate(z[start : start + 16])
            samples.append(ops.convert_to_numpy(maps))
            found.append(ops.convert_to_numpy(self.encode({"map": maps[..., None]})["z_mean"]))
        latents = np.concatenate(found)
        again = [
            ops.convert_to_numpy(self.generate(latents[start : start + 16])) for start in range(0, count, 16)
        ]
        return {
            "correlation_samples": float(correlations(np.concatenate(samples), np.concatenate(again)).mean()),
            "latents_recovered": float(correlations(z, latents).mean()),
        }


def _build(s: Regressor3DConfig, seed: int) -> keras.Model:
    """Maps (b, n, n, n, 1) → latents (b, latent_dim): the generator's layers in reverse."""
    stack: list = [keras.Input((*(s.box,) * 3, 1), name="map")]
    for i, count in enumerate(s.filters):
        stack += [convolution(count, seed + 300 + i, f"conv_{i}", use_bias=False), *normed(i)]
    kernel = keras.initializers.GlorotUniform(seed + 400)
    stack += [layers.Flatten(), layers.Dense(s.latent_dim, kernel_initializer=kernel, name="latents")]
    return keras.Sequential(stack, name="regressor")
