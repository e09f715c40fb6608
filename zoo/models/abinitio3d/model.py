"""``abinitio3d`` as a model of the zoo: the run's state as weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.errors import ZooError
from zoo.models.abinitio3d.abinitio import AbInitio
from zoo.models.abinitio3d.config import FEWEST_PER_CLASS, AbInitio3DConfig, Config
from zoo.models.abinitio3d.known_poses import chance_in_words
from zoo.models.abinitio3d.results import Result
from zoo.models.abinitio3d.state import drawn_halves, give_halves, give_poses, initial_state, state_shapes
from zoo.models.base import EpochModel
from zoo.models.endpoint import Endpoint
from zoo.models.given_poses import given_poses, usable_half_sets
from zoo.models.outcome import Results, pose_columns
from zoo.models.preview import Curve, Maps


@keras.saving.register_keras_serializable(package="zoo")
class AbInitio3D(EpochModel):
    """Reference-free heterogeneous reconstruction from particle images.

    Expectation-maximisation of K explicit Fourier maps with class and pose of each particle, from nothing:
    poses and classes are drawn from their posterior on mini-batches, then every particle is searched and
    refined (see `AbInitio`). All that a run remembers are weights that no gradient moves, fixed in shape:
    ``sums`` of the running update and ``tables`` of the particles, both by name, maps, noise and counters.
    The E-step runs on the host; batches may be NumPy arrays or eager tensors.
    """

    on_host = True
    no_warm_start = "starts from nothing; leave it out"
    numbers_records = True

    def __init__(self, name=None, seed=0, **config):
        super().__init__(name=name or "abinitio3d", seed=seed)
        self.hyperparameters = AbInitio3DConfig.of(config, "abinitio3d")
        self.settings = Config(**self.hyperparameters.values(), seed=self.seed)
        self.box, self.voxel_size_angstrom = self.settings.box, self.settings.voxel_size_angstrom
        initial = initial_state(self.settings)
        self.state = _Weights({"step": self.step_counter})
        for key, (shape, dtype) in state_shapes(self.settings).items():
            if key == "step":
                continue
            self.state.variables[key] = self.add_weight(
                name=key, shape=shape, dtype=dtype, initializer="zeros", trainable=False
            )
            if initial[key].any():
                self.state[key] = initial[key]
        self.run = AbInitio(self.settings, self.state)
        self.built = True

    @classmethod
    def from_data(cls, info: Any = None, preset: str | None = None, **overrides: Any):
        """As of any model, with the half sets of the file; with ``poses=known`` it has its poses, too."""
        model = super().from_data(info, preset, **overrides)
        if info is not None:
            first = next(iter(info.values())) if isinstance(info, Mapping) else info
            if model.settings.poses == "known":
                give_poses(model.state, model.settings, given_poses(first, "poses=known"))
            else:
                give_halves(model.state, usable_half_sets(first))
        return model

    @classmethod
    def check_data(cls, info, values):
        """At least 20 particles for each class, and poses of all where they are to be known."""
        if info is not None and values.get("poses") == "known":
            given_poses(info, "poses=known")
        if info is not None and info.count < FEWEST_PER_CLASS * values["classes"]:
            raise ZooError(
                f"{info.path}: {info.count} particles for classes={values['classes']}: expected at least "
                f"{FEWEST_PER_CLASS} for each class; ask for fewer classes"
            )

    def get_config(self):
        """Seed and hyperparameters, as ``__init__`` takes them."""
        return {"name": self.name, "seed": self.seed, **self.hyperparameters.values()}

    @property
    def sums(self) -> dict:
        """The sums of the running update: weights by name."""
        return {name: v for name, v in self.state.variables.items() if name.startswith("sum_")}

    @property
    def tables(self) -> dict:
        """What is known of each particle: weights ``(N, ...)`` by name."""
        return {name: v for name, v in self.state.variables.items() if name.startswith("table_")}

    @property
    def is_finished(self) -> bool:
        """Whether the run is done, before its largest number of steps."""
        return self.run.finished

    def prepare(self) -> dict:
        """What the batches up to the next M-step share."""
        return self.run.prepare()

    def e_step(self, batch, prepared) -> dict:
        """Sums of one batch by names of ``sums`` (those left out are 0); ``rows``: what goes into the tables.

        Nothing is assigned; sums of parts of a batch add up to those of the whole.
        """
        return self.run.e_step({name: _array(value) for name, value in batch.items()}, prepared)

    def add(self, found) -> None:
        """Add the sums of a step to the weights, write its rows, and count the step."""
        self.run.add(found)

    def update_is_due(self, step: int, steps_per_pass: int) -> bool:
        """After a few batches in the first phases, after a whole pass in the last ones."""
        return self.run.ends_update(step - 1)

    def m_step(self) -> None:
        """New maps from the sums, which are emptied; decides what comes next."""
        self.run.m_step()

    def notices(self) -> list[str]:
        """What a person should be told since the last call."""
        return self.run.notices()

    def figures(self) -> dict[str, float]:
        """The state in numbers."""
        return self.run.figures()

    def preview(self, batch):
        """The maps as they are now: of the mini-batches first, then those of all particles."""
        whole = self.state["maps"]
        maps = whole if whole.any() else self.state["small_maps"]
        fsc = self.state["fsc"].T
        return {"map": Maps(maps), "fsc": Curve(np.arange(len(fsc)), fsc)}

    def found(self) -> Result:
        """Maps, half maps, FSC and a row for each particle."""
        return self.run.results()

    def results(self, batches, apply):
        """Maps of the states that were found, with class and pose of each particle; none of noise alone."""
        found = self.found()
        if not found.found:
            return Results(lines=["no map: no particle was found in the images", *self._chance()])
        names = [f"class_{k + 1}" for k in range(len(found.maps))]
        rows = {
            "euler_deg": found.euler_deg,
            "origin_angstrom": found.origin_angstrom,
            "class": np.maximum(found.class_number, 0),
            "posterior": found.class_probability,
        }
        columns = pose_columns(rows, found.half_set)
        columns["rlnLogLikeliContribution"] = found.log_likelihood.astype(np.float64)
        counts = np.bincount(rows["class"], minlength=len(names))
        shares = ", ".join(
            f"class {k + 1}: {count} particles, {share:.0%} of their signal explained"
            for k, (count, share) in enumerate(zip(counts, found.share, strict=True))
        )
        silent = self.settings.box * self.settings.voxel_size_angstrom / self.settings.silent_shell
        resolutions = ", ".join(
            f"{name} {f'{value:.1f} Å' if np.isfinite(value) else f'no better than {silent:.0f} Å'}"
            for name, value in zip(names, found.resolution_angstrom, strict=True)
        )
        return Results(
            maps=dict(zip(names, found.maps, strict=True)),
            half_maps={name: found.half_maps[:, k] for k, name in enumerate(names)},
            fsc=dict(zip(names, found.fsc, strict=True)),
            columns=columns,
            classes=found.class_number,
            voxel_size_angstrom=found.voxel_size_angstrom,
            mirrored=self.settings.poses == "find",
            fsc_kind=self.settings.halves_in_words,
            lines=[
                f"{len(names)} states were found; {shares}",
                f"FSC 0.143 of {self.settings.halves_in_words}: {resolutions}",
                f"half sets: {self._whose_halves()}",
                *self._chance(),
            ],
        )

    def _whose_halves(self) -> str:
        """Whether half sets are the file's, in words."""
        drawn = np.array_equal(self.state["table_half"], drawn_halves(self.settings))
        if drawn:
            return "drawn at random, since the file has none that both halves could be made of"
        return "those of the file (rlnRandomSubset)"

    def _chance(self) -> list[str]:
        """How good known poses were."""
        return [chance_in_words(self.state["sum_chance"])] if self.settings.poses == "known" else []

    def call(self, inputs):
        """The maps of all classes ``(K, n, n, n)``: nothing is computed from ``inputs``."""
        return ops.convert_to_tensor(self.state.variables["maps"])

    def endpoints(self):
        """``averages``: the maps and half maps for a SavedModel."""

        def averages():
            variables = self.state.variables
            return {
                "averages": ops.convert_to_tensor(variables["maps"]),
                "halves": ops.convert_to_tensor(variables["half_maps"]),
            }

        return {"averages": Endpoint(averages, {})}


class _Weights(MutableMapping):
    """Keras variables by name, read and assigned as NumPy arrays."""

    def __init__(self, variables: dict):
        self.variables: dict[str, keras.Variable] = variables

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
