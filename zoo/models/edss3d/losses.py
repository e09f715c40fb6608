"""What ``edss3d`` learns from beside the plain cross-entropy: the overlap of whole classes."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="zoo")
class CrossEntropyAndTversky(keras.losses.Loss):
    """The mean cross-entropy of all voxels, and 1 less the mean Tversky index of the kinds in the batch.

    The index of a kind, of its probability p and its labels y (1 or 0) in all voxels of a batch, is
    Σpy / (Σpy + (1 - m) Σp(1 - y) + m Σ(1 - p)y), where ``missed_weight`` m is between 0 and 1; 0.5 makes it
    the Dice of probabilities (Salehi, Erdogmus, Gholipour 2017, equation 4). The background, class 0, has
    none, nor has a kind that no voxel of the batch is of. A weight of voxels or records multiplies their
    cross-entropy and their terms of all sums.
    """

    def __init__(self, missed_weight: float = 0.5, name: str = "cross_entropy_and_tversky", **options: Any):
        super().__init__(name=name, **options)
        self.missed_weight = float(missed_weight)

    def __call__(self, y_true, y_pred, sample_weight=None):
        """Labels (b, z, y, x) and logits (b, z, y, x, classes) → a number.

        ``sample_weight`` is of records (b, 1, 1, 1), or of voxels, with or without a last axis of 1. Not
        ``call``: a weight cannot come after the sums of all voxels.
        """
        true, logits = ops.cast(y_true, "int32"), ops.cast(y_pred, "float32")
        entropy = ops.sparse_categorical_crossentropy(true, logits, from_logits=True)
        weight = ops.ones_like(entropy)
        if sample_weight is not None:
            given = ops.cast(sample_weight, "float32")
            weight = weight * (given[..., 0] if len(given.shape) > len(entropy.shape) else given)
        return ops.mean(weight * entropy) + self._beyond(true, logits, weight)

    def _beyond(self, true, logits, weight):
        """1 less the mean index of the kinds in the batch; 0 where there are none."""
        axes = (0, 1, 2, 3)
        found = ops.softmax(logits, axis=-1)[..., 1:]
        label = ops.one_hot(true, logits.shape[-1], dtype="float32")[..., 1:]
        each, missed = weight[..., None], self.missed_weight
        both, all_true, all_found = (
            ops.sum(each * values, axis=axes) for values in (found * label, label, found)
        )
        wrong = (1 - missed) * (all_found - both) + missed * (all_true - both)
        index = both / ops.maximum(both + wrong, keras.config.epsilon())
        there = ops.cast(all_true > 0, "float32")
        return ops.sum(there * (1 - index)) / ops.maximum(ops.sum(there), 1.0)

    def get_config(self) -> dict[str, Any]:
        """What ``__init__`` takes."""
        return {**super().get_config(), "missed_weight": self.missed_weight}
