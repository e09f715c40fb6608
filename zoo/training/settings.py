"""What a person asks of zoo-train, resolved into the run folder's configuration."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from zoo.errors import ZooError
from zoo.registry import get_entry, resolve_overrides, resolve_preset
from zoo.training import data_source
from zoo.training.loop import Plan

BATCH_SIZE = 16
STEPS = 10_000
INTERVALS = {"log_every": 10, "sample_every": 500, "checkpoint_every": 500}


@dataclass
class TrainSettings:
    """The options of zoo-train; None where the person left one out."""

    model: str | None = None
    data: Path | None = None
    preset: str | None = None
    overrides: dict[str, str] = field(default_factory=dict)
    config_file: Path | None = None
    steps: int | None = None
    batch_size: int | None = None
    out: Path | None = None
    seed: int | None = None
    strategy: str = "auto"
    mixed_precision: bool = False
    resume: Path | None = None
    sample_every: int | None = None
    checkpoint_every: int | None = None
    log_every: int | None = None
    overwrite: bool = False


def parse_assignments(assignments: list[str]) -> dict[str, str]:
    """``["name=value", …]`` as a dict; raises ZooError for a word without ``=``."""
    values = {}
    for word in assignments:
        name, equals, value = word.partition("=")
        if not equals or not name.strip():
            raise ZooError(f"--set {word}: expected name=value")
        values[name.strip()] = value.strip()
    return values


def new_config(settings: TrainSettings) -> tuple[dict[str, Any], Any]:
    """(configuration, DatasetInfo) of a new run, everything resolved.

    Raises ZooError for an unknown model, preset or hyperparameter, or data that do not fit.
    """
    if settings.model is None:
        raise ZooError("name a model with --model (zoo models lists them), or a run with --resume")
    entry = get_entry(settings.model)
    preset = resolve_preset(settings.model, settings.preset)
    overrides = resolve_overrides(settings.model, settings.overrides, settings.config_file)
    hyperparameters = {**entry.presets[preset], **overrides}
    wanted_box = hyperparameters.get("box") if settings.data is None else overrides.get("box")
    info = data_source.open_data(settings.data, wanted_box)
    # The records decide what the model sees; the preset's values are for a model without data.
    for name, value in {"box": info.box, "voxel_size_angstrom": info.voxel_size_angstrom}.items():
        if name in hyperparameters and name not in overrides:
            hyperparameters[name] = value
    batch_size = _first(settings.batch_size, hyperparameters.get("batch_size"), BATCH_SIZE)
    if "batch_size" in hyperparameters:
        hyperparameters["batch_size"] = batch_size
    config = {
        "model": settings.model,
        "preset": preset,
        "hyperparameters": hyperparameters,
        "data": data_source.describe(info, settings.data),
        "seed": 0 if settings.seed is None else settings.seed,
        "batch_size": batch_size,
        "steps": _first(settings.steps, hyperparameters.get("training_steps"), STEPS),
        "backend": keras.backend.backend(),
        "mixed_precision": settings.mixed_precision,
        **{name: _first(getattr(settings, name), default) for name, default in INTERVALS.items()},
        "command": shlex.join(["zoo-train", *sys.argv[1:]]),
    }
    _check_numbers(config)
    return config, info


def resumed_config(settings: TrainSettings, config: dict[str, Any], run: Path) -> dict[str, Any]:
    """The configuration of a run that goes on: total steps and intervals may change, no more.

    Raises ZooError where an option contradicts what the run was started with.
    """
    fixed = {
        "preset": settings.preset,
        "seed": settings.seed,
        "batch_size": settings.batch_size,
        "mixed_precision": settings.mixed_precision or None,
    }
    for name, value in fixed.items():
        if value is not None and value != config[name]:
            option = "--" + name.replace("_", "-")
            raise ZooError(f"{run}: was started with {option} {config[name]}, which cannot change on the way")
    if keras.backend.backend() != config["backend"]:
        raise ZooError(
            f"{run}: was started with KERAS_BACKEND={config['backend']}; set it to continue exactly"
        )
    if settings.overrides or settings.config_file is not None:
        changed = resolve_overrides(config["model"], settings.overrides, settings.config_file)
        for name, value in changed.items():
            if _plain(value) != _plain(config["hyperparameters"].get(name)):
                raise ZooError(
                    f"{run}: was started with {name}={config['hyperparameters'].get(name)}, "
                    "which cannot change on the way; start a new run"
                )
    resumed = dict(config)
    for name in ("steps", *INTERVALS):
        resumed[name] = _first(getattr(settings, name), config[name])
    _check_numbers(resumed)
    return resumed


def plan_of(config: dict[str, Any]) -> Plan:
    """The loop's plan from a run's configuration."""
    return Plan(config["steps"], config["log_every"], config["sample_every"], config["checkpoint_every"])


def _check_numbers(config: dict[str, Any]) -> None:
    smallest = {"steps": 1, "batch_size": 1, "log_every": 1, "sample_every": 0, "checkpoint_every": 1}
    if not 0 <= config["seed"] < 2**31:
        raise ZooError(f"--seed {config['seed']}: expected 0 to {2**31 - 1}")
    for name, least in smallest.items():
        if config[name] < least:
            raise ZooError(f"--{name.replace('_', '-')} {config[name]}: expected {least} or more")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _first(*values):
    return next(value for value in values if value is not None)
