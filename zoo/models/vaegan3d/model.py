"""`vaegan3d`: unsupervised heterogeneous reconstruction from raw particles (thesis §11, Algorithms 6–8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.engines.draws import Draw
from zoo.errors import ZooError
from zoo.layers import GaussianReparameterisation
from zoo.models.base import ZooModel
from zoo.models.capabilities import Generates, MakesMaps, Projects
from zoo.models.endpoint import Endpoint, Input
from zoo.models.gradient_model import GradientModel
from zoo.models.preview import Images, Maps, Table, central_slices
from zoo.models.vaegan3d.begun import BegunByReconstruction
from zoo.models.vaegan3d.config import VAEGAN3DConfig
from zoo.models.vaegan3d.fourier_generator import FourierGenerator
from zoo.models.vaegan3d.losses import VAEGANLosses
from zoo.models.vaegan3d.networks import build_camera, build_critic, build_encoder, build_noise_generator
from zoo.models.vaegan3d.pose_search import PoseSearch
from zoo.models.vaegan3d.start import new_start
from zoo.models.vaegan3d.state_maps import StateMaps
from zoo.ops import fourier
from zoo.ops.ctf import ctf_2d
from zoo.ops.known_ctf import is_known
from zoo.ops.rotations import euler_to_matrix, rotation_from_6d


@keras.saving.register_keras_serializable("zoo")
class VAEGAN3D(BegunByReconstruction, VAEGANLosses, GradientModel, MakesMaps, Projects, Generates):
    """Critic, encoder, and a generator of Fourier slices with camera and noise, trained against each other.

    Takes the values of `VAEGAN3DConfig` as keyword arguments; ``seed`` fixes every initial weight. Batches
    are dicts with ``image`` ``(b, n, n, 1)`` (noise of variance about 1, particles bright), ``ctf`` and
    ``ctf_random`` ``(b, 9)`` and ``pixel_size_angstrom`` ``(b,)``, as
    `zoo.data.records.particle_pipeline.particle_batches` yields them.

    Example::

        model = zoo.create_model("vaegan3d", preset="tiny")
        model.compile()
        model.fit(particle_batches(info, batch_size=64, seed=0), steps_per_epoch=100)
        maps = model.density(np.zeros((1, model.latent_dim)))
    """

    def __init__(self, name: str | None = None, seed: int = 0, **config):
        config = {k: v for k, v in config.items() if k not in ("trainable", "dtype")}
        settings = VAEGAN3DConfig.of(config, "vaegan3d")
        super().__init__(name=name or "vaegan3d", seed=seed)
        self.settings = settings
        self.box = settings.box
        self.voxel_size_angstrom = settings.voxel_size_angstrom
        self.latent_dim = settings.latent_dim
        # Without a say in what the generator learns, a critic would only cost time.
        judged = settings.start == "none" or settings.adversarial_weight > 0
        self.players = ("critic",) * (settings.critic_steps * judged) + ("encoder", "generator")
        self.numbers_records = self.compares_at_end = settings.start != "none"
        initial = self.first_initialiser_seed
        self.generator = self._new_generator("generator", initial)
        self.generator.build()
        # The maps of states need no average: their amplitudes follow from all particles.
        self.generator_average = self.generator
        if settings.generator == "network":
            self.generator_average = self._new_generator("generator_average", initial)
            self.generator_average.trainable = False
            self.generator_average.build()
            self.generator_average.set_weights(self.generator.get_weights())
        self.critic = build_critic(settings, initial)
        self.encoder = build_encoder(settings, initial)
        self.sample_latent = GaussianReparameterisation(name="sample_latent")
        self.camera = build_camera(settings, initial)
        self.noise_generator = build_noise_generator(settings, initial)
        self.start = self.pose_search = None
        if settings.start != "none":
            self.start = new_start(settings, self.seed)
            # Of the search only the half plane is needed: views and turns are not looked at.
            self.pose_search = PoseSearch(settings.box, 1, 2, 1, 0.0)
        elif settings.pose_search:
            self.pose_search = PoseSearch(
                settings.box,
                settings.search_views,
                settings.search_in_plane,
                settings.search_rings,
                settings.search_shift_pixels,
                settings.search_shift_corners,
            )
        self.built = True

    @classmethod
    def check_data(cls, info, values):
        """Images whose background varies about as much as the model expects: a standard deviation near 1."""
        cls.check_first_phase(info, values)
        spread = None if info is None else info.statistics.get("std")
        if spread is not None and not 0.2 < spread < 20:
            raise ZooError(
                f"{info.path}: images with a standard deviation of {spread:.3g}, but vaegan3d expects noise "
                "of about 1; pack them again with --normalisation background"
            )

    def start_from(self, other: ZooModel) -> list[str]:
        """Take the weights of another model, of this or another box; lines about what was taken.

        With ``start=abinitio3d`` the other is a finished `AbInitio3D` of the same particles: its maps, states
        and poses are taken.

        The generator makes the same particle in the new box; the other networks are taken where all their
        shapes agree. Raises ValueError where the generators differ in more than the box.
        """
        if self.start is not None:
            return self._take_start(other)
        if not isinstance(other, VAEGAN3D):
            raise ValueError("it is a run of another model; give --set start=abinitio3d to begin from it")
        lengths = [model.box * model.voxel_size_angstrom for model in (other, self)]
        for name in ("generator", "generator_average"):
            getattr(self, name).start_from(getattr(other, name), lengths[0] / lengths[1])
        taken = ["generator"]
        for name in ("encoder", "critic", "noise_generator", "camera"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine is None or theirs is None:
                continue
            shapes = [[tuple(v.shape) for v in part.weights] for part in (mine, theirs)]
            if shapes[0] == shapes[1]:
                mine.set_weights(theirs.get_weights())
                taken.append(name.replace("_", " "))
        return [f"weights of {', '.join(taken)}"]

    def get_config(self):
        """Seed and hyperparameters, as ``__init__`` takes them."""
        return {"name": self.name, "seed": self.seed, **self.settings.values()}

    # -- what the players are -------------------------------------------------------------------

    def player_variables(self, player: str) -> list:
        """Critic, encoder; the generator player moves generator, noise generator and camera."""
        if player == "critic":
            return self.critic.trainable_variables
        if player == "encoder":
            return self.encoder.trainable_variables
        parts = [self.generator, self.noise_generator, self.camera]
        return [variable for part in parts if part is not None for variable in part.trainable_variables]

    def make_optimizers(self) -> dict:
        """One Adam per player with the decay of the settings."""
        s = self.settings
        rates = {
            "critic": s.critic_learning_rate,
            "encoder": s.encoder_learning_rate,
            "generator": s.learning_rate,
        }
        return {
            player: keras.optimizers.Adam(
                self._schedule(rate or s.learning_rate), beta_1=s.beta_1, beta_2=s.beta_2
            )
            for player, rate in rates.items()
        }

    def _schedule(self, rate: float):
        s = self.settings
        if s.learning_rate_decay == "exponential":
            return keras.optimizers.schedules.ExponentialDecay(
                rate, s.decay_steps, s.decay_rate, staircase=True
            )
        steps = max(1, s.training_steps)
        return keras.optimizers.schedules.CosineDecay(
            0.1 * rate,
            max(1, steps - min(200, steps // 10)),
            alpha=0.05,
            warmup_target=rate,
            warmup_steps=min(200, steps // 10),
        )

    def draw_specs(self) -> dict[str, Draw]:
        """Latents, camera and noise of fakes and reconstructions, penalty mixing, codes of the search."""
        s = self.settings
        n = s.box
        specs = {
            "z": Draw((s.latent_dim,)),
            "epsilon": Draw((s.latent_dim,)),
            "camera_fake": Draw((s.camera_latent_dim,)),
            "camera_rec": Draw((s.camera_latent_dim,)),
            "noise_fake": Draw((n, n)),
            "noise_rec": Draw((n, n)),
            "mix_fake": Draw((1,), "uniform"),
            "mix_rec": Draw((1,), "uniform"),
            "shift_fake": Draw((2,), "uniform"),
            "shift_rec": Draw((2,), "uniform"),
        }
        if s.noise_model != "none":
            specs["z_noise_fake"] = Draw((s.noise_latent_dim,))
            specs["z_noise_rec"] = Draw((s.noise_latent_dim,))
            specs["z_noise_level"] = Draw((8, s.noise_latent_dim), per_example=False)
        if self.start is not None:
            specs["pick"] = Draw((s.classes,), "uniform")
            specs["pick_fake"] = Draw((s.classes,), "uniform")
            specs["mirror"] = Draw((6,), "uniform")
        if s.pose_search:
            specs["codes"] = Draw((s.search_codes, s.latent_dim), per_example=False)
            specs["turn"] = Draw((4,), per_example=False)
            specs["pick"] = Draw((s.search_codes,), "uniform")
            if s.search_sample_poses:
                specs["pick_pose"] = Draw((s.search_views * s.search_in_plane,), "uniform")
        return specs

    # -- the forward model ----------------------------------------------------------------------

    def clean_images(self, generator, z, rotations, ctf, shifts=None):
        """z ``(b, d)``, A ``(b, 3, 3)``, ctf ``(b, n, n)`` → noise-free images ``(b, n, n)``.

        Fourier slice theorem: only the plane Aᵀ(kx, ky, 0) is asked of the generator, and of that the
        columns kx ≤ 0 (the rest is their conjugate).
        """
        n = self.box
        k = fourier.frequency_grid_2d(n)[:, : n // 2 + 1] * n
        inside = fourier.radial_mask_2d(n)
        half = (k.reshape(-1, 2)).astype("float32")
        points = ops.einsum("ma,bac->bmc", half, rotations[:, :2])
        re, im = generator(points, z)
        re = ops.reshape(re, (-1, n, n // 2 + 1))
        im = ops.reshape(im, (-1, n, n // 2 + 1))
        re, im = fourier.fill_half_space(re, im, rank=2)
        factor = ctf * inside * float(n)
        re, im = re * factor, im * factor
        if shifts is not None:
            re, im = fourier.multiply(re, im, *fourier.shift_phase(n, shifts))
        return fourier.ifft2(re, im)[0]

    def noise_level(self, z_noise):
        """z_n ``(b, 100)`` → σ ``(b, n, n)``; zeros without a noise generator."""
        if self.noise_generator is None:
            return ops.zeros((ops.shape(z_noise)[0], self.box, self.box))
        return self.noise_generator.sigma(z_noise)[..., 0]

    def add_noise(self, images, sigma, epsilon):
        """image + σ·ε, or image + √|image|·σ·ε for Poisson-like noise."""
        if self.settings.noise_model == "none":
            return images
        if self.settings.noise_model == "poisson":
            return images + ops.sqrt(ops.abs(images) + 1e-6) * sigma * epsilon
        return images + sigma * epsilon

    def _rotations(self, camera_latent):
        if self.camera is not None:
            return self.camera(camera_latent)
        return rotation_from_6d(camera_latent[:, :6])

    def _ctf(self, ctf9, batch):
        known = is_known(ctf9)
        safe = ops.where(known[:, None], ctf9, np.array(_ANY_CTF, "float32"))
        ctf = ctf_2d(safe, self.box, batch["pixel_size_angstrom"])
        return ops.where(known[:, None, None], ctf, 1.0)

    def _fakes(self, batch, draws):
        s = self.settings
        shifts = (draws["shift_fake"] * 2.0 - 1.0) * s.shift_pixels if s.shift_pixels else None
        rotations = self._rotations(draws["camera_fake"])
        clean = self.clean_images(
            self._ramped(draws), draws["z"], rotations, self._ctf(batch["ctf_random"], batch), shifts
        )
        sigma = self.noise_level(draws["z_noise_fake"]) if s.noise_model != "none" else None
        return clean, self.add_noise(clean, sigma, draws["noise_fake"]), sigma, rotations

    def _reconstructions(self, batch, draws):
        """Images made from what the encoder (or the search) says of the real ones."""
        s = self.settings
        ctf = self._ctf(batch["ctf"], batch)
        if self.pose_search is not None:
            z, rotations, shifts = draws["search_z"], draws["search_frames"], draws["search_shifts"]
        else:
            mean, log_variance = self._encode(batch["image"], batch["ctf"], batch, training=True)
            z, _ = self.sample_latent(mean, log_variance, draws["epsilon"])
            rotations = self._rotations(draws["camera_rec"])
            shifts = (draws["shift_rec"] * 2.0 - 1.0) * s.shift_pixels if s.shift_pixels else None
        clean = self.clean_images(self._ramped(draws), z, rotations, ctf, shifts)
        sigma = self.noise_level(draws["z_noise_rec"]) if s.noise_model != "none" else None
        return clean, self.add_noise(clean, sigma, draws["noise_rec"]), sigma

    def _encode(self, images, ctf9, batch, training):
        ctf = self._ctf(ctf9, batch)[..., None] if self.settings.encoder_sees_ctf else None
        return self._encode_seen(images, ctf, training)

    def _encode_seen(self, images, ctf, training):
        """Images and CTFs ``(b, n, n, 1)`` → mean and log-variance of the latents ``(b, d)``."""
        inputs = [images, ctf] if self.settings.encoder_sees_ctf else [images]
        out = self.encoder(inputs if len(inputs) > 1 else images, training=training)
        mean, log_variance = ops.split(ops.cast(out, "float32"), 2, axis=-1)
        # Soft limits: one noisy image never tells more than a spread of e^-2; a hard clip has no gradient.
        return mean, 4.0 * ops.tanh(log_variance / 4.0)

    def update_averages(self) -> None:
        """Exponential moving average of the generator's weights (decay 0.96 in the thesis)."""
        if self.generator_average is self.generator:
            return
        decay = self.settings.average_decay
        for average, value in zip(self.generator_average.weights, self.generator.weights, strict=True):
            average.assign(decay * average + (1.0 - decay) * value)

    def _new_generator(self, name, seed):
        s = self.settings
        if s.generator == "states":
            return StateMaps(s.box, s.latent_dim, s.classes, name=name)
        return FourierGenerator(
            s.box,
            s.latent_dim,
            width=s.siren_width,
            hidden_layers=s.siren_layers,
            initialisation=s.siren_initialisation,
            coordinate_grid=s.coordinate_grid,
            shell_amplitude=s.shell_amplitude,
            film_layers=s.film_layers,
            seed=seed,
            name=name,
        )

    # -- what a trained model is asked for --------------------------------------------------------

    def call(self, images, training=False):
        """Images ``(b, n, n, 1)`` → latent means ``(b, d)`` (no CTF known)."""
        ctf = ops.full((ops.shape(images)[0], 9), float("nan"))
        return self.encode({"image": images, "ctf": ctf})["z_mean"]

    def encode(self, batch):
        """``image (b, n, n, 1)`` and, if known, ``ctf (b, 9)`` of a batch → latent mean and log-variance."""
        image = ops.cast(batch["image"], "float32")
        ctf = batch["ctf"] if "ctf" in batch else ops.full((ops.shape(image)[0], 9), float("nan"))
        mean, log_variance = self._encode(image, ctf, self._pixels(image), training=False)
        return {"z_mean": mean, "z_logvar": log_variance}

    def density(self, z):
        """z ``(b, d)`` → real maps ``(b, n, n, n)`` (z, y, x)."""
        return self.generator_average.density(ops.cast(z, "float32"))

    def project(self, z, euler_deg, ctf=None):
        """z ``(b, d)``, RELION angles ``(b, 3)``, CTF ``(b, 9)`` → noise-free images ``(b, n, n, 1)``."""
        z = ops.cast(z, "float32")
        if ctf is None:
            ctf = ops.full((ops.shape(z)[0], 9), float("nan"))
        rotations = euler_to_matrix(euler_deg)
        return self.clean_images(self.generator_average, z, rotations, self._ctf(ctf, self._pixels(z)))[
            ..., None
        ]

    def generate(self, z, euler_deg, ctf, noise, z_noise):
        """As `project`, plus the noise generator's noise: ε ``(b, n, n)``, z_n ``(b, 100)``."""
        clean = self.project(z, euler_deg, ctf)[..., 0]
        if self.settings.noise_model == "none":
            return clean[..., None]
        return self.add_noise(clean, self.noise_level(z_noise), noise)[..., None]

    def _pixels(self, like):
        return {"pixel_size_angstrom": ops.full((ops.shape(like)[0],), float(self.voxel_size_angstrom))}

    def endpoints(self) -> dict:
        """Named signatures of the SavedModel."""
        n, d = self.box, self.latent_dim
        image, ctf = Input((None, n, n, 1)), Input((None, 9), "ctf")
        z, angles = Input((None, d), "latent"), Input((None, 3), "pose")
        seen = {"z": z, "euler_deg": angles, "ctf": ctf}
        noise = {
            "noise": Input((None, n, n), "noise"),
            "z_noise": Input((None, self.settings.noise_latent_dim), "noise"),
        }
        return {
            "encode": Endpoint(lambda **batch: self.encode(batch), {"image": image, "ctf": ctf}),
            "density": Endpoint(lambda z: {"density": self.density(z)}, {"z": z}),
            "project": Endpoint(lambda **given: {"image": self.project(**given)}, seen),
            "generate": Endpoint(lambda **given: {"image": self.generate(**given)}, {**seen, **noise}),
        }

    def preview(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Arrays that a person can judge: real, projected and noisy images, maps and slices."""
        count = min(8, int(batch["image"].shape[0]))
        batch = {name: np.asarray(value)[:count] for name, value in batch.items()}
        rng = np.random.default_rng(0)
        mean = ops.convert_to_numpy(self.encode(batch)["z_mean"])
        angles = np.stack([rng.uniform(0, 360, count), np.degrees(np.arccos(rng.uniform(-1, 1, count))),
                           rng.uniform(0, 360, count)], axis=-1).astype("float32")  # fmt: skip
        clean = ops.convert_to_numpy(self.project(mean, angles, batch["ctf"]))
        noise = rng.normal(size=(count, self.box, self.box)).astype("float32")
        z_noise = rng.normal(size=(count, self.settings.noise_latent_dim)).astype("float32")
        noisy = ops.convert_to_numpy(self.generate(mean, angles, batch["ctf"], noise, z_noise))
        picked = mean[np.linspace(0, count - 1, min(3, count)).astype(int)]
        maps = ops.convert_to_numpy(self.density(picked))
        return {
            "images-real": Images(batch["image"][..., 0]),
            "images-generated": Images(noisy[..., 0]),
            "images-projected": Images(clean[..., 0]),
            "slices": Images(np.concatenate([central_slices(each) for each in maps]), 3),
            "maps": Maps(maps),
            "latents": Table(mean),
        }


_ANY_CTF = (10000.0, 10000.0, 0.0, 300.0, 2.7, 0.1, 0.0, 0.0, 1.0)
