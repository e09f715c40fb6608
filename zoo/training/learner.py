"""The model of a run and the engine that trains it, whatever its way to learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from zoo.config import LearningConfig
from zoo.data.records import batches, split
from zoo.engines.protocol import Engine
from zoo.errors import ZooError
from zoo.models.base import ZooModel
from zoo.models.supervised import VOXEL_LABELS, PlainModel, Supervision, balanced_weights
from zoo.runs.inputs import Inputs
from zoo.training.devices import Devices


@dataclass
class Learner:
    """``model`` is what is saved, ``house`` what is asked for previews and results (of a plain Keras model a
    stand-in), ``engine`` what trains it. ``supervision`` is there where a model learns from one loss.
    """

    model: keras.Model
    house: ZooModel
    engine: Engine
    supervision: Supervision | None = None

    @property
    def held_back(self) -> float | None:
        """The share of records that is kept for validation; None where nothing is validated."""
        return None if self.supervision is None else self.supervision.learning.validation_fraction


def make_learner(config: Mapping[str, Any], opened: Inputs, devices: Devices) -> Learner:
    """The model of a run's configuration for the records of ``opened``, and its engine.

    Raises ZooError where the hyperparameters or the data do not fit, or a plain Keras model is not compiled.
    """
    from zoo.engines.choose import get_engine
    from zoo.registry import create_model

    info = opened.first
    asked = {"seed": config["seed"], "strategy": devices.strategy, "global_batch": config["batch_size"]}
    with devices.scope():
        model = create_model(
            config["model"], opened.for_model, config["preset"], config["seed"], **config["hyperparameters"]
        )
        if isinstance(model, ZooModel):
            model.compile()
        if isinstance(model, ZooModel) and model.learns != "loss":
            return Learner(model, model, get_engine(model, **asked, examples=info.count))
        supervision = _supervision(model, config, info)
        engine = get_engine(supervision, **asked)
    fraction = supervision.learning.validation_fraction
    split.check_split(info, config["seed"], fraction)

    def held_back():
        return split.held_back_batches(info, config["batch_size"], config["seed"], fraction)

    from zoo.engines.supervised_engine import SupervisedEngine

    steps_per_pass = -(-info.count // config["batch_size"])
    house = model
    if not isinstance(model, ZooModel):
        house = PlainModel(model, supervision.target, info.box, info.voxel_size_angstrom)
    return Learner(model, house, SupervisedEngine(engine, held_back, steps_per_pass), supervision)


def _supervision(model: keras.Model, config: Mapping[str, Any], info) -> Supervision:
    name = type(model).__name__
    if isinstance(model, ZooModel):
        learning, target = model.learning, model.target
    else:
        known = LearningConfig.settings()
        given = {key: value for key, value in config["hyperparameters"].items() if key in known}
        learning, target = LearningConfig(**given), vars(type(model)).get("target", "")
        if not model.compiled or model.optimizer is None:
            advice = "call compile(optimizer=…, loss=…) at the end of __init__"
            raise ZooError(f"{config['model']}: is not compiled; {advice}")
    first = next(iter(batches.sequential_batches(info, 2)))
    target = target or ("image" if "image" in first else "volume")
    if target not in first:
        features = ", ".join(sorted(key for key, value in first.items() if value.dtype.kind in "fiu"))
        raise ZooError(f"{name}: its target {target!r} is no feature of {info.path}; these are: {features}")
    if not model.built or not model.variables:
        model({key: keras.ops.convert_to_tensor(value) for key, value in _numbers(first).items()})
    counts = info.voxel_labels if target == VOXEL_LABELS else info.labels
    power = {"balanced": 1.0, "root": 0.5}.get(learning.class_weights)
    weights = None if power is None else balanced_weights(counts, power)
    return Supervision(model, target, learning, weights, config["seed"])


def _numbers(batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
    arrays = {key: np.asarray(value) for key, value in batch.items()}
    return {
        key: each for key, each in arrays.items() if each.dtype.kind in "fiu" and each.dtype.itemsize <= 4
    }
