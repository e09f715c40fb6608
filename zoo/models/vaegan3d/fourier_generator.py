"""A map's Fourier transform as a sine network of frequency and latent: evaluate only what you need."""

from __future__ import annotations

import math

import keras
import numpy as np
from keras import ops

from zoo.layers.registered import Float32Layer
from zoo.ops import fourier
from zoo.ops.interpolation import sample_trilinear


@keras.saving.register_keras_serializable("zoo")
class FourierGenerator(Float32Layer):
    """z and frequency → Fourier coefficient of the density, with Hermitian symmetry by construction.

    ``call(frequency (b, m, 3), z (b, d))`` → (re, im) ``(b, m)``; frequency is xyz in index units (1 =
    one cycle per box). Coefficients are those of an orthonormal image transform: white noise of
    variance 1 has variance 1 in each. Only half of Fourier space is asked of the network, the other
    half is its conjugate: every map is real.

    Thesis §6.5 and §11 (pi-GAN/SIREN, FiLM ``αx + β``, trainable coordinate grid). ``initialisation``
    "thesis" draws all weights from U(−1/128, 1/128) with sine frequency 30; "positions" draws the first
    layer's weights as positions in the particle (sin(2π k·x/N), x in a ball of 0.4 boxes), which a
    density's transform is made of, and the rest as Sitzmann et al. 2020 do. ``shell_amplitude``
    multiplies the output by a trainable amplitude per shell (the transform of a particle falls by
    two orders of magnitude from the centre to Nyquist). ``film_layers`` is "one" or "all".
    ``seed`` fixes the initial weights.
    """

    def __init__(
        self,
        box: int,
        latent_dim: int,
        width: int = 128,
        hidden_layers: int = 2,
        initialisation: str = "thesis",
        coordinate_grid: bool = True,
        shell_amplitude: bool = False,
        film_layers: str = "one",
        mapping_width: int = 64,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if initialisation not in ("thesis", "positions"):
            raise ValueError(f"initialisation is 'thesis' or 'positions', not {initialisation!r}")
        if film_layers not in ("one", "all"):
            raise ValueError(f"film_layers is 'one' or 'all', not {film_layers!r}")
        self.box = box
        self.latent_dim = latent_dim
        self.width = width
        self.hidden_layers = hidden_layers
        self.initialisation = initialisation
        self.coordinate_grid = coordinate_grid
        self.shell_amplitude = shell_amplitude
        self.film_layers = film_layers
        self.mapping_width = mapping_width
        self.seed = seed

    def build(self, *shapes, **named_shapes):
        width = self.width
        thesis = self.initialisation == "thesis"
        self.omega = 30.0 if thesis else 1.0
        small = keras.initializers.RandomUniform(-1.0 / 128.0, 1.0 / 128.0, seed=self.seed + 101)
        bound = math.sqrt(6.0 / width)
        spread = small if thesis else keras.initializers.RandomUniform(-bound, bound, seed=self.seed + 102)
        first = small if thesis else _ball_positions(self.box, self.seed)
        self.first_kernel = self.add_weight(name="first_kernel", shape=(3, width), initializer=first)
        phase = keras.initializers.RandomUniform(-math.pi, math.pi, seed=self.seed + 103)
        self.first_bias = self.add_weight(
            name="first_bias", shape=(width,), initializer=small if thesis else phase
        )
        self.kernels, self.biases = [], []
        for i in range(self.hidden_layers):
            kernel = (
                small if thesis else keras.initializers.RandomUniform(-bound, bound, seed=self.seed + 110 + i)
            )
            bias = small if thesis else keras.initializers.RandomUniform(-1.0, 1.0, seed=self.seed + 120 + i)
            self.kernels.append(self.add_weight(name=f"kernel_{i}", shape=(width, width), initializer=kernel))
            self.biases.append(self.add_weight(name=f"bias_{i}", shape=(width,), initializer=bias))
        last = (
            spread
            if thesis
            else keras.initializers.RandomUniform(-0.3 * bound, 0.3 * bound, seed=self.seed + 104)
        )
        self.last_kernel = self.add_weight(name="last_kernel", shape=(width, 2), initializer=last)
        self.last_bias = self.add_weight(name="last_bias", shape=(2,), initializer="zeros")
        self.films = self.hidden_layers if self.film_layers == "all" else 1
        he = keras.initializers.HeNormal(seed=self.seed + 105)
        self.map_kernel = self.add_weight(
            name="map_kernel", shape=(self.latent_dim, self.mapping_width), initializer=he
        )
        self.map_bias = self.add_weight(name="map_bias", shape=(self.mapping_width,), initializer="zeros")
        self.film_kernel = self.add_weight(
            name="film_kernel",
            shape=(self.mapping_width, self.films * 2 * width),
            initializer=keras.initializers.RandomNormal(
                stddev=0.5 / math.sqrt(self.mapping_width), seed=self.seed + 106
            ),
        )
        self.film_bias = self.add_weight(
            name="film_bias", shape=(self.films * 2 * width,), initializer="zeros"
        )
        if self.coordinate_grid:
            # Index units, as the thesis' mesh of 64 points; offset by N//2 when sampled.
            grid = fourier.frequency_grid_3d(self.box) * self.box
            self.grid = self.add_weight(
                name="coordinate_grid",
                shape=grid.shape,
                initializer=lambda shape, dtype=None: ops.cast(grid, dtype),
            )
        if self.shell_amplitude:
            shells = np.arange(self.box, dtype="float32") * 32.0 / self.box
            self.log_amplitude = self.add_weight(
                name="log_amplitude",
                shape=(self.box,),
                initializer=lambda shape, dtype=None: ops.cast(
                    np.log(8.0 / (1.0 + shells)) / _AMPLITUDE_SPEED, dtype
                ),
            )
        self.built = True

    def start_from(self, other: FourierGenerator, length_ratio: float) -> None:
        """Take another generator's weights, so that the same particle comes out in this box.

        ``length_ratio`` is the edge of the other's box over this one's, in Å. Images of both are taken to
        have noise of variance 1. This network may be wider: units beyond the other's start without a say. A
        trained coordinate grid is taken where the box is the same. Raises ValueError where the networks
        differ in more.
        """
        for name in ("latent_dim", "hidden_layers", "initialisation", "shell_amplitude", "film_layers"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise ValueError(f"its {name} is {theirs}, not {mine}")
        if other.width > self.width:
            raise ValueError(f"its width is {other.width}, more than {self.width}")
        positions = self.initialisation == "positions"
        boxes = self.box / other.box
        # Positions are in voxels; the thesis' first layer sees index units, its output grows with the box.
        first = length_ratio * (boxes if positions else 1.0)
        last = 1.0 if self.shell_amplitude else length_ratio / (1.0 if positions else boxes)
        self._widen(self.first_kernel, first * other.first_kernel)
        self._widen(self.first_bias, other.first_bias)
        for mine, theirs in zip(self.kernels, other.kernels, strict=True):
            self._widen(mine, theirs, from_hidden=True)
        for mine, theirs in zip(self.biases, other.biases, strict=True):
            self._widen(mine, theirs)
        kernel = np.zeros((self.width, 2), "float32")
        kernel[: other.width] = last * ops.convert_to_numpy(other.last_kernel)
        self.last_kernel.assign(kernel)
        self.last_bias.assign(last * other.last_bias)
        self.map_kernel.assign(other.map_kernel)
        self.map_bias.assign(other.map_bias)
        self._widen(self.film_kernel, other.film_kernel, parts=2 * self.films)
        self._widen(self.film_bias, other.film_bias, parts=2 * self.films)
        if self.coordinate_grid and other.coordinate_grid and self.box == other.box:
            self.grid.assign(other.grid)
        if self.shell_amplitude:
            self.log_amplitude.assign(self._amplitude_of(other, length_ratio))

    def _amplitude_of(self, other, length_ratio):
        """Another's log amplitudes at our shells; beyond its reach, where it learned nothing, hardly any."""
        log = ops.convert_to_numpy(other.log_amplitude)
        shells, reach = np.arange(self.box) * length_ratio, other.box // 2 - 3
        known = np.interp(np.minimum(shells, reach), np.arange(other.box), log)
        return known + (math.log(length_ratio) + np.where(shells > reach, _FAINT, 0.0)) / _AMPLITUDE_SPEED

    def _widen(self, mine, theirs, parts: int = 1, from_hidden: bool = False) -> None:
        """Another's weight in the first columns of each part of ours; of ours nothing new reaches those."""
        ours, theirs = (ops.convert_to_numpy(x) for x in (mine, theirs))
        new = ours.reshape(*ours.shape[:-1], parts, -1).copy()
        old = theirs.reshape(*theirs.shape[:-1], parts, -1)
        width = old.shape[-1]
        if from_hidden:
            new[width:, :, :width] = 0.0
            new[:width, :, :width] = old
        else:
            new[..., :width] = old
        mine.assign(new.reshape(ours.shape))

    def film(self, z):
        """z ``(b, d)`` → scales and shifts ``(b, films, 2, width)`` (mapping network: dense + leaky ReLU)."""
        hidden = ops.leaky_relu(ops.matmul(z, self.map_kernel) + self.map_bias, negative_slope=0.2)
        out = ops.matmul(hidden, self.film_kernel) + self.film_bias
        return ops.reshape(out, (-1, self.films, 2, self.width))

    def call(self, frequency, z):
        """Frequencies ``(b, m, 3)`` (or ``(1, m, 3)``) and z ``(b, d)`` → (re, im) ``(b, m)``."""
        half = ops.where(_in_upper_half(frequency), 1.0, -1.0)[..., None]
        upper = frequency * half
        radius = ops.sqrt(ops.sum(ops.square(frequency), axis=-1) + 1e-9)
        coordinates = upper
        if self.coordinate_grid:
            grid = ops.convert_to_tensor(self.grid)[None]
            coordinates = sample_trilinear(grid, upper + float(self.box // 2), boundary="wrap")
        if self.initialisation == "positions":
            coordinates = coordinates * (2.0 * math.pi / self.box)
        film = self.film(z)
        hidden = ops.sin(self.omega * (ops.matmul(coordinates, self.first_kernel) + self.first_bias))
        for i, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            hidden = ops.matmul(hidden, kernel) + bias
            if i < self.films:
                hidden = (1.0 + film[:, i, 0][:, None]) * hidden + film[:, i, 1][:, None] / self.omega
            hidden = ops.sin(self.omega * hidden)
        out = ops.matmul(hidden, self.last_kernel) + self.last_bias
        if self.shell_amplitude:
            out = out * self._amplitude(radius)[..., None]
        elif self.initialisation == "thesis":
            # Orthonormal coefficients grow with the number of pixels: start near the images' own scale.
            out = out * float(self.box)
        return out[..., 0], out[..., 1] * half[..., 0]

    def volume_frequencies(self) -> np.ndarray:
        """All frequencies of the box ``(n³, 3)`` xyz in index units, z slowest."""
        return (fourier.frequency_grid_3d(self.box) * self.box).reshape(-1, 3)

    def density(self, z, chunk: int = 16384):
        """z ``(b, d)`` → real maps ``(b, n, n, n)`` (z, y, x) whose projections are clean images."""
        n = self.box
        points = self.volume_frequencies()
        parts = [
            self(ops.convert_to_tensor(points[None, i : i + chunk]), z) for i in range(0, len(points), chunk)
        ]
        inside = fourier.radial_mask_3d(n)
        re = ops.reshape(ops.concatenate([p[0] for p in parts], axis=1), (-1, n, n, n)) * inside
        im = ops.reshape(ops.concatenate([p[1] for p in parts], axis=1), (-1, n, n, n)) * inside
        re, im = fourier.hermitian(re, im, rank=3)
        return fourier.ifft3(re * n, im * n)[0]

    def _amplitude(self, radius):
        amplitude = ops.exp(_AMPLITUDE_SPEED * ops.convert_to_tensor(self.log_amplitude))
        low = ops.minimum(ops.cast(ops.floor(radius), "int32"), self.box - 2)
        part = radius - ops.cast(low, "float32")
        return ops.take(amplitude, low) * (1.0 - part) + ops.take(amplitude, low + 1) * part

    def get_config(self):
        return {
            **super().get_config(),
            "box": self.box,
            "latent_dim": self.latent_dim,
            "width": self.width,
            "hidden_layers": self.hidden_layers,
            "initialisation": self.initialisation,
            "coordinate_grid": self.coordinate_grid,
            "shell_amplitude": self.shell_amplitude,
            "film_layers": self.film_layers,
            "mapping_width": self.mapping_width,
            "seed": self.seed,
        }


_FAINT = math.log(0.2)
_AMPLITUDE_SPEED = 3.0
"""The amplitudes are exp(speed·weight): Adam moves them this many times faster than other weights."""


def _in_upper_half(frequency):
    x, y, z = frequency[..., 0], frequency[..., 1], frequency[..., 2]
    on_plane, on_line = ops.equal(z, 0.0), ops.logical_and(ops.equal(z, 0.0), ops.equal(y, 0.0))
    return ops.logical_or(
        z > 0.0, ops.logical_or(ops.logical_and(on_plane, y > 0.0), ops.logical_and(on_line, x >= 0.0))
    )


def _ball_positions(box: int, seed: int):
    """Initialiser: columns are positions in pixels, uniform in a ball of 0.4 boxes."""

    def initialise(shape, dtype=None):
        rng = np.random.default_rng(seed + 107)
        direction = rng.normal(size=shape)
        direction /= np.linalg.norm(direction, axis=0)
        return ops.cast(
            direction * 0.4 * box * rng.uniform(size=(1, shape[1])) ** (1 / 3), dtype or "float32"
        )

    return initialise
