"""What a run of `abinitio3d` found, as weights: states, poses and classes of the particles to learn from."""

from __future__ import annotations

import numpy as np
from keras import ops

from zoo.layers.registered import Float32Layer, registered
from zoo.models.abinitio3d.config import map_box_of, radius_of
from zoo.ops import fourier_volume as fv

_HELD_BACK = 31  # stream of random numbers


@registered
class Start(Float32Layer):
    """Tables of ``count`` particles and half maps of up to ``states`` states, from a finished `abinitio3d`.

    ``probability (N, k)`` of each state, ``frame (N, 2, 3)``: rows 0 and 1 of RELION's A, ``shift (N, 2)``:
    place in pixels from the image's middle, ``gain (N,)``: log likelihood over that of no particle, and
    ``learned (N,)``: 0 for the share ``held_back`` that the encoder never learns from, drawn by ``seed``.
    ``noise (s,)``: variance of a Fourier coefficient by shell. ``fsc (k, s + 1)`` of the half maps, and where
    it tells a ``resolution (k,)`` in Å (0: nowhere); ``told (2,)``: last shell of the halves' common start,
    and the one up to which their FSC says nothing.
    ``state`` is 0 before `take`, 1 after it, 2 where nothing but noise was found; ``half (N,)`` the half set,
    0 or 1.
    """

    def __init__(
        self,
        count: int,
        states: int,
        box: int,
        held_back: float,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.count, self.states, self.box, self.held_back = count, states, box, held_back
        self.seed = seed
        self.map_box = map_box_of(radius_of(box))

    def build(self, *shapes, **named_shapes):
        n, k, m = self.count, self.states, self.map_box

        def fixed(name, *shape, start="zeros", dtype="float32"):
            return self.add_weight(name=name, shape=shape, initializer=start, trainable=False, dtype=dtype)

        self.probability = fixed("probability", n, k, start="ones")
        self.frame, self.shift = fixed("frame", n, 2, 3), fixed("shift", n, 2)
        self.gain, self.learned = fixed("gain", n), fixed("learned", n, start="ones")
        self.half_maps = fixed("half_maps", 2, k, m, m, m)
        self.fsc = fixed("fsc", k, m // 2 + 1)
        self.resolution, self.told = fixed("resolution_angstrom", k), fixed("told_shells", 2)
        self.noise = fixed("noise", radius_of(self.box) + 1, start="ones")
        self.half = fixed("half", n, dtype="int32")
        self.state = self.add_weight(
            name="state",
            shape=(),
            initializer="zeros",
            trainable=False,
            dtype="int32",
            aggregation="only_first_replica",
        )
        self.built = True

    def take(self, other) -> tuple[np.ndarray, np.ndarray]:
        """Fill the tables from a finished `AbInitio3D`; its maps ``(j, m, m, m)`` and shares ``(j,)``.

        Raises ValueError where it is of other data, and where it holds more states than there is room for.
        """
        settings = other.settings
        if (settings.box, settings.count) != (self.box, self.count):
            raise ValueError(
                f"it saw {settings.count} particles of {settings.box} pixels, not {self.count} of {self.box}"
            )
        if settings.map_box != self.map_box:
            raise ValueError(f"its max_radius is {settings.max_radius}; run it without one")
        if not other.is_finished:
            raise ValueError("it is not finished; let it finish with zoo-train --resume")
        found = other.found()
        if len(found.maps) > self.states:
            raise ValueError(
                f"it found {len(found.maps)} states; give --set classes={len(found.maps)} or more"
            )
        uniform = fv.uniforms(self.seed, _HELD_BACK, 0, np.arange(self.count))
        self.learned.assign((uniform >= self.held_back).astype(np.float32))
        if not found.found:
            self.state.assign(2)
            return found.maps, np.zeros(0)
        self.half.assign(found.half_set - 1)
        states = len(found.maps)
        room = [(0, 0), (0, self.states - states)]
        self.probability.assign(np.pad(found.class_probability.astype(np.float32), room))
        self.frame.assign(found.frames)
        self.shift.assign(-found.origin_angstrom / np.float32(settings.voxel_size_angstrom))
        self.gain.assign(found.log_likelihood)
        # Its maps keep the images' intensities in their own box; here it is their coefficients that are kept.
        scale = np.float32(self.box / self.map_box)
        self.half_maps.assign(np.pad(found.half_maps * scale, room + [(0, 0)] * 3))
        self.fsc.assign(np.pad(found.fsc, room[::-1]))
        self.resolution.assign(np.pad(np.nan_to_num(found.resolution_angstrom), room[1]))
        self.told.assign([settings.start_shell, settings.silent_shell])
        self.noise.assign(other.state["noise"][0])
        self.state.assign(1)
        counts = np.bincount(np.maximum(found.class_number, 0), minlength=states)
        return found.maps * scale, counts / max(counts.sum(), 1)

    @property
    def is_taken(self) -> bool:
        """Whether there is something to learn from."""
        return int(ops.convert_to_numpy(self.state)) == 1

    @property
    def found_nothing(self) -> bool:
        """Whether the start saw nothing but noise."""
        return int(ops.convert_to_numpy(self.state)) == 2

    def rows(self, index) -> dict:
        """``probability``, ``frame``, ``shift`` and ``learned`` of the particles in these rows ``(b,)``."""
        tables = {"probability": self.probability, "frame": self.frame}
        tables |= {"shift": self.shift, "learned": self.learned}
        index = ops.cast(index, "int32")
        return {name: ops.take(ops.convert_to_tensor(table), index, axis=0) for name, table in tables.items()}

    def half_set(self) -> np.ndarray:
        """Half set, 1 or 2, of all particles ``(N,)``."""
        return np.asarray(ops.convert_to_numpy(self.half)) + 1

    def columns(self) -> dict[str, np.ndarray]:
        """Tables of all particles as arrays."""
        names = ("probability", "frame", "shift", "gain", "learned")
        return {name: np.array(ops.convert_to_numpy(getattr(self, name))) for name in names}

    def call(self, index):
        """Rows of the particles ``index (b,)`` → their probabilities of the states ``(b, k)``."""
        return self.rows(index)["probability"]

    def get_config(self):
        return {
            **super().get_config(),
            "count": self.count,
            "states": self.states,
            "box": self.box,
            "held_back": self.held_back,
            "seed": self.seed,
        }


def new_start(settings, seed: int) -> Start:
    """Empty tables for the particles and states of a configuration of `vaegan3d`."""
    s = settings
    start = Start(s.count, s.classes, s.box, s.held_back, seed, name="start")
    start.build()
    return start
