"""Weights of a finished run as the start of a new one, at another box or on other data."""

from __future__ import annotations

from pathlib import Path

from zoo.errors import ZooError


def start_from(model, name: str, run: str | Path) -> list[str]:
    """Give ``model`` (registered as ``name``) the weights of the folder ``run``; lines about what it took.

    A model may say how (``start_from(other)``, as vaegan3d does for another box); otherwise all weights
    must have the same shapes. The count of steps begins anew. Raises ZooError for a run that is not
    finished, of another model, or of other shapes, and for models of epochs, which start from maps.
    """
    if getattr(model, "by_epochs", False):
        raise ZooError(f"--start-from {run}: {name} starts from maps; give --set references=A.mrc,B.mrc")
    from zoo.serving.open_model import load_finished

    other = load_finished(run, name)
    if hasattr(model, "start_from"):
        try:
            return [f"start: {line} of {run}" for line in model.start_from(other)]
        except ValueError as error:
            raise ZooError(f"{run}: cannot be the start of this run: {error}") from error
    ours, theirs = ([v for v in m.weights if v is not m.step_counter] for m in (model, other))
    if [tuple(v.shape) for v in ours] != [tuple(v.shape) for v in theirs]:
        raise ZooError(f"{run}: its weights have other shapes; give the same hyperparameters and box")
    for variable, value in zip(ours, theirs, strict=True):
        variable.assign(value)
    return [f"start: all weights of {run}"]
