"""``faml`` and its baseline ``fa``: averages of subtomograms by expectation-maximisation.

Zhao, Zeng, Guo, Xu: An integration of fast alignment and maximum-likelihood methods for electron subtomogram
averaging and classification, Bioinformatics 34 (2018).
"""

from __future__ import annotations

import keras

from zoo.models.faml.averaging import AveragingModel


@keras.saving.register_keras_serializable(package="zoo")
class Faml(AveragingModel):
    """Posteriors over classes and all candidate poses (equations 10–15)."""


@keras.saving.register_keras_serializable(package="zoo")
class FastAlignment(AveragingModel):
    """The same loop with only the best class and pose of each subtomogram."""

    single_best = True
