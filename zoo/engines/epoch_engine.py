"""Runs models that learn by epochs: sums over the batches of an epoch, one update at its end."""

from __future__ import annotations

import tensorflow as tf

from zoo.engines.tensorflow_engine import named_variables

# XLA compiles a step for half a minute and then does it in two thirds of the time.
_WORTH_COMPILING = 500


class EpochEngine:
    """Runs an ``AveragingModel``: ``step(batch)`` adds one batch, and ends the epoch with its last one.

    ``examples`` is the number of records of an epoch, ``global_batch`` that of a step over all replicas; the
    sums of replicas and workers are added up, so that their number does not change what is learned.
    """

    def __init__(self, model, seed: int, examples: int, global_batch: int, strategy=None):
        self.model = model
        self.strategy = strategy
        self.steps_per_epoch = -(-examples // global_batch)
        model.seed = int(seed)
        self._prepared = None
        self._prepare = tf.function(model.prepare, autograph=False)
        # By the size of the data, not by the epochs asked for: a run that goes on keeps its bits.
        worth = {"on": True, "off": False}.get(model.config["jit_compile"], examples >= _WORTH_COMPILING)
        self._start = tf.function(self._start_sums, reduce_retracing=True, autograph=False)
        self._expect = tf.function(
            self._expected_sums,
            reduce_retracing=True,
            autograph=False,
            jit_compile=True if worth and strategy is None else None,
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
        if self.step_index < self.steps_per_epoch:
            sums = self._start(batch)
        else:
            if self._prepared is None:
                self._prepared = self._prepare()
            sums = self._expect(batch, self._prepared)
        for name, variable in model.sums.items():
            variable.assign_add(sums[name])
        model.step_counter.assign_add(1)
        if self.step_index % self.steps_per_epoch == 0:
            model.m_step()
            self._prepared = None
            self._notices += model.notices()
        return model.figures()

    @property
    def step_index(self) -> int:
        """How many steps the model has been trained, those of epoch 0 included."""
        return int(self.model.step_counter.numpy())

    def variables(self) -> list[tuple[str, object]]:
        """(unique name, Keras variable) of everything a checkpoint must hold."""
        return named_variables(self.model)

    def notices(self) -> list[str]:
        """What a person should be told since the last call."""
        notices, self._notices = self._notices, []
        return notices
