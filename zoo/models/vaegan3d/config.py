"""Hyperparameters and presets of `vaegan3d`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.config import Config, FirstPhase, setting
from zoo.errors import ZooError
from zoo.models import pose_settings
from zoo.models.abinitio3d.config import AbInitio3DConfig
from zoo.registry import Entry, add


@dataclass(frozen=True)
class VAEGAN3DConfig(Config):
    """Every hyperparameter of `vaegan3d`; the defaults are the thesis' (§11), its options beyond it are off.

    Beyond the thesis: ``start`` (states, poses and maps of a run of `abinitio3d`, see `start.py` and
    `taught.py`; ``classes``, ``poses``, ``pose_*``, ``start_effort``, ``held_back``, ``state_*`` and
    ``count``, the data's, belong to it), ``generator="states"`` (`state_maps.py`), ``encoder="strided"``,
    ``pose_search`` and ``search_*`` (see `pose_search.py`), ``frequency_*`` (the schedule that the thesis
    proposes in its discussion),
    ``latent_start`` and ``latent_full`` (z fades in),
    ``latent_regression_weight`` (‖E(G(z)) − z‖²), ``camera_spread_weight`` (views of the trained camera
    repel each other), ``shift_pixels`` (generated images are shifted too), ``fit_radius_power`` (the misfit
    of a Fourier coefficient counts as radius^power: outer shells have little power and are learnt last),
    ``critic_spectral_norm``, rates per player, ``shell_amplitude``, ``film_layers="all"``,
    ``encoder_sees_ctf`` (the CTF is a second input),
    ``adversarial_batch`` and ``encoder_batch`` (how much of a batch the adversarial terms and the encoder
    see; 0 is all). Schedules are shares of ``training_steps``, whatever number of steps is run.
    """

    smallest: ClassVar[Mapping[str, Any]] = {
        "box": 16,
        "siren_width": 16,
        "gabor_filters": 4,
        "gabor_kernel": 5,
        "filters": (4, 8),
        "encoder_filters": (4, 8),
        "noise_filters": 4,
        "batch_size": 4,
        "adversarial_batch": 0,
        "encoder_batch": 0,
        "search_codes": 2,
        "search_views": 12,
        "search_in_plane": 8,
        "search_rings": 4,
        "training_steps": 2,
        "classes": 1,
        "start_effort": "least",
    }

    box: int = setting(64, "edge of the images and maps", unit="pixels", least=8, most=1024)
    voxel_size_angstrom: float = setting(5.0, "edge of a pixel", unit="Å", above=0, most=1e4)
    count: int = setting(9000, "particles of the data set", least=1, most=10**9)
    # Start
    start: str = setting("none", "what poses and states come from", choices=("none", "abinitio3d"))
    start_effort: str = setting(
        "full", "of the start; less is for trying things out", choices=("full", "quick", "least")
    )
    classes: int = setting(3, "states that the start looks for; it may find fewer", least=1, most=50)
    poses: str = pose_settings.poses("with a start: found from nothing, or known from the file")
    pose_range_deg: float = pose_settings.pose_range_deg()
    pose_range_angstrom: float = pose_settings.pose_range_angstrom()
    held_back: float = setting(
        0.1, "share of the particles that the encoder never learns from", least=0, most=0.9
    )
    state_spacing: float = setting(
        4.0, "between the nearest two states of the latent space", above=0, most=1e3
    )
    state_weight: float = setting(1.0, "of the encoder's choice of a state", least=0, most=1e6)
    # Generator
    generator: str = setting(
        "network", "a sine network, or the states' maps mixed", choices=("network", "states")
    )
    latent_dim: int = setting(10, "coordinates of the latent space", least=1, most=1024)
    siren_width: int = setting(128, "units of each layer of the generator", least=1, most=8192)
    siren_layers: int = setting(2, "hidden layers of the generator", least=1, most=32)
    siren_initialisation: str = setting(
        "thesis", "first weights: small ones, or positions in the particle", choices=("thesis", "positions")
    )
    film_layers: str = setting("one", "layers that the latent modulates", choices=("one", "all"))
    coordinate_grid: bool = setting(True, "frequencies are read from a trained grid")
    shell_amplitude: bool = setting(False, "a trained amplitude for each shell of frequencies")
    average_decay: float = setting(
        0.96, "of the average of the generator's weights, per step", least=0, below=1
    )
    # Camera
    camera: str = setting("trained", "where views come from", choices=("uniform", "trained"))
    camera_latent_dim: int = setting(64, "numbers that a view is made of", least=6, most=4096)
    camera_spread_weight: float = setting(0.0, "of views that repel each other", least=0, most=1e6)
    shift_pixels: float = setting(0.0, "largest shift of generated images", unit="pixels", least=0, most=512)
    # Noise
    noise_model: str = setting("gaussian", "of the images", choices=("gaussian", "poisson", "none"))
    noise_latent_dim: int = setting(100, "numbers that a noise level is made of", least=1, most=4096)
    noise_filters: int = setting(32, "of the noise generator", least=1, most=4096)
    diversity_weight: float = setting(0.02, "of noise levels that differ", least=0, most=1e6)
    # Critic and encoder
    encoder: str = setting(
        "thesis",
        "the thesis' layers, or strided convolutions, several times faster",
        choices=("thesis", "strided"),
    )
    invariant: bool = setting(True, "layers that do not mind shifts: cyclic, Gabor, polyphase")
    gabor_filters: int = setting(16, "filters of the first layer", least=1, most=4096)
    gabor_kernel: int = setting(9, "edge of the first filters", unit="pixels", least=3, most=255)
    filters: tuple[int, ...] = setting(
        (64, 128, 256), "of the critic's stages, each at half of the box before", least=1, most=8192
    )
    critic_norm: str = setting("batch", "of the critic's stages", choices=("batch", "instance", "none"))
    critic_spectral_norm: bool = setting(False, "kernels of the critic divided by their largest gain")
    encoder_filters: tuple[int, ...] = setting(
        (64, 128, 256), "of the encoder's stages, each at half of the box before", least=1, most=8192
    )
    encoder_norm: str = setting("batch", "of the encoder's stages", choices=("batch", "instance", "none"))
    encoder_sees_ctf: bool = setting(False, "the CTF is a second input of the encoder")
    # Losses
    gradient_penalty: float = setting(10.0, "weight of the critic's gradient penalty", least=0, most=1e6)
    critic_steps: int = setting(1, "updates of the critic in each step", least=1, most=1000)
    adversarial_weight: float = setting(1.0, "of the critic's say in the generator's loss", least=0, most=1e6)
    adversarial_batch: int = setting(
        0, "images of a batch that the adversarial terms see; 0: all", least=0, most=100_000
    )
    encoder_batch: int = setting(0, "images of a batch that the encoder sees; 0: all", least=0, most=100_000)
    perceptual_weight: float = setting(1.0, "of the distance of the critic's features", least=0, most=1e6)
    kl_weight: float = setting(1.0, "of the latents' distance from a normal distribution", least=0, most=1e6)
    latent_regression_weight: float = setting(
        0.0, "of latents read back from generated images", least=0, most=1e6
    )
    reconstruction_weight: float = setting(
        0.0, "of the misfit of the slices that the search found", least=0, most=1e6
    )
    # Optimizers
    batch_size: int = setting(16, "images in a step, over all devices", least=1, most=100_000)
    training_steps: int = setting(250_000, "steps that schedules are shares of", least=1, most=1_000_000_000)
    learning_rate: float = setting(1e-5, "of Adam at its highest", above=0, most=1)
    critic_learning_rate: float = setting(0.0, "of the critic; 0: learning_rate", least=0, most=1)
    encoder_learning_rate: float = setting(0.0, "of the encoder; 0: learning_rate", least=0, most=1)
    learning_rate_decay: str = setting("exponential", "how it falls", choices=("exponential", "cosine"))
    decay_rate: float = setting(0.96, "factor of the exponential decay", above=0, most=1)
    decay_steps: int = setting(
        10_000, "between two of its factors", unit="steps", least=1, most=1_000_000_000
    )
    beta_1: float = setting(0.9, "of Adam", least=0, below=1)
    beta_2: float = setting(0.999, "of Adam", least=0, below=1)
    # Pose search
    pose_search: bool = setting(False, "poses are searched for, not guessed by the camera")
    search_codes: int = setting(6, "latents that are tried for a batch", least=1, most=1024)
    search_views: int = setting(128, "view directions that are tried", least=1, most=100_000)
    search_in_plane: int = setting(32, "turns in the plane that are tried, even", least=2, most=4096)
    search_rings: int = setting(8, "largest frequency of the search", unit="index units", least=1, most=511)
    search_shift_pixels: float = setting(
        1.0, "shift that is tried along x and y; 0: none", unit="pixels", least=0, most=512
    )
    search_shift_corners: bool = setting(False, "shifts along both at once are tried too")
    search_temperature: float = setting(8.0, "of the posterior at first; 1 at last", above=0, most=1e6)
    search_temperature_steps: float = setting(0.5, "share of the steps until then", least=0, most=1)
    search_refinements: int = setting(1, "refinements of a found pose", least=0, most=1000)
    search_refine_points: int = setting(
        0, "frequencies that a refinement sees; 0: all", least=0, most=10_000_000
    )
    search_rescore: bool = setting(False, "latents are compared again at refined poses")
    search_sample_poses: bool = setting(False, "poses are drawn from the posterior, not the best one")
    search_model_error: float = setting(
        0.0, "share of the maps' power that counts as noise", least=0, most=1e3
    )
    fit_radius_power: float = setting(
        0.0, "the misfit of a frequency counts as its radius to this power", least=0, most=10
    )
    # Latent ramp, shares of training_steps: one map for all particles first, so that all states get one hand
    latent_start: float = setting(0.0, "share of the steps before the latent fades in", least=0, most=1)
    latent_full: float = setting(
        0.0, "share of the steps until it is there; 0: from the start", least=0, most=1
    )
    # Frequency schedule; its length as a share of training_steps
    frequency_start: float = setting(
        0.5, "largest frequency of the fit at first", unit="cycles per pixel", above=0, most=0.5
    )
    frequency_end: float = setting(
        0.5, "largest frequency of the fit at last", unit="cycles per pixel", above=0, most=0.5
    )
    frequency_steps: float = setting(0.0, "share of the steps from one to the other", least=0, most=1)

    def check(self):
        halvings = max(len(self.filters), len(self.encoder_filters))
        if self.box % 2**halvings:
            raise ZooError(
                f"box={self.box} cannot be halved {halvings} times (one for each entry of filters); "
                f"pack with a box that is a multiple of {2**halvings}"
            )
        for name in ("shift_pixels", "search_shift_pixels"):
            if getattr(self, name) > self.box / 2:
                raise ZooError(
                    f"{name}={getattr(self, name)}: expected 0 to {self.box // 2} for a box of {self.box}"
                )
        if self.latent_full and self.latent_start > self.latent_full:
            raise ZooError(f"latent_start={self.latent_start}: comes after latent_full={self.latent_full}")
        if (self.generator == "states") != (self.start != "none"):
            raise ZooError(
                f"generator={self.generator}, start={self.start}: the states' maps come from a start and a "
                "start brings them along; give start=abinitio3d and generator=states, or neither"
            )
        if self.start == "none" and self.poses == "known":
            raise ZooError("poses=known: a start takes them; give start=abinitio3d (preset default) too")
        if unused := pose_settings.range_without_poses(self):
            raise ZooError(unused)
        if self.start != "none" and self.pose_search:
            raise ZooError(f"start={self.start}: brings the poses along; give pose_search=false too")
        if self.start != "none" and self.box < _LEAST_BOX:
            raise ZooError(f"start={self.start}: needs a box of {_LEAST_BOX} or more, not {self.box}")
        if not self.pose_search:
            return
        if self.search_in_plane % 2:
            raise ZooError(f"search_in_plane={self.search_in_plane}: expected an even number")
        if self.search_rings >= self.box // 2:
            raise ZooError(
                f"search_rings={self.search_rings}: expected 1 to {self.box // 2 - 1} for a box of {self.box}"
                "; set it, or pack with a larger box"
            )

    def first_phase(self) -> FirstPhase | None:
        """The run of `abinitio3d` that the particles' poses and states come from."""
        if self.start == "none":
            return None
        values: dict[str, Any] = {"classes": self.classes}
        if self.start_effort == "least":
            small = AbInitio3DConfig.smallest
            # A pass over many particles in tiny batches would be no small effort.
            values = {**small, "batch_size": max(small["batch_size"], self.count // _LEAST_BATCHES)}
        if self.poses == "known":
            values |= {name: getattr(self, name) for name in pose_settings.OF_POSES}
        preset = "tiny" if self.start_effort == "quick" else "default"
        return FirstPhase(self.start, preset, values)


_LEAST_BOX = 16  # of abinitio3d
_LEAST_BATCHES = 20  # of a pass of the smallest start
_POSE_SEARCH = {
    "latent_dim": 2,
    "siren_initialisation": "positions",
    "coordinate_grid": False,
    "shell_amplitude": True,
    "average_decay": 0.99,
    "camera": "uniform",
    "shift_pixels": 3.2,
    "noise_latent_dim": 16,
    "diversity_weight": 0.0,
    "noise_filters": 8,
    "gabor_filters": 8,
    "filters": (16, 32, 64),
    "gabor_kernel": 7,
    "critic_norm": "none",
    "encoder_filters": (16, 32, 64, 128),
    "encoder_sees_ctf": True,
    "adversarial_weight": 0.01,
    "adversarial_batch": 8,
    "encoder_batch": 32,
    "perceptual_weight": 0.0,
    "latent_regression_weight": 0.5,
    "reconstruction_weight": 1.0,
    "fit_radius_power": 1.0,
    "batch_size": 64,
    "training_steps": 3000,
    "learning_rate": 5e-3,
    "critic_learning_rate": 2e-4,
    "encoder_learning_rate": 1e-3,
    "learning_rate_decay": "cosine",
    "beta_2": 0.99,
    "pose_search": True,
    "search_shift_pixels": 2.2,
    "search_shift_corners": True,
    "search_sample_poses": True,
    "search_temperature_steps": 0.4,
    "search_refinements": 4,
    "search_refine_points": 300,
    "search_rescore": True,
    "search_model_error": 0.3,
    "latent_start": 0.35,
    "latent_full": 0.5,
    "frequency_start": 0.0625,
    "frequency_end": 0.47,
    "frequency_steps": 0.6,
}

_PRESETS: dict[str, dict] = {
    # Poses and states from abinitio3d, 32 px in minutes of two CPU cores: the default.
    "default": {
        "box": 32,
        "voxel_size_angstrom": 10.0,
        "start": "abinitio3d",
        "generator": "states",
        "latent_dim": 2,
        "average_decay": 0.99,
        "camera": "uniform",
        "shift_pixels": 1.5,
        "noise_latent_dim": 16,
        "diversity_weight": 0.0,
        "noise_filters": 8,
        "invariant": False,
        "gabor_filters": 8,
        "filters": (16, 32, 64),
        "critic_norm": "none",
        "encoder": "strided",
        "encoder_filters": (16, 32, 64, 128),
        "encoder_norm": "batch",
        "encoder_sees_ctf": True,
        "adversarial_weight": 0.01,
        "adversarial_batch": 4,
        "perceptual_weight": 0.0,
        "kl_weight": 0.1,
        "reconstruction_weight": 1.0,
        "batch_size": 64,
        "training_steps": 1000,
        "learning_rate": 5e-3,
        "critic_learning_rate": 2e-4,
        "encoder_learning_rate": 2e-3,
        "learning_rate_decay": "cosine",
        "beta_2": 0.99,
        "frequency_start": 0.47,
        "frequency_end": 0.47,
    },
    # Algorithm 6: camera-aware, as the thesis proposes; its view distribution collapsed there.
    "paper": {},
    # Algorithm 7: the thesis' best (NMI 0.92, 10.2–12.3 Å).
    "uniform_camera": {"camera": "uniform"},
    # Algorithm 6 with views that repel each other, so that they do not collapse.
    "trainable_camera": {"camera": "trained", "camera_spread_weight": 1.0},
    # Algorithm 8.
    "no_noise_generator": {"camera": "uniform", "noise_model": "none"},
    # Max pooling, zero padding, 5×5 convolutions for Gabor filters.
    "no_invariance": {"camera": "uniform", "invariant": False},
    # The thesis' box with the options that make `tiny` converge; hours of a CPU instead of days of a GPU.
    "pose_search": {**_POSE_SEARCH},
    # After a run at a smaller box (--start-from): states and poses are known roughly, detail is not.
    "pose_search_fine": {
        **_POSE_SEARCH,
        "training_steps": 800,
        "learning_rate": 2e-3,
        "search_temperature": 1.0,
        "search_temperature_steps": 0.0,
        "latent_start": 0.0,
        "latent_full": 0.0,
        "frequency_start": 0.2,
        "frequency_steps": 0.4,
    },
    # 32 px in 45 minutes of a CPU core, poses searched by the network's own maps.
    "tiny": {
        **_POSE_SEARCH,
        "box": 32,
        "voxel_size_angstrom": 10.0,
        "siren_width": 64,
        "shift_pixels": 1.5,
        "search_shift_pixels": 1.0,
        "search_shift_corners": False,
        "search_temperature_steps": 0.35,
        "search_refinements": 2,
        "search_refine_points": 0,
        "search_model_error": 0.0,
        "latent_start": 0.3,
        "latent_full": 0.42,
        "frequency_start": 0.125,
        "frequency_end": 0.4375,
        "frequency_steps": 0.35,
    },
}

VAEGAN3D = add(
    Entry(
        "vaegan3d",
        "zoo.models.vaegan3d.model:VAEGAN3D",
        VAEGAN3DConfig,
        _PRESETS,
        "default",
        takes={"data": "particles"},
        learns="players",
        verbs=("encode", "density", "project", "generate"),
        summary="raw particles → latent clusters and a density map for any latent point; "
        "no poses, no reference",
        paper="VAE-GAN thesis, chapters 6–11, Algorithm 6",
    )
)
PRESETS = VAEGAN3D.presets
