"""Weights of a finished run as the start of a new one, at another box or on other data."""

from __future__ import annotations

from pathlib import Path

from zoo.errors import ZooError
from zoo.models.base import ZooModel, take_all_weights


def start_from(model, name: str, run: str | Path, start: str | None = None) -> list[str]:
    """Give ``model`` (registered as ``name``) the weights of the folder ``run``; lines about what it took.

    The run is of the same model, or of ``start``, that of its first phase. The model says how it is taken
    (``start_from(other)``), a plain Keras model takes all weights; the count of steps begins anew. Raises
    ZooError for a run that is not finished, of another model, or of other shapes.
    """
    own = isinstance(model, ZooModel)
    if own and model.no_warm_start:
        raise ZooError(f"--start-from {run}: {name} {model.no_warm_start}")
    from zoo.serving.open_model import load_finished

    other = load_finished(run, start or name)
    try:
        taken = model.start_from(other) if own else take_all_weights(model, other)
        return [f"start: {line} of {run}" for line in taken]
    except ValueError as error:
        raise ZooError(f"{run}: cannot be the start of this run: {error}") from error
