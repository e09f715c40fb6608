"""Trains a learner of one loss and judges it on held-back records after every pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np


class SupervisedEngine:
    """A gradient engine with validation; ``engine`` trains ``engine.model``, a learner of one loss.

    ``held_back()`` yields the records of the validation as NumPy batches, the same at every call. After each
    ``steps_per_pass`` steps their loss decides about the best weights and an early end: a function of step
    and state alone, so that a resumed run decides alike.
    """

    def __init__(self, engine, held_back: Callable[[], Iterable[Mapping[str, Any]]], steps_per_pass: int):
        self.engine = engine
        self.model = engine.model
        self._held_back = held_back
        self._steps_per_pass = steps_per_pass
        self._sums_of: Callable | None = None
        self.validation_figures: dict[str, float] = {}

    def step(self, batch: Any) -> dict[str, Any]:
        """One step; ``validation_loss`` is among the logs after the last step of a pass."""
        logs = dict(self.engine.step(batch))
        if self.step_index % self._steps_per_pass == 0:
            loss = self.validate()
            if loss is not None:
                self.model.judge(loss)
                logs["validation_loss"] = loss
                logs.update(self.validation_figures)
        return logs

    def validate(self) -> float | None:
        """The loss over all held-back records; None where there are none.

        ``validation_figures`` then holds what the model says of them besides, by name.
        """
        if self._sums_of is None:
            self._sums_of = _compiled_sums(self.model)
        total = weight = 0.0
        more: dict[str, np.ndarray] = {}
        for batch in self._held_back():
            sums = self._sums_of(batch)
            total, weight = total + float(sums["loss"]), weight + float(sums["weight"])
            for name, value in sums["more"].items():
                more[name] = more.get(name, 0.0) + np.asarray(value, np.float64)
        if not weight:
            return None
        self.validation_figures = self.model.validation_figures(more)
        return total / weight

    @property
    def step_index(self) -> int:
        """How many steps the model has been trained."""
        return self.engine.step_index

    @property
    def is_finished(self) -> bool:
        """Whether the validation found nothing better for long enough."""
        return self.model.is_finished

    def variables(self) -> list[tuple[str, Any]]:
        """(unique name, Keras variable) of everything a checkpoint must hold."""
        return self.engine.variables()

    def notices(self) -> list[str]:
        """What a person should be told since the last call."""
        return self.engine.notices()


def _compiled_sums(learner) -> Callable:
    """Function: batch → ``learner.validation_sums`` of it."""
    if keras.backend.backend() != "tensorflow":
        return learner.validation_sums
    import tensorflow as tf

    graph = tf.function(learner.validation_sums, autograph=False, reduce_retracing=True)

    def call(batch):
        numbers = {name: np.asarray(value) for name, value in batch.items()}
        return graph({name: tf.constant(each) for name, each in numbers.items() if each.dtype.kind in "fiub"})

    return call
