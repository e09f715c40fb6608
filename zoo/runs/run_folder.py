"""The run folder: where a training keeps its configuration, state, figures and results."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

from zoo.errors import ZooError
from zoo.files import write_json

CONFIG = "config.json"
FORMAT = 1
# Only what changes the numbers of a step; log and sample intervals may differ after a resume.
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
        if path.exists() and any(path.iterdir()):
            _remove_run(path)
        run = cls(path, {"zoo_run": FORMAT, **config, "versions": versions()})
        for folder in (run.path, run.checkpoints, run.logs, run.samples):
            folder.mkdir(parents=True, exist_ok=True)
        run.write_config()
        return run

    @classmethod
    def open(cls, path: str | Path, model: str | None = None) -> RunFolder:
        """An existing run; raises ZooError where it is none, or (``model`` given) another model's."""
        path = Path(path)
        if not path.is_dir():
            raise ZooError(f"{path}: there is no such folder; give the folder that zoo-train wrote (--out)")
        file = path / CONFIG
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ZooError(
                f"{path}: is not a run folder (no {CONFIG}); give the folder that zoo-train wrote"
            ) from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            at = getattr(error, "pos", getattr(error, "start", 0))
            raise ZooError(f"{file}: is damaged at byte {at} (not JSON); start a new run") from None
        if not isinstance(config, dict) or "zoo_run" not in config or "model" not in config:
            raise ZooError(f"{path}: is not a run folder ({CONFIG} was written by something else)")
        if config["zoo_run"] != FORMAT:
            raise ZooError(f"{file}: has run format {config['zoo_run']}, this version reads {FORMAT}")
        if model is not None and config["model"] != model:
            raise ZooError(
                f"{path}: is a run of {config['model']}, not of {model}; leave out --model or give its run"
            )
        return cls(path, config)

    def write_config(self) -> None:
        """Write ``config.json`` atomically."""
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
        if not any(path.iterdir()):
            return
        is_run = (path / CONFIG).is_file() and (path / "checkpoints").is_dir()
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
    for name in ("checkpoints", "logs", "samples", "export", "results"):
        shutil.rmtree(path / name, ignore_errors=True)
    for name in (CONFIG, "metrics.csv", "model.keras"):
        (path / name).unlink(missing_ok=True)
