"""What a person asks of zoo-train, resolved into the run folder's configuration."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import slurm
from zoo.engines.backend import backend_name
from zoo.errors import ZooError
from zoo.registry import get_entry, resolve_overrides, resolve_preset
from zoo.runs import inputs
from zoo.runs.run_config import RESUMED, check_config, check_data
from zoo.runs.run_folder import CONFIG, RunFolder, check_free
from zoo.simulate.embedded_data import suggested_settings
from zoo.training.first_phase import check_start

if TYPE_CHECKING:
    from zoo.training.loop import Plan

STRATEGIES = ("auto", "one", "mirrored", "multiworker")
BATCH_SIZE = 16
STEPS = 10_000
INTERVALS = {"log_every": 10, "sample_every": 500, "checkpoint_every": 500}
_LARGEST = 1_000_000_000
_RANGES = {
    "steps": (1, _LARGEST),
    "epochs": (1, 1_000_000),
    "batch_size": (1, 100_000),
    "seed": (0, 2**31 - 1),
    "log_every": (1, _LARGEST),
    "sample_every": (0, _LARGEST),
    "checkpoint_every": (1, _LARGEST),
}


@dataclass
class TrainSettings:
    """The options of zoo-train; None where the person left one out.

    ``data`` is a folder, or folders by role; it is kept as role → folder, the role of a lone folder "".
    """

    model: str | None = None
    data: Any = None
    preset: str | None = None
    overrides: dict[str, str] = field(default_factory=dict)
    config_file: Path | None = None
    steps: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    out: Path | None = None
    seed: int | None = None
    strategy: str = "auto"
    mixed_precision: bool = False
    resume: Path | None = None
    start_from: Path | None = None
    sample_every: int | None = None
    checkpoint_every: int | None = None
    log_every: int | None = None
    overwrite: bool = False
    results: bool | None = None

    def __post_init__(self):
        if not isinstance(self.data, Mapping):
            self.data = {} if self.data is None else {"": str(self.data)}


def parse_assignments(assignments: list[str]) -> dict[str, str]:
    """``["name=value", …]`` as a dict; raises ZooError for a word without ``=``."""
    values = {}
    for word in assignments:
        name, equals, value = word.partition("=")
        if not equals or not name.strip():
            raise ZooError(f"--set {word}: expected name=value")
        values[name.strip()] = value.strip()
    return values


def check_words(settings: TrainSettings) -> None:
    """Raise ZooError for whatever is wrong with the options, the data or the folders they name.

    Nothing here imports Keras or TensorFlow, so that a wrong word is answered at once.
    """
    check_strategy(settings.strategy)
    _check_numbers({name: getattr(settings, name) for name in _RANGES})
    if settings.resume is not None:
        run = RunFolder.open(settings.resume, settings.model)
        config = resumed_config(settings, run.config, run.path)
        check_data(run.config["data"], run.path / CONFIG)
        inputs.reopen(run.config["data"], get_entry(run.config["model"]).takes, settings.data)
        check_steps_left(run.path, run.last_step(), config["steps"])
        return
    several = os.environ.get("TF_CONFIG") or slurm.tasks_in_step(os.environ) > 1
    if settings.out is not None and not several and settings.strategy != "multiworker":
        check_free(settings.out, settings.overwrite)
    check_start(new_config(settings)[0])


def check_strategy(choice: str) -> None:
    """Raise ZooError for a choice of devices that does not exist."""
    if choice not in STRATEGIES:
        raise ZooError(f"--strategy {choice}: expected one of {', '.join(STRATEGIES)}")


def check_steps_left(run: Path, done: int, total: int) -> None:
    """Raise ZooError where a run has more steps than it is asked for."""
    if done > total:
        raise ZooError(f"{run}: has {done} steps already; --steps is the total, so give more than that")


def new_config(settings: TrainSettings) -> tuple[dict[str, Any], inputs.Inputs]:
    """(configuration, data sets by role) of a new run, everything resolved.

    Raises ZooError for an unknown model, preset or hyperparameter, or data that do not fit.
    """
    if settings.model is None:
        raise ZooError("name a model with --model (zoo models lists them), or a run with --resume")
    entry = get_entry(settings.model)
    _check_numbers({name: getattr(settings, name) for name in _RANGES})
    preset = resolve_preset(settings.model, settings.preset)
    overrides = resolve_overrides(settings.model, settings.overrides, settings.config_file)
    hyperparameters = {**entry.presets[preset], **overrides}
    folders = inputs.by_role(entry.takes, settings.data, settings.model)
    wanted_box = overrides.get("box") if settings.data else hyperparameters.get("box")
    _check_length(settings, entry)
    suggested = {
        name: value
        for role, folder in folders.items()
        for name, value in (suggested_settings(entry.embedded_set(role)) if folder is None else {}).items()
        if name in hyperparameters and name not in overrides
    }
    hyperparameters.update(suggested)
    if not settings.data:
        # Before the embedded data are simulated for it.
        entry.config.of(hyperparameters, settings.model)
    opened = inputs.open_inputs(folders, entry.takes, wanted_box, settings.model, entry.embedded)
    info = opened.first
    # The records decide what the model sees; the preset's values are for a model without data.
    decided = {"box": info.box, "voxel_size_angstrom": info.voxel_size_angstrom, "count": info.count}
    for name, value in decided.items():
        if name in hyperparameters and name not in overrides:
            hyperparameters[name] = value
    batch_size = _first(settings.batch_size, hyperparameters.get("batch_size"), BATCH_SIZE)
    if "batch_size" in hyperparameters:
        hyperparameters["batch_size"] = batch_size
    hyperparameters = entry.config.of(hyperparameters, settings.model).values()
    config = {
        "model": settings.model,
        "preset": preset,
        "hyperparameters": hyperparameters,
        "data": inputs.describe(opened, folders, entry.embedded),
        "suggested": suggested,
        "seed": 0 if settings.seed is None else settings.seed,
        "batch_size": batch_size,
        **_length(settings, entry, hyperparameters, info.count, batch_size),
        "backend": backend_name(),
        "mixed_precision": settings.mixed_precision,
        "results": settings.results is not False,
        "start_from": None if settings.start_from is None else str(Path(settings.start_from).resolve()),
        "command": shlex.join(["zoo-train", *sys.argv[1:]]),
    }
    for name, default in INTERVALS.items():
        # What learns by epochs has nothing new to show within one.
        config[name] = _first(getattr(settings, name), config.get("steps_per_epoch"), default)
    _check_numbers(config)
    return config, opened


def resumed_config(settings: TrainSettings, config: dict[str, Any], run: Path) -> dict[str, Any]:
    """The configuration of a run that goes on: total steps and intervals may change, no more.

    Raises ZooError where an option contradicts what the run was started with.
    """
    check_config(config, Path(run) / "config.json", RESUMED)
    if settings.start_from is not None:
        raise ZooError(f"{run}: is a run already; --start-from is for a new one (leave out --resume)")
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
    if backend_name() != config["backend"]:
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
    if "epochs" in config:
        _refuse_steps(settings, config["model"])
        resumed["epochs"] = _first(settings.epochs, config["epochs"])
        known = get_entry(config["model"]).config.of(config["hyperparameters"], config["model"])
        resumed["steps"] = known.steps_of(resumed["epochs"], config["steps_per_epoch"])
    elif settings.epochs is not None:
        _refuse_epochs(config["model"])
    else:
        resumed["steps"] = _first(settings.steps, config["steps"])
    resumed["results"] = _first(settings.results, config.get("results"), True)
    for name in INTERVALS:
        resumed[name] = _first(getattr(settings, name), config[name])
    _check_numbers(resumed)
    return resumed


def _check_length(settings: TrainSettings, entry) -> None:
    if entry.learns == "epochs":
        _refuse_steps(settings, entry.name)
        if entry.config.ends_itself and settings.epochs is not None:
            raise ZooError(f"--epochs: {entry.name} ends by itself; leave it out")
    elif settings.epochs is not None:
        _refuse_epochs(entry.name)


def _length(settings: TrainSettings, entry, hyperparameters, count: int, batch_size: int) -> dict[str, int]:
    """How long a new run is: steps, and epochs for models that learn by them (epoch 0 starts them)."""
    if entry.learns != "epochs":
        return {"steps": _first(settings.steps, hyperparameters.get("training_steps"), STEPS)}
    epochs = _first(settings.epochs, entry.config.default_epochs)
    steps_per_epoch = -(-count // max(batch_size, 1))
    return {
        "epochs": epochs,
        "steps_per_epoch": steps_per_epoch,
        "steps": entry.config.of(hyperparameters, entry.name).steps_of(epochs, steps_per_epoch),
    }


def _refuse_epochs(model: str) -> None:
    raise ZooError(f"--epochs: {model} is trained by steps; give --steps")


def _refuse_steps(settings: TrainSettings, model: str) -> None:
    if settings.steps is not None:
        ends = get_entry(model).config.ends_itself
        advice = "ends by itself; leave it out" if ends else "is trained by whole epochs; give --epochs"
        raise ZooError(f"--steps: {model} {advice}")


def plan_of(config: dict[str, Any]) -> Plan:
    """The loop's plan from a run's configuration."""
    from zoo.training.loop import Plan

    return Plan(config["steps"], config["log_every"], config["sample_every"], config["checkpoint_every"])


def _check_numbers(given: Mapping[str, Any]) -> None:
    for name, (least, most) in _RANGES.items():
        value = given.get(name)
        if value is not None and not least <= value <= most:
            expected = f"{least} to {most}" if value > most or name == "seed" else f"{least} or more"
            raise ZooError(f"--{name.replace('_', '-')} {value}: expected {expected}")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _first(*values):
    return next(value for value in values if value is not None)
