"""Models that learn from one loss: validation, early stopping, best weights and class weights for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from zoo.config import LearningConfig
from zoo.errors import ZooError
from zoo.models.base import ZooModel
from zoo.models.preview import Images, Maps

# A checkpoint holds finite numbers only.
_NOTHING_YET = float(np.finfo(np.float32).max)
VOXEL_LABELS = "voxel_labels"  # feature of a batch: the class of every voxel
HELD_BACK = "is_validation"  # feature of a batch: 1 for records that are never learned from


def make_optimizer(learning: LearningConfig) -> keras.optimizers.Optimizer:
    """Adam with the schedule and the clipping of a configuration."""
    return keras.optimizers.Adam(
        _rate(learning), learning.beta_1, learning.beta_2, global_clipnorm=learning.clip_norm or None
    )


def _rate(learning: LearningConfig):
    rate, schedules = learning.learning_rate, keras.optimizers.schedules
    if learning.schedule == "exponential":
        return schedules.ExponentialDecay(rate, learning.decay_steps, learning.decay_rate)
    if learning.schedule == "cosine" and learning.warmup_steps:
        return schedules.CosineDecay(
            0.0, learning.decay_steps, warmup_target=rate, warmup_steps=learning.warmup_steps
        )
    if learning.schedule == "cosine":
        return schedules.CosineDecay(rate, learning.decay_steps)
    return rate


class SupervisedModel(ZooModel):
    """A zoo model with one loss: ``call(batch)`` predicts the feature that ``target`` names.

    A subclass gives ``call``, ``make_loss`` and, where Adam will not do, ``make_optimizer``; ``learning``
    holds its `LearningConfig`.
    """

    learns: ClassVar[str] = "loss"
    target: str = ""
    learning: LearningConfig = LearningConfig()

    def make_optimizer(self) -> keras.optimizers.Optimizer:
        """The optimizer of a new model."""
        return make_optimizer(self.learning)

    def make_loss(self) -> Any:
        """A Keras loss; the mean squared error by default."""
        return keras.losses.MeanSquaredError()

    def validation_sums(self, batch: Mapping[str, Any], prediction: Any, weight: Any) -> dict[str, Any]:
        """What ``validation_figures`` are made of, by name: arrays that add up over batches.

        ``weight`` (b,) is that of each record in the loss. Nothing by default.
        """
        return {}

    def validation_figures(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Figures of a whole validation by name, from the sums of all its batches; none by default."""
        return {}

    def compile(self, optimizer=None, loss=None, **options):
        """Keras' ``compile`` with this model's own optimizer and loss where none are given."""
        super().compile(
            optimizer=optimizer or self.make_optimizer(), loss=loss or self.make_loss(), **options
        )


