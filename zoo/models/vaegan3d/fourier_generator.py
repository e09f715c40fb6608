"""A map's Fourier transform as a sine network of frequency and latent: evaluate only what you need."""

from __future__ import annotations

import math

import keras
import numpy as np
from keras import ops

from zoo.layers import CoordinateGrid, FiLMMapping, SineDense
from zoo.layers.registered import Float32Layer
from zoo.models.vaegan3d.shell_amplitude import ShellAmplitude
from zoo.ops import fourier


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
        self.films = hidden_layers if film_layers == "all" else 1
        # The order in which checkpoints hold the weights.
        self.first, self.hidden, self.last = self._sine_network()
        self.mapping = FiLMMapping(
            self.films * width,
            hidden=(mapping_width,),
            spread=0.5,
            seed=seed + 105,
            dtype="float32",
            name="mapping",
        )
        self.grid = None
        if coordinate_grid:
            # Index units, as the thesis' mesh of 64 points.
            self.grid = CoordinateGrid(box, nyquist=box / 2.0, boundary="wrap", name="grid")
        self.amplitude = ShellAmplitude(box, name="amplitude") if shell_amplitude else None

    def _sine_network(self):
        """First sine layer, the hidden ones and the last linear one, with the initial weights asked for."""
        width, thesis = self.width, self.initialisation == "thesis"

        def uniform(bound, number):
            return keras.initializers.RandomUniform(-bound, bound, seed=self.seed + number)

        small = uniform(1.0 / 128.0, 101)
        bound = math.sqrt(6.0 / width)

        def sine(name, position, kernel, bias):
            return SineDense(
                width,
                position,
                omega=30.0 if thesis else 1.0,
                kernel_initializer=small if thesis else kernel,
                bias_initializer=small if thesis else bias,
                dtype="float32",
                name=name,
            )

        first = sine("first", "first", _ball_positions(self.box, self.seed), uniform(math.pi, 103))
        hidden = [
            sine(f"hidden_{i}", "hidden", uniform(bound, 110 + i), uniform(1.0, 120 + i))
            for i in range(self.hidden_layers)
        ]
        last = keras.layers.Dense(
            2,
            kernel_initializer=small if thesis else uniform(0.3 * bound, 104),
            dtype="float32",
            name="last",
        )
        return first, hidden, last

    def build(self, *shapes, **named_shapes):
        wide = (None, None, self.width)
        self.first.build((None, None, 3))
        for layer in self.hidden:
            layer.build(wide)
        self.last.build(wide)
        self.mapping.build((None, self.latent_dim))
        if self.grid is not None:
            self.grid.build((None, 3, 3))
        if self.amplitude is not None:
            self.amplitude.build((None, None))
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
        self._widen(self.first.kernel, first * other.first.kernel)
        self._widen(self.first.bias, other.first.bias)
        for mine, theirs in zip(self.hidden, other.hidden, strict=True):
            self._widen(mine.kernel, theirs.kernel, from_hidden=True)
            self._widen(mine.bias, theirs.bias)
        kernel = np.zeros((self.width, 2), "float32")
        kernel[: other.width] = last * ops.convert_to_numpy(other.last.kernel)
        self.last.kernel.assign(kernel)
        self.last.bias.assign(last * other.last.bias)
        self.mapping.dense[0].set_weights(other.mapping.dense[0].get_weights())
        self._widen(self.mapping.film.kernel, other.mapping.film.kernel, parts=2 * self.films)
        self._widen(self.mapping.film.bias, other.mapping.film.bias, parts=2 * self.films)
        if self.grid is not None and other.grid is not None and self.box == other.box:
            self.grid.set_weights(other.grid.get_weights())
        if self.amplitude is not None and other.amplitude is not None:
            self.amplitude.start_from(other.amplitude, length_ratio)

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
        """z ``(b, d)`` → scales and shifts, each ``(b, films, width)``, that condition the hidden layers."""
        scale, shift = self.mapping(z)
        shape = (-1, self.films, self.width)
        return ops.reshape(scale, shape), ops.reshape(shift, shape)

    def call(self, frequency, z):
        """Frequencies ``(b, m, 3)`` (or ``(1, m, 3)``) and z ``(b, d)`` → (re, im) ``(b, m)``."""
        half = ops.where(_in_upper_half(frequency), 1.0, -1.0)[..., None]
        coordinates = frequency * half
        if self.grid is not None:
            coordinates = self.grid.at(coordinates)
        if self.initialisation == "positions":
            coordinates = coordinates * (2.0 * math.pi / self.box)
        scale, shift = self.film(z)
        values = self.first(coordinates)
        for i, layer in enumerate(self.hidden):
            # The thesis adds β to the argument of the sine itself: outside ω.
            film = (scale[:, i], shift[:, i] / layer.omega) if i < self.films else ()
            values = layer(values, *film)
        out = self.last(values)
        if self.amplitude is not None:
            radius = ops.sqrt(ops.sum(ops.square(frequency), axis=-1) + 1e-9)
            out = out * self.amplitude(radius)[..., None]
        elif self.initialisation == "thesis":
            # Orthonormal coefficients grow with the number of pixels: start near the images' own scale.
            out = out * float(self.box)
        return out[..., 0], out[..., 1] * half[..., 0]

    def density(self, z, chunk: int = 16384):
        """z ``(b, d)`` → real maps ``(b, n, n, n)`` (z, y, x) whose projections are clean images.

        The network is asked for the half of the transform with kx ≤ 0, ``chunk`` frequencies at a time in a
        loop of the graph: its size does not grow with the box.
        """
        n = self.box
        half = n // 2 + 1

        def coefficients(first):
            index = first + ops.arange(chunk, dtype="int32")  # those beyond the end are cut off below
            k = ops.stack([index % half, index // half % n, index // (half * n)], axis=-1) - n // 2
            k = ops.cast(k, "float32")
            inside = ops.cast(ops.sum(ops.square(k), axis=-1) <= (n / 2.0) ** 2, "float32")
            re, im = self(k[None], z)
            return re * inside, im * inside

        def volume(parts):
            parts = ops.reshape(ops.transpose(parts, (1, 0, 2)), (-1, len(starts) * chunk))
            return ops.reshape(parts[:, : n * n * half], (-1, n, n, half)) * float(n)

        starts = np.arange(0, n * n * half, chunk, dtype="int32")
        re, im = ops.map(coefficients, starts)
        return fourier.ifft3(*fourier.fill_half_space(volume(re), volume(im), rank=3))[0]

    def load_own_variables(self, store):
        """Weights of files written before this layer had layers of its own, where all lie in it directly."""
        stored = [store[str(i)] for i in range(len(store.keys()))]
        if not stored:
            return
        if len(stored) != len(self.weights):
            raise ValueError(f"{self.name}: {len(stored)} stored weights, expected {len(self.weights)}")
        for variable, value in zip(self.weights, stored, strict=True):
            value = np.asarray(value)
            if self.films > 1 and variable.path.startswith(self.mapping.film.path):
                # (…, film, scale or shift, width) then, all scales before all shifts now.
                parts = value.reshape(*value.shape[:-1], self.films, 2, self.width)
                value = np.swapaxes(parts, -3, -2).reshape(value.shape)
            variable.assign(value)
        for layer in self._flatten_layers(include_self=False):
            # The file holds nothing for these: that is no fault.
            own = layer.load_own_variables
            layer.load_own_variables = lambda store, own=own: own(store) if len(store.keys()) else None

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
