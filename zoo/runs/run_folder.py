"""The run folder: where a training keeps its configuration, state, figures and results."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

from zoo.errors import ZooError
from zoo.files import clear_leftovers, write_json
from zoo.input_files import existing_file
from zoo.runs import checkpoint
from zoo.runs.metrics_file import read_metrics
from zoo.runs.run_config import check_config
from zoo.runs.run_lock import LOCK

CONFIG = "config.json"
FORMAT = 1
# Only what changes the numbers of a step; log and sample intervals may differ after a resume.
FIRST_PHASE = "start"  # folder of the run that this one begins from
_HASHED = ("model", "hyperparameters", "seed", "batch_size", "mixed_precision", "backend")


class RunFolder:
    """Paths and configuration of one run.

    ``config`` (config.json) holds everything resolved: model, preset, hyperparameters, data,
    seed, batch size, intervals, versions.
    """

    def __init__(self, path: Path, config: dict[str, Any]):
        self.path = path
        self.config = config
        self.checkpoints = path / "checkpoints"
        self.logs = path / "logs"
        self.metrics = path / "metrics.csv"
        self.samples = path / "samples"
        self.model_file = path / "model.keras"
        self.export = path / "export" / "1"

    @classmethod
    def create(cls, path: str | Path, config: dict[str, Any], overwrite: bool = False) -> RunFolder:
        """A new folder with its ``config.json``.

        Raises ZooError where the path is taken; ``overwrite`` replaces an earlier run, and only
        a run: any other folder with files in it is left alone.
        """
        path = Path(path)
        check_free(path, overwrite)
        if _has_files(path):
            _remove_run(path)
        run = cls(path, {"zoo_run": FORMAT, **config, "versions": versions()})
        run.write_config()
        return run

    @classmethod
    def open(cls, path: str | Path, model: str | None = None) -> RunFolder:
        """An existing run; raises ZooError where it is none, or (``model`` given) another model's."""
        path = Path(path)
        if not path.is_dir():
            raise ZooError(f"{path}: there is no such folder; give the folder that zoo-train wrote (--out)")
        file = path / CONFIG
        if not file.exists():
            raise ZooError(f"{path}: is not a run folder (no {CONFIG}); give the folder that zoo-train wrote")
        existing_file(file)
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            at = getattr(error, "pos", getattr(error, "start", 0))
            raise ZooError(f"{file}: is damaged at byte {at} (not JSON); start a new run") from None
        if not isinstance(config, dict) or "zoo_run" not in config or "model" not in config:
            raise ZooError(f"{path}: is not a run folder ({CONFIG} was written by something else)")
        if config["zoo_run"] != FORMAT:
            raise ZooError(f"{file}: has run format {config['zoo_run']}, this version reads {FORMAT}")
        check_config(config, file)
        if model is not None and config["model"] != model:
            raise ZooError(
                f"{path}: is a run of {config['model']}, not of {model}; leave out --model or give its run"
            )
        return cls(path, config)

    def last_step(self) -> int:
        """The step of the newest checkpoint, 0 if the run ended before its first.

        Raises ZooError where the run is further than that, so that its checkpoints must have been removed,
        and where something else lies in the place of one of its folders: nothing is changed then.
        """
        for folder in (self.checkpoints, self.logs, self.samples):
            if folder.exists() and not folder.is_dir():
                raise ZooError(f"{folder}: is a file, the run keeps a folder there; move the file away")
        steps = checkpoint.steps_in(self.checkpoints)
        columns_and_rows = read_metrics(self.metrics)
        if steps:
            return steps[-1]
        logged = max((int(row["step"]) for row in columns_and_rows[1]), default=0)
        if self.model_file.exists() or logged >= self.config.get("checkpoint_every", logged + 1):
            raise ZooError(
                f"{self.checkpoints}: holds no checkpoint, though the run is at step {logged}; put them back "
                f"to continue it, or start anew with --out {self.path} --overwrite"
            )
        return 0

    def write_config(self) -> None:
        """Write ``config.json`` whole or not at all; make the folders of a run, clear what was left."""
        for folder in (self.path, self.checkpoints, self.logs, self.samples):
            folder.mkdir(parents=True, exist_ok=True)
            clear_leftovers(folder)
        write_json(self.path / CONFIG, self.config, indent=2)

    def config_hash(self) -> str:
        """SHA-256 of what determines the numbers of a step, as 16 hex digits."""
        relevant = {key: self.config.get(key) for key in _HASHED}
        # The records themselves, not their folder: data may move between two parts of a run.
        relevant["data"] = self.config.get("data", {}).get("fingerprint")
        return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()[:16]


def check_free(path: str | Path, overwrite: bool = False) -> None:
    """Raise ZooError where a new run cannot be made at ``path``."""
    path = Path(path)
    if path.is_dir():
        if not os.access(path, os.W_OK | os.X_OK):
            raise ZooError(f"{path}: no permission to write there; name another folder with --out")
        if not _has_files(path):
            return
        is_run = _is_run(path)
        if is_run and overwrite:
            return
        if is_run:
            raise ZooError(
                f"{path}: holds a run already; continue it with --resume {path}, replace it with "
                "--overwrite, or name another folder with --out"
            )
        raise ZooError(f"{path}: is a folder with other files in it; name another one with --out")
    if path.exists():
        raise ZooError(f"{path}: is a file; name a folder with --out")


def _has_files(path: Path) -> bool:
    """Whether a folder holds more than the lock of a run that is about to be made."""
    return path.is_dir() and any(entry.name != LOCK for entry in path.iterdir())


def _is_run(path: Path) -> bool:
    """Whether zoo-train wrote this folder, also where its checkpoints are gone or its config is damaged."""
    if not (path / CONFIG).is_file():
        return False
    return (path / "checkpoints").is_dir() or '"zoo_run"' in (path / CONFIG).read_text(errors="replace")


def free_path(stem: str) -> Path:
    """``stem``, or ``stem-2``, ``stem-3`` … where that is taken."""
    path, number = Path(stem), 1
    while path.exists():
        number += 1
        path = Path(f"{stem}-{number}")
    return path


def versions() -> dict[str, str]:
    """Versions of what a result depends on, by distribution name."""
    found = {"python": platform.python_version()}
    for name in ("cryozoo", "keras", "tensorflow", "tensorflow-cpu", "jax", "numpy"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _remove_run(path: Path) -> None:
    """Empty a run folder of what zoo-train writes; other files a person put there stay."""
    for name in ("checkpoints", "logs", "samples", "export", "results", FIRST_PHASE):
        shutil.rmtree(path / name, ignore_errors=True)
    for name in (CONFIG, "metrics.csv", "model.keras"):
        (path / name).unlink(missing_ok=True)
