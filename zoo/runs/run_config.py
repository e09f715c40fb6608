"""What ``config.json`` of a run must hold, so that a damaged one is one line and not a traceback."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from zoo.errors import ZooError

# Name → (types, words for a person). A run that goes on needs those of RESUMED.
FIELDS: dict[str, tuple[tuple[type, ...], str]] = {
    "model": ((str,), "the name of a model"),
    "preset": ((str,), "the name of a preset"),
    "hyperparameters": ((dict,), "an object of names and values"),
    "data": ((dict,), "an object that describes the records"),
    "seed": ((int,), "a whole number"),
    "batch_size": ((int,), "a whole number"),
    "steps": ((int,), "a whole number"),
    "epochs": ((int,), "a whole number"),
    "steps_per_epoch": ((int,), "a whole number"),
    "log_every": ((int,), "a whole number"),
    "sample_every": ((int,), "a whole number"),
    "checkpoint_every": ((int,), "a whole number"),
    "backend": ((str,), "the name of Keras' backend"),
    "mixed_precision": ((bool,), "true or false"),
    "results": ((bool,), "true or false"),
    "start_from": ((str, type(None)), "a folder or null"),
    "strategy": ((str,), "a word"),
    "device": ((str,), "a text"),
    "command": ((str,), "a text"),
    "versions": ((dict,), "an object of names and versions"),
}
RESUMED = (
    "preset",
    "hyperparameters",
    "data",
    "seed",
    "batch_size",
    "steps",
    "log_every",
    "sample_every",
    "checkpoint_every",
    "backend",
    "mixed_precision",
)
DATA_FIELDS: dict[str, tuple[tuple[type, ...], str]] = {
    "source": ((str,), "embedded or folder"),
    "path": ((str,), "a folder"),
    "count": ((int,), "a whole number"),
    "box": ((int,), "a whole number"),
    "fingerprint": ((str,), "16 hex digits"),
}


def check_config(config: dict[str, Any], file: Path, needed: tuple[str, ...] = ("model",)) -> None:
    """Raise ZooError naming the first value of ``config`` of a wrong type, or a needed one that it lacks."""
    _check(config, FIELDS, needed, "", file)
    if "epochs" in config and "steps_per_epoch" in needed + tuple(config):
        _check(config, FIELDS, ("epochs", "steps_per_epoch"), "", file)


def check_data(known: Any, file: Path) -> None:
    """Raise ZooError where the description of the records of a run is not whole."""
    _check({"data": known}, FIELDS, ("data",), "", file)
    roles = known.get("roles", {"": known})
    if not isinstance(roles, dict) or not roles or not all(isinstance(each, dict) for each in roles.values()):
        raise ZooError(f"{file}: data.roles does not describe records by role: it is damaged; {_ADVICE}")
    for role, each in roles.items():
        _check(each, DATA_FIELDS, tuple(DATA_FIELDS), f"data.{role}." if role else "data.", file)


def _check(values: dict, fields: dict, needed: tuple[str, ...], prefix: str, file: Path) -> None:
    for name in needed:
        if name not in values:
            raise ZooError(f"{file}: lacks {prefix}{name}: it is damaged; {_ADVICE}")
    for name, (types, words) in fields.items():
        if name not in values:
            continue
        value = values[name]
        # A JSON number such as NaN or 1e999 is a float, and true is not a whole number.
        wrong = not isinstance(value, types) or (isinstance(value, bool) and bool not in types)
        if wrong or (isinstance(value, float) and not math.isfinite(value)):
            shown = repr(value)
            raise ZooError(
                f"{file}: {prefix}{name} is {shown[:60]}, expected {words}: it is damaged; {_ADVICE}"
            )


_ADVICE = "put back a copy of the file, or start a new run"