class Supervision:
    """A compiled Keras model as a learner of one player, with what a validation needs to be resumed.

    ``target`` names the feature that the model's loss compares its output with; ``class_weights`` (k,) weighs
    records by their label, or, where the target is ``voxel_labels``, each voxel
    by its own; None: all weigh alike. The best weights so far, their loss and the number of validations
    since lie in variables beside the model's own.
    """

    learns = "players"
    players = ("model",)
    losses_are_shares = True  # Keras divides the losses of a compiled model by the number of replicas

    def __init__(
        self,
        model: keras.Model,
        target: str,
        learning: LearningConfig,
        class_weights: np.ndarray | None = None,
        seed: int = 0,
    ):
        self.model, self.target, self.learning, self.seed = model, target, learning, int(seed)
        self.class_weights = class_weights
        self._weighs_target = class_weights is not None and target == VOXEL_LABELS
        model.optimizer.build(model.trainable_variables)
        self.player_optimizers = {"model": model.optimizer}
        own = isinstance(model, ZooModel)
        self.step_counter = model.step_counter if own else _variable((), "step", "int32")
        self.best_loss = _variable((), "best_loss", value=_NOTHING_YET)
        self.stale = _variable((), "stale", "int32")
        self.best = [_variable(v.shape, f"best_{i}", v.dtype, v) for i, v in enumerate(self._kept())]

    @property
    def is_compiled(self) -> bool:
        """Always: a learner is made of a compiled model."""
        return True

    def player_variables(self, player: str) -> list:
        """What the loss moves."""
        return self.model.trainable_variables

    def draw_specs(self) -> dict:
        """Nothing: layers draw their own noise, from generators that are part of the model's state."""
        return {}

    def prepare(self, batch, draws, step) -> dict:
        """Nothing is shared."""
        return {}

    def draws_for(self, position: int, draws: dict) -> dict:
        """There is one player."""
        return draws

    def update_averages(self) -> None:
        """No averages."""

    def player_loss(self, player, batch, draws, input_gradient, step) -> tuple:
        """The compiled loss over the records that are not held back, and ``loss`` to log.

        Its mean is over the share of records that is learned from, the same for every batch and replica.
        """
        weight = self.weights_of(batch) * (1.0 - ops.cast(batch[HELD_BACK], "float32"))
        if "weight" in batch:  # 0 for copies that fill up the last batch of a pass
            weight = weight * batch["weight"]
        loss = self.loss(batch, weight / (1.0 - self.learning.validation_fraction), training=True)
        return loss, {"loss": loss}

    def loss(self, batch, weight, training: bool = False):
        """The compiled loss of one batch with a weight (b,) for each record."""
        return self._loss_of(self.model(batch, training=training), batch, weight, training)

    def validation_sums(self, batch) -> dict:
        """``loss`` (times records) and ``weight`` of one batch of the validation, and what the model adds."""
        weight, prediction = self.weights_of(batch), self.model(batch, training=False)
        own = isinstance(self.model, SupervisedModel)
        more = self.model.validation_sums(batch, prediction, weight) if own else {}
        loss = self._loss_of(prediction, batch, weight, training=False)
        count = ops.cast(ops.shape(weight)[0], "float32")
        return {"more": more, "loss": loss * count, "weight": ops.sum(weight)}

    def validation_figures(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Figures of the model's own sums, ``validation_`` before their names."""
        if not isinstance(self.model, SupervisedModel):
            return {}
        return {f"validation_{name}": value for name, value in self.model.validation_figures(sums).items()}

    def _loss_of(self, prediction, batch, weight, training: bool):
        expected = batch[self.target]
        if expected.shape[1:] != prediction.shape[1:] and len(expected.shape) == len(prediction.shape):
            raise ZooError(
                f"{type(self.model).__name__}: predicts shape {tuple(prediction.shape[1:])}, but its target "
                f"{self.target!r} has {tuple(expected.shape[1:])}; name another target"
            )
        # One weight a record, also where the loss has a value for every pixel.
        each = ops.reshape(weight, (-1,) + (1,) * (len(prediction.shape) - 1))
        if self._weighs_target:
            each = each[..., 0] * ops.take(ops.convert_to_tensor(self.class_weights), expected)
        return self.model.compute_loss(
            x=batch, y=expected, y_pred=prediction, sample_weight=each, training=training
        )

    def weights_of(self, batch):
        """The class weight (b,) of each record; 1 without class weights."""
        if self.class_weights is None or self._weighs_target:
            return ops.ones_like(ops.cast(batch[HELD_BACK], "float32"))
        label = ops.maximum(ops.cast(batch["label"], "int32"), 0)
        return ops.take(ops.convert_to_tensor(self.class_weights), label)

    def judge(self, loss: float) -> None:
        """Take in the loss of a validation: better weights are kept, others counted."""
        if loss < float(self.best_loss.numpy()):
            self.best_loss.assign(loss)
            self.stale.assign(0)
            for kept, variable in zip(self.best, self._kept(), strict=True):
                kept.assign(variable)
        else:
            self.stale.assign(self.stale + 1)

    @property
    def is_finished(self) -> bool:
        """Whether as many validations as ``patience`` brought nothing better."""
        return 0 < self.learning.patience <= int(self.stale.numpy())

    def take_best(self) -> str:
        """Put the best weights into the model; a line about it ("" where no validation was made)."""
        loss = float(self.best_loss.numpy())
        if loss >= _NOTHING_YET:
            return ""
        for kept, variable in zip(self.best, self._kept(), strict=True):
            variable.assign(kept)
        return f"weights of the best validation (loss {loss:.5g})"

    def state_variables(self) -> list:
        """Everything that a checkpoint must hold, each once."""
        candidates = [
            *self.model.variables,
            *self.model.optimizer.variables,
            self.step_counter,
            self.best_loss,
            self.stale,
            *self.best,
        ]
        return list({id(variable): variable for variable in candidates}.values())

    def notices(self) -> list[str]:
        """What the model says."""
        return self.model.notices() if isinstance(self.model, ZooModel) else []

    def _kept(self) -> list:
        return [v for v in self.model.weights if v is not self.step_counter]


class PlainModel(ZooModel):
    """What the house asks of a Keras model that was not written for the zoo: a preview, and nothing else."""

    def __init__(self, model: keras.Model, target: str, box: int, voxel_size_angstrom: float):
        super().__init__(name=model.name)
        self.model, self.target = model, target
        self.box, self.voxel_size_angstrom = box, voxel_size_angstrom

    def preview(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The target beside its prediction, where both are images or volumes."""
        numbers = {name: value for name, value in batch.items() if np.asarray(value).dtype.kind == "f"}
        found, expected = ops.convert_to_numpy(self.model(numbers)), np.asarray(batch[self.target])
        if found.shape != expected.shape or found.shape[-1] != 1 or found.ndim not in (4, 5):
            return {}
        parts = {f"{self.target}-real": expected, f"{self.target}-predicted": found}
        if found.ndim == 4:
            return {name: Images(values[..., 0]) for name, values in parts.items()}
        return {name: Maps(values[:4, ..., 0]) for name, values in parts.items()}


def balanced_weights(counts: Mapping[int, int], power: float = 1.0) -> np.ndarray:
    """(k,) float32: count / (classes · count of a class), from records per label (labels below 0 are none).

    Of another ``power`` the mean over all records is still 1: with 0.5 a class that is 100 times as rare
    weighs 10 times as much. Raises ZooError where fewer than two labels are known.
    """
    known = {label: count for label, count in counts.items() if label >= 0 and count > 0}
    if len(known) < 2:
        raise ZooError(f"class_weights=balanced: {len(known)} labels are known, expected two or more")
    weights = np.ones(max(known) + 1, np.float32)
    for label, count in known.items():
        weights[label] = (sum(known.values()) / (len(known) * count)) ** power
    mean = sum(weights[label] * count for label, count in known.items()) / sum(known.values())
    return (weights / mean).astype(np.float32)


def _variable(shape, name: str, dtype: str = "float32", value=0):
    values = np.broadcast_to(np.asarray(ops.convert_to_numpy(value)), tuple(shape)).astype(dtype)
    return keras.Variable(values, name=name, dtype=dtype, trainable=False)
