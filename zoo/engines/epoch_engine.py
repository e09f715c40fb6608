"""Runs models that learn by sums over batches, with an update where one is due."""

from __future__ import annotations

import numpy as np

from zoo.engines.protocol import named_variables


class EpochEngine:
    """Runs an ``EpochModel``: ``step(batch)`` adds the sums of one batch; an update follows where it is due.

    ``examples`` is the number of records of a pass, ``global_batch`` that of a step over all replicas; the
    sums of replicas and workers are added up, so that their number does not change what is learned.
    """

    def __init__(self, model, seed: int, examples: int, global_batch: int, strategy=None):
        self.model = model
        self.strategy = strategy
        self.steps_per_epoch = -(-examples // global_batch)
        model.seed = int(seed)
        self._prepared = None
        if model.on_host:
            self._prepare, self._start, self._expect = model.prepare, self._start_sums, self._expected_sums
        else:
            import tensorflow as tf

            compiles = strategy is None and model.compiles_expectation(examples)
            self._prepare = tf.function(model.prepare, autograph=False)
            self._start = tf.function(self._start_sums, reduce_retracing=True, autograph=False)
            self._expect = tf.function(
                self._expected_sums, reduce_retracing=True, autograph=False, jit_compile=compiles or None
            )
        self._notices: list[str] = []

    def _start_sums(self, batch):
        return self._over_replicas(self.model.start_step, (batch,))

    def _expected_sums(self, batch, prepared):
        return self._over_replicas(self.model.e_step, (batch, prepared))

    def _over_replicas(self, function, arguments):
        if self.strategy is None:
            return function(*arguments)
        sums = self.strategy.run(function, args=arguments)
        return {name: self.strategy.reduce("SUM", value, axis=None) for name, value in sums.items()}

    def step(self, batch: dict) -> dict[str, float]:
        """Add one batch to the sums of its epoch; returns the model's state in numbers."""
        model = self.model
        if model.on_host:
            batch = {name: np.asarray(value) for name, value in batch.items()}
        if model.starts_apart and self.step_index < self.steps_per_epoch:
            sums = self._start(batch)
        else:
            if self._prepared is None:
                self._prepared = self._prepare()
            sums = self._expect(batch, self._prepared)
        model.add(sums)
        if model.update_is_due(self.step_index, self.steps_per_epoch):
            model.m_step()
            self._prepared = None
            self._notices += model.notices()
        return model.figures()

    @property
    def step_index(self) -> int:
        """How many steps the model has been trained, those of epoch 0 included."""
        return int(self.model.step_counter.numpy())

    @property
    def is_finished(self) -> bool:
        """Whether the model needs no more steps."""
        return self.model.is_finished

    def variables(self) -> list[tuple[str, object]]:
        """(unique name, Keras variable) of everything a checkpoint must hold."""
        return named_variables(self.model.state_variables())

    def notices(self) -> list[str]:
        """What a person should be told since the last call."""
        notices, self._notices = self._notices, []
        return notices
