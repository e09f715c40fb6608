"""``faml`` and its baseline ``fa``: averages of subtomograms by expectation-maximisation.

Zhao, Zeng, Guo, Xu: An integration of fast alignment and maximum-likelihood methods for electron subtomogram
averaging and classification, Bioinformatics 34 (2018).
"""

from __future__ import annotations

import keras

from zoo.models.averaging import AveragingModel
from zoo.models.averaging_config import PRESETS
from zoo.registry import register

_PAPER = "Zhao et al., Bioinformatics 34 (2018) i227"


@register(
    "faml",
    presets=PRESETS,
    default_preset="default",
    input_kind="subtomograms",
    summary="averages and classifies subtomograms: fast alignment and maximum likelihood",
    paper=_PAPER,
)
@keras.saving.register_keras_serializable(package="zoo")
class Faml(AveragingModel):
    """Posteriors over classes and all candidate poses (equations 10–15)."""


@register(
    "fa",
    presets=PRESETS,
    default_preset="default",
    input_kind="subtomograms",
    summary="averages subtomograms by their single best alignment (the baseline of faml)",
    paper=_PAPER,
)
@keras.saving.register_keras_serializable(package="zoo")
class FastAlignment(AveragingModel):
    """The same loop with only the best class and pose of each subtomogram."""

    single_best = True
