"""A generator of explicit maps: the latent says how much of each state's map there is."""

from __future__ import annotations

import numpy as np
from keras import ops

from zoo.layers.registered import Float32Layer, registered
from zoo.models.abinitio3d.config import map_box_of, radius_of
from zoo.ops import fourier
from zoo.ops.fourier_volume import PAD, FourierGrid

_ABSENT = -1e9


@registered
class StateMaps(Float32Layer):
    """z and frequency → Fourier coefficient of a mixture of the maps of ``states`` states.

    V(z) = Σ_k c_k(z) g_k V_k with c(z) = softmax(−½‖z − m_k‖²): the posterior over states of unit Gaussians
    about the states' places m_k in the latent space, so that a place gives its state's map and a walk between
    two of them leads from one map to the other. ``maps`` V_k and ``places`` m_k come from a finished
    reconstruction (`set_states`), the amplitude g_k of each state and shell is trained (``log_gain``).

    ``call(frequency (b, m, 3), z (b, d))`` → (re, im) ``(b, m)``, as `FourierGenerator`: frequency is xyz in
    index units, coefficients are those of an orthonormal image transform. The maps hold as many voxels as
    their shells need, whatever the ``box`` of the images is; there is nothing
    beyond their Nyquist.
    """

    def __init__(self, box: int, latent_dim: int, states: int, **kwargs):
        super().__init__(**kwargs)
        self.box, self.latent_dim, self.states = box, latent_dim, states
        self.map_box = map_box_of(radius_of(box))
        self.side = PAD * self.map_box
        # Half of Fourier space: x from 0 to Nyquist, and the neighbour that interpolation reads.
        self.width = self.map_box + 2

    def build(self, *shapes, **named_shapes):
        m, k = self.map_box, self.states

        def fixed(name, shape):
            return self.add_weight(name=name, shape=shape, initializer="zeros", trainable=False)

        self.maps = fixed("maps", (k, m, m, m))
        # Rows z, y, x of the padded transform; real parts of all states, then imaginary parts.
        self.grid = fixed("padded_transform", (self.side * self.side * self.width, 2 * k))
        self.places = fixed("places", (k, self.latent_dim))
        self.share = fixed("share", (k,))
        self.log_gain = self.add_weight(name="log_gain", shape=(k, m // 2 + 1), initializer="zeros")
        self.built = True

    def set_states(self, maps: np.ndarray, places: np.ndarray, share: np.ndarray) -> None:
        """Take maps ``(j, m, m, m)``, places ``(j, d)`` and shares of the particles ``(j,)`` of j ≤ k states.

        The transform of a map, divided by ``map_box``, has the images' orthonormal coefficients.
        """
        found, side = len(maps), self.side
        grid = np.zeros((side, side, self.width, 2, self.states), np.float32)
        transformer = FourierGrid(self.map_box)
        for k, volume in enumerate(maps):
            whole = transformer.transform(volume)
            half = np.zeros((side, side, self.width), np.complex64)
            half[..., : side // 2] = whole[..., side // 2 :]
            grid[..., 0, k], grid[..., 1, k] = half.real, half.imag
        rows = self.states - found
        self.maps.assign(np.pad(maps, [(0, rows), (0, 0), (0, 0), (0, 0)]))
        self.grid.assign(grid.reshape(-1, 2 * self.states))
        self.places.assign(np.pad(places, [(0, rows), (0, 0)]))
        self.share.assign(np.pad(share, (0, rows)))

    def mixture(self, z):
        """z ``(b, d)`` → how much of each state there is ``(b, k)``; they sum to 1."""
        return ops.exp(self.log_mixture(z))

    def log_mixture(self, z):
        """Logarithm of `mixture` ``(b, k)``; next to nothing for states that were not found."""
        places = ops.convert_to_tensor(self.places)
        distance = ops.sum(ops.square(z[:, None] - places[None]), axis=-1)
        logits = ops.where(self.present, -0.5 * distance, _ABSENT)
        return logits - ops.logsumexp(logits, axis=-1, keepdims=True)

    @property
    def present(self):
        """Which states there are ``(k,)``; all of them before `set_states`."""
        share = ops.convert_to_tensor(self.share)
        return ops.logical_or(share > 0.0, ops.sum(share) <= 0.0)

    def call(self, frequency, z):
        """Frequencies ``(b, m, 3)`` (or ``(1, m, 3)``) and z ``(b, d)`` → (re, im) ``(b, m)``."""
        frequency = ops.cast(frequency, "float32")
        right = ops.where(frequency[..., 0] >= 0.0, 1.0, -1.0)
        at = PAD * frequency * right[..., None]
        low = ops.floor(at)
        part = at - low
        low = ops.cast(low, "int32")
        grid, sums = ops.convert_to_tensor(self.grid), 0.0
        for corner in range(8):
            step = [corner & 1, corner >> 1 & 1, corner >> 2]
            weight = 1.0
            for axis in range(3):
                weight = weight * (part[..., axis] if step[axis] else 1.0 - part[..., axis])
            x = ops.clip(low[..., 0] + step[0], 0, self.width - 1)
            y = ops.clip(low[..., 1] + step[1] + self.side // 2, 0, self.side - 1)
            top = ops.clip(low[..., 2] + step[2] + self.side // 2, 0, self.side - 1)
            sums = sums + weight[..., None] * ops.take(grid, (top * self.side + y) * self.width + x, axis=0)
        radius = ops.sqrt(ops.sum(ops.square(frequency), axis=-1) + 1e-9)
        amount = self.mixture(ops.cast(z, "float32"))[:, None] * self._gain(radius)
        re, im = sums[..., : self.states], sums[..., self.states :]
        return ops.sum(re * amount, axis=-1), ops.sum(im * amount, axis=-1) * right

    def density(self, z):
        """z ``(b, d)`` → real maps ``(b, n, n, n)`` in z, y, x."""
        n, m = self.box, self.map_box
        k = fourier.frequency_grid_3d(m) * m
        radius = np.sqrt((k**2).sum(-1)).astype("float32")
        gain = ops.transpose(self._gain(radius), (3, 0, 1, 2)) * fourier.radial_mask_3d(m)
        re, im = (gain * each for each in fourier.fft3(ops.convert_to_tensor(self.maps)))
        flat, amount = (self.states, m**3), self.mixture(ops.cast(z, "float32"))

        def mixed(parts):
            parts = ops.reshape(ops.matmul(amount, ops.reshape(parts, flat)), (-1, m, m, m))
            return fourier.pad_centred(parts, n, 3) * (n / m)

        return fourier.ifft3(mixed(re), mixed(im))[0]

    def start_from(self, other: StateMaps, length_ratio: float) -> None:
        """Take another's states; raises ValueError where box or number of states differ."""
        if (other.box, other.states, other.latent_dim) != (self.box, self.states, self.latent_dim):
            raise ValueError(
                f"it has {other.states} states in a box of {other.box}, not {self.states} in {self.box}"
            )
        self.set_weights(other.get_weights())

    def _gain(self, radius):
        """Amplitudes ``(…, k)`` at radii ``(…)`` in index units, linear between shells."""
        top = self.map_box // 2
        gain = ops.exp(ops.transpose(ops.convert_to_tensor(self.log_gain)))
        inside = ops.cast(radius <= top, "float32")
        radius = ops.minimum(radius, float(top))
        low = ops.minimum(ops.cast(ops.floor(radius), "int32"), top - 1)
        part = (radius - ops.cast(low, "float32"))[..., None]
        between = ops.take(gain, low, axis=0) * (1.0 - part) + ops.take(gain, low + 1, axis=0) * part
        return between * inside[..., None]

    def get_config(self):
        return {
            **super().get_config(),
            "box": self.box,
            "latent_dim": self.latent_dim,
            "states": self.states,
        }
