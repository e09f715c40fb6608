"""Hyperparameters and presets of `vaegan3d`."""

from dataclasses import dataclass

from zoo.errors import ZooError


@dataclass
class VAEGAN3DConfig:
    """Every hyperparameter of `vaegan3d`; the defaults are the thesis' (§11), its options beyond it are off.

    Beyond the thesis: ``pose_search`` and ``search_*`` (see `pose_search.py`), ``frequency_*`` (the
    schedule that the thesis proposes in its discussion), ``latent_start`` and ``latent_full`` (z fades in),
    ``latent_regression_weight`` (‖E(G(z)) − z‖²), ``camera_spread_weight`` (views of the trained camera
    repel each other), ``shift_pixels`` (generated images are shifted too), ``fit_radius_power`` (the misfit
    of a Fourier coefficient counts as radius^power: outer shells have little power and are learnt last),
    ``critic_spectral_norm``, rates per player, ``shell_amplitude``, ``film_layers="all"``,
    ``encoder_sees_ctf`` (the CTF is a second input),
    ``adversarial_batch`` and ``encoder_batch`` (how much of a batch the adversarial terms and the encoder
    see; 0 is all). Schedules are shares of ``training_steps``, whatever number of steps is run.
    """

    box: int = 64
    voxel_size_angstrom: float = 5.0
    # Generator
    latent_dim: int = 10
    siren_width: int = 128
    siren_layers: int = 2
    siren_initialisation: str = "thesis"
    film_layers: str = "one"
    coordinate_grid: bool = True
    shell_amplitude: bool = False
    average_decay: float = 0.96
    # Camera
    camera: str = "trained"
    camera_latent_dim: int = 64
    camera_spread_weight: float = 0.0
    shift_pixels: float = 0.0
    # Noise
    noise_model: str = "gaussian"
    noise_latent_dim: int = 100
    noise_filters: int = 32
    diversity_weight: float = 0.02
    # Critic and encoder
    invariant: bool = True
    gabor_filters: int = 16
    gabor_kernel: int = 9
    filters: tuple[int, ...] = (64, 128, 256)
    critic_norm: str = "batch"
    critic_spectral_norm: bool = False
    encoder_filters: tuple[int, ...] = (64, 128, 256)
    encoder_norm: str = "batch"
    encoder_sees_ctf: bool = False
    # Losses
    gradient_penalty: float = 10.0
    critic_steps: int = 1
    adversarial_weight: float = 1.0
    adversarial_batch: int = 0
    encoder_batch: int = 0
    perceptual_weight: float = 1.0
    kl_weight: float = 1.0
    latent_regression_weight: float = 0.0
    reconstruction_weight: float = 0.0
    # Optimizers
    batch_size: int = 16
    training_steps: int = 250_000
    learning_rate: float = 1e-5
    critic_learning_rate: float = 0.0
    encoder_learning_rate: float = 0.0
    learning_rate_decay: str = "exponential"
    decay_rate: float = 0.96
    decay_steps: int = 10_000
    beta_1: float = 0.9
    beta_2: float = 0.999
    # Pose search
    pose_search: bool = False
    search_codes: int = 6
    search_views: int = 128
    search_in_plane: int = 32
    search_rings: int = 8
    search_shift_pixels: float = 1.0
    search_shift_corners: bool = False
    search_temperature: float = 8.0
    search_temperature_steps: float = 0.5
    search_refinements: int = 1
    search_refine_points: int = 0
    search_rescore: bool = False
    search_sample_poses: bool = False
    search_model_error: float = 0.0
    fit_radius_power: float = 0.0
    # Latent ramp, shares of training_steps: one map for all particles first, so that all states get one hand
    latent_start: float = 0.0
    latent_full: float = 0.0
    # Frequency schedule, cycles per pixel; its length as a share of training_steps
    frequency_start: float = 0.5
    frequency_end: float = 0.5
    frequency_steps: float = 0.0

    def __post_init__(self):
        self.filters, self.encoder_filters = tuple(self.filters), tuple(self.encoder_filters)
        _one_of("camera", self.camera, ("uniform", "trained"))
        _one_of("noise_model", self.noise_model, ("gaussian", "poisson", "none"))
        _one_of("siren_initialisation", self.siren_initialisation, ("thesis", "positions"))
        _one_of("film_layers", self.film_layers, ("one", "all"))
        _one_of("learning_rate_decay", self.learning_rate_decay, ("exponential", "cosine"))
        for name in ("critic_norm", "encoder_norm"):
            _one_of(name, getattr(self, name), ("batch", "instance", "none"))
        halvings = max(len(self.filters), len(self.encoder_filters))
        if self.box % 2**halvings:
            raise ZooError(
                f"box={self.box} cannot be halved {halvings} times (one for each entry of filters); "
                f"pack with a box that is a multiple of {2**halvings}"
            )
        if self.camera_latent_dim < 6:
            raise ZooError(f"camera_latent_dim={self.camera_latent_dim}: a view needs at least 6 numbers")
        if self.voxel_size_angstrom <= 0:
            raise ZooError(f"voxel_size_angstrom={self.voxel_size_angstrom}: expected a size above 0")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ZooError(f"{name}={value}: expected one of {', '.join(known)}")


_THESIS = {
    field: VAEGAN3DConfig.__dataclass_fields__[field].default for field in VAEGAN3DConfig.__dataclass_fields__
}

_POSE_SEARCH = {
    **_THESIS,
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

PRESETS: dict[str, dict] = {
    # Algorithm 6: camera-aware, as the thesis proposes; its view distribution collapsed there.
    "paper": {**_THESIS},
    # Algorithm 7: the thesis' best (NMI 0.92, 10.2–12.3 Å).
    "uniform_camera": {**_THESIS, "camera": "uniform"},
    # Algorithm 6 with views that repel each other, so that they do not collapse.
    "trainable_camera": {**_THESIS, "camera": "trained", "camera_spread_weight": 1.0},
    # Algorithm 8.
    "no_noise_generator": {**_THESIS, "camera": "uniform", "noise_model": "none"},
    # Max pooling, zero padding, 5×5 convolutions for Gabor filters.
    "no_invariance": {**_THESIS, "camera": "uniform", "invariant": False},
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
    # 32 px in half an hour of two CPU cores; the options beyond the thesis make it converge.
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
