"""``abinitio3d`` as a Keras model: the run's state as weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, MutableMapping

import keras
import numpy as np
from keras import ops

from zoo.errors import ZooError
from zoo.models.abinitio3d.abinitio import AbInitio
from zoo.models.abinitio3d.config import from_preset
from zoo.models.abinitio3d.results import Result
from zoo.models.abinitio3d.state import initial_state, state_shapes


@keras.saving.register_keras_serializable(package="zoo")
class AbInitio3D(keras.Model):
    """Reference-free heterogeneous reconstruction from particle images.

    Expectation-maximisation of K explicit Fourier maps with class and pose of each particle, from nothing:
    poses and classes are drawn from their posterior on mini-batches, then every particle is searched and
    refined (see `AbInitio`). All that a run remembers are weights that no gradient moves, fixed in shape:
    ``sums`` of the running update and ``tables`` of the particles, both by name, maps, noise and counters.
    The E-step runs on the host; batches may be NumPy arrays or eager tensors.
    """

    by_epochs = True

    def __init__(self, name=None, **config):
        super().__init__(name=name)
        self.settings = from_preset("default", **config)
        initial = initial_state(self.settings)
        self.state = _Weights()
        for key, (shape, dtype) in state_shapes(self.settings).items():
            self.state.variables[key] = self.add_weight(
                name=key, shape=shape, dtype=dtype, initializer="zeros", trainable=False
            )
            if initial[key].any():
                self.state[key] = initial[key]
        self.run = AbInitio(self.settings, self.state)
        self.built = True

    @classmethod
    def from_data(cls, info, preset: str = "default", **overrides) -> AbInitio3D:
        """A model for the records of ``info`` (box, pixel size, count); ZooError where they do not fit."""
        if info is not None:
            if info.kind != "particles":
                raise ZooError(f"{info.path}: holds {info.kind}; abinitio3d expects particles (images)")
            overrides.update(box=info.box, voxel_size_angstrom=info.voxel_size_angstrom, count=info.count)
        return cls(**dataclasses.asdict(from_preset(preset, **overrides)))

    @property
    def sums(self) -> dict:
        """The sums of the running update: weights by name."""
        return {name: v for name, v in self.state.variables.items() if name.startswith("sum_")}

    @property
    def tables(self) -> dict:
        """What is known of each particle: weights ``(N, ...)`` by name."""
        return {name: v for name, v in self.state.variables.items() if name.startswith("table_")}

    @property
    def step_counter(self):
        """Weight: how many steps were made."""
        return self.state.variables["step"]

    @property
    def finished(self) -> bool:
        """Whether the run is done, before its largest number of steps."""
        return self.run.finished

    @property
    def steps_per_pass(self) -> int:
        """Batches of an epoch."""
        return self.run.steps_per_pass

    def most_steps(self) -> int:
        """Steps after which every run has finished."""
        return self.run.most_steps()

    def prepare(self) -> dict:
        """What the batches up to the next M-step share."""
        return self.run.prepare()

    def e_step(self, batch, prepared) -> dict:
        """Sums of one batch by names of ``sums`` (those left out are 0); ``rows``: what goes into the tables.

        Nothing is assigned; sums of parts of a batch add up to those of the whole.
        """
        return self.run.e_step({name: _array(value) for name, value in batch.items()}, prepared)

    def add(self, found: dict) -> None:
        """Add the sums of a step to the weights, write its rows, and count the step."""
        self.run.add(found)

    def ends_update(self, step_in_run: int) -> bool:
        """Whether the M-step follows step ``step_in_run`` (from 0), once its sums are added."""
        return self.run.ends_update(step_in_run)

    def m_step(self) -> None:
        """New maps from the sums, which are emptied; decides what comes next."""
        self.run.m_step()

    def notices(self) -> list[str]:
        """What a person should be told since the last call."""
        return self.run.notices()

    def figures(self) -> dict[str, float]:
        """The state in numbers."""
        return self.run.figures()

    def results(self) -> Result:
        """Maps, half maps, FSC and a row for each particle."""
        return self.run.results()

    def call(self, inputs):
        """The maps of all classes ``(K, n, n, n)``: nothing is computed from ``inputs``."""
        return ops.convert_to_tensor(self.state.variables["maps"])

    def compile(self, run_eagerly=True, **unused):
        """No optimizer: nothing here is moved by gradients."""
        super().compile(optimizer=None, loss=None, run_eagerly=True, jit_compile=False)

    def get_compile_config(self):
        """Nothing to rebuild when a saved model is loaded."""
        return {}

    def get_config(self):
        """Everything ``__init__`` takes."""
        return {**dataclasses.asdict(self.settings), "name": self.name}


class _Weights(MutableMapping):
    """Keras variables by name, read and assigned as NumPy arrays."""

    def __init__(self):
        self.variables: dict[str, keras.Variable] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        return ops.convert_to_numpy(self.variables[name])

    def __setitem__(self, name: str, value) -> None:
        self.variables[name].assign(value)

    def __delitem__(self, name: str) -> None:
        raise TypeError("weights of a model cannot be deleted")

    def __iter__(self) -> Iterator[str]:
        return iter(self.variables)

    def __len__(self) -> int:
        return len(self.variables)


def _array(value):
    return value if isinstance(value, np.ndarray) else ops.convert_to_numpy(value)
