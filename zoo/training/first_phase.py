"""The run that another one begins from: trained in its folder first, or named by a person."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.config import FirstPhase
from zoo.errors import ZooError
from zoo.registry import get_entry
from zoo.runs.run_folder import FIRST_PHASE, RunFolder
from zoo.serving.places import finished_run


def phase_of(config: Mapping[str, Any]) -> FirstPhase | None:
    """What comes before a run of this configuration; None where nothing does."""
    entry = get_entry(config["model"])
    return entry.config.of(config["hyperparameters"], config["model"]).first_phase()


def check_start(config: Mapping[str, Any]) -> None:
    """Raise ZooError where the run that ``--start-from`` names is not what the new one can begin from.

    That is a finished run of the same model, or of that of its first phase on the same records.
    """
    place = config.get("start_from")
    if place is None:
        return
    phase = phase_of(config)
    model = RunFolder.open(place).config["model"]
    if phase and model != phase.model:
        raise ZooError(
            f"--start-from {place}: is a run of {model}, but this one begins from one of {phase.model}; "
            "give its folder, or leave the option out and it is made first"
        )
    run = finished_run(place, config["model"] if phase is None else phase.model)
    theirs, ours = (data.get("fingerprint") for data in (run.config.get("data", {}), config["data"]))
    if phase and theirs != ours:
        raise ZooError(
            f"--start-from {place}: saw other records than this run's; what it learned is of those, so "
            "give --data, or the box of the embedded data, as it had it"
        )


def start_folder(config: Mapping[str, Any], run: Path) -> Path | None:
    """The folder that a new run in ``run`` begins from: a person's, that of its first phase, or none."""
    if config.get("start_from"):
        return Path(config["start_from"])
    return run / FIRST_PHASE if phase_of(config) else None
