"""What every model of the zoo is to the house, and the models that learn by sums over records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import keras

from zoo.errors import ZooError
from zoo.models.endpoint import Endpoint
from zoo.models.outcome import Results
from zoo.registry import entry_of

_SEED_STEP = 1009  # farther than the seeds of one model's initialisers lie apart

Apply = Callable[[str, Mapping[str, Any]], dict[str, Any]]


class ZooModel(keras.Model):
    """A Keras model that trains, is looked at, exported and asked by what it can do (`capabilities.py`).

    ``learns`` says how (``players`` or ``epochs``) and is what an engine is found by; a subclass of
    `GradientModel`, `SupervisedModel` or `EpochModel` need not set it. ``step_counter`` holds how many
    steps the model has been trained: with the seed it decides every random number of a step.
    """

    learns: ClassVar[str] = ""
    no_warm_start: ClassVar[str] = ""  # why such a model cannot start from the weights of another
    also_reads: ClassVar[Mapping[str, tuple[str, ...]]] = {}  # features used if there, by verb
    numbers_records: bool = False  # batches need ``index`` (rows of the table) and whole passes
    box: int
    voxel_size_angstrom: float

    def __init__(self, name: str | None = None, seed: int = 0):
        super().__init__(name=name)
        self.seed = int(seed)
        # Initialisers of one model take this number and the next ones, which those of another seed must not
        # meet. The step is odd, so that no two seeds give the same; 0 for the seed 0.
        self.first_initialiser_seed = _SEED_STEP * self.seed % 2**31
        self.step_counter = self.add_weight(
            name="step",
            shape=(),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )

    @classmethod
    def from_data(cls, info: Any = None, preset: str | None = None, **overrides: Any):
        """A new model of ``preset`` for ``info``: a DatasetInfo, a dict of them by role, or None.

        Box, voxel size and count are those of the (first) data set. Raises ZooError where the data are of
        another kind or box than the model takes, and what the model's ``check_data`` refuses.
        """
        entry = entry_of(cls)
        values = dict(entry.presets[preset or entry.default_preset])
        infos = dict(info) if isinstance(info, Mapping) else {next(iter(entry.takes)): info}
        for role, kind in entry.takes.items():
            if infos.get(role) is not None and infos[role].kind != kind:
                raise ZooError(
                    f"{infos[role].path}: holds {infos[role].kind}, expected {kind}; "
                    "take another data set or model"
                )
        first = next(iter(infos.values()))
        if first is not None:
            known = {
                "box": int(first.box),
                "voxel_size_angstrom": float(first.voxel_size_angstrom),
                "count": int(first.count),
            }
            values.update({name: value for name, value in known.items() if name in values})
        values.update(overrides)
        if first is not None and values.get("box", first.box) != first.box:
            raise ZooError(
                f"box={values['box']} was asked for, but the records of {first.path} have box {first.box}"
            )
        if first is not None and values.get("count", first.count) != first.count:
            raise ZooError(
                f"count={values['count']} was asked for, but {first.path} holds {first.count}; leave it out"
            )
        values = cls.settled(info, values)
        cls.check_data(info, values)
        return cls(**values)

    @classmethod
    def settled(cls, info: Any, values: dict[str, Any]) -> dict[str, Any]:
        """Hyperparameters with those decided that were left to the data; ``info`` may be None."""
        return values

    @classmethod
    def check_data(cls, info: Any, values: Mapping[str, Any]) -> None:
        """Raise ZooError where data and hyperparameters do not go together; ``info`` may be None."""

    def endpoints(self) -> dict[str, Endpoint]:
        """Named signatures of the SavedModel; none by default."""
        return {}

    def preview(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """What a person judges the model by while it trains: name → one of the types of `preview.py`."""
        return {}

    def figures(self) -> dict[str, float]:
        """The state in numbers, besides the losses of a step."""
        return {}

    def notices(self) -> list[str]:
        """What a person should be told since the last call, a line each (collapse, an end reached early)."""
        return []

    def results(self, batches: Iterable[Mapping[str, Any]], apply: Apply) -> Results | None:
        """What a finished run leaves, as data that the house writes; None: nothing but the model itself.

        ``batches`` yields every record once, in record order, as NumPy arrays; of a model that learns from
        one loss with ``is_validation`` (b,), 1 for records that were held back. ``apply(verb, batch)`` is
        what the model can do as a compiled function, NumPy arrays out.
        """
        return None

    @property
    def is_finished(self) -> bool:
        """Whether the model needs no more steps, though the run was given more."""
        return False

    def start_from(self, other: ZooModel) -> list[str]:
        """Take the weights of a finished model of the same class; a line about each thing taken.

        All weights must have the same shapes (raises ValueError); a subclass may do more.
        """
        return take_all_weights(self, other)

    def state_variables(self) -> list:
        """All variables that a checkpoint must hold, each once, in a fixed order."""
        return list(self.variables)


def take_all_weights(model: keras.Model, other: keras.Model) -> list[str]:
    """Give ``model`` all weights of ``other`` but the count of steps; ValueError where shapes differ."""
    ours, theirs = ([v for v in m.weights if v is not _step_counter(m)] for m in (model, other))
    if [tuple(v.shape) for v in ours] != [tuple(v.shape) for v in theirs]:
        raise ValueError("its weights have other shapes; give the same hyperparameters and box")
    for variable, value in zip(ours, theirs, strict=True):
        variable.assign(value)
    return ["all weights"]


def _step_counter(model: keras.Model) -> Any:
    return model.step_counter if isinstance(model, ZooModel) else None


class StartsFromMaps:
    """A model that a person may give a mask and initial maps; ``given_maps`` names the files."""

    given_maps: dict[str, str]

    def set_mask(self, mask: Any) -> None:
        """Multiply every new map with ``mask`` (n, n, n)."""
        raise TypeError(f"{type(self).__name__} takes no mask")

    def set_references(self, maps: Any) -> None:
        """Start from ``maps`` (k, n, n, n)."""
        raise TypeError(f"{type(self).__name__} takes no references")


class EpochModel(ZooModel):
    """A model that learns by sums: ``e_step`` over batches, ``m_step`` where an update is due.

    ``sums`` holds the variables that the sums of a step are added to; replicas and workers add up, so that
    their number does not change what is learned. A pass is one run through the records, pass 0 the first.
    """

    learns: ClassVar[str] = "epochs"
    on_host: ClassVar[bool] = False  # e_step takes and gives NumPy arrays, and is not traced
    starts_apart: ClassVar[bool] = False  # pass 0 is made by start_step
    sums: dict[str, Any]

    def compile(self, run_eagerly: bool = False, jit_compile: bool | str = False) -> None:
        """No optimizer: nothing here is moved by gradients. Raises TypeError for any other option."""
        super().compile(optimizer=None, loss=None, run_eagerly=run_eagerly, jit_compile=False)

    def get_compile_config(self) -> dict:
        """Nothing to rebuild when a saved model is loaded."""
        return {}

    def prepare(self) -> dict[str, Any]:
        """What all batches between two updates share."""
        return {}

    def prepare_alignment(self, features: Iterable[str] = ()) -> dict[str, Any]:
        """What ``align`` shares between batches that have ``features`` (of a model that can align)."""
        return self.prepare()

    def start_step(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The sums of one batch of pass 0, where that ``starts_apart``."""
        raise TypeError(f"{type(self).__name__} has no start_step")

    def e_step(self, batch: Mapping[str, Any], prepared: Mapping[str, Any]) -> dict[str, Any]:
        """The sums of one batch, by the names of ``sums``; nothing is assigned."""
        raise TypeError(f"{type(self).__name__} has no e_step")

    def add(self, found: Mapping[str, Any]) -> None:
        """Take in what the replicas' ``e_step`` gave together, and count the step."""
        for name, variable in self.sums.items():
            variable.assign_add(found[name])
        self.step_counter.assign_add(1)

    def m_step(self) -> None:
        """Update the model from ``sums`` and empty them."""
        raise TypeError(f"{type(self).__name__} has no m_step")

    def update_is_due(self, step: int, steps_per_pass: int) -> bool:
        """Whether ``m_step`` follows when ``step`` steps are done; at the end of a pass by default."""
        return step % steps_per_pass == 0

    def compiles_expectation(self, examples: int) -> bool:
        """Whether XLA compiles ``e_step``: by the size of the data, so that a resumed run keeps its bits."""
        return False
