"""The model zoo for cryo-electron microscopy: files → records → batches → model → files.

The names below are the public ones; everything else may move. Importing this module is cheap: Keras and
TensorFlow are imported when something needs them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from zoo.errors import ZooError
from zoo.registry import create_model, list_models, register

if TYPE_CHECKING:
    from pathlib import Path

    from zoo import layers, metrics, ops
    from zoo.data.info import DatasetInfo
    from zoo.serving.open_model import RunModel
    from zoo.serving.served import ServedModel

__version__ = "0.1.0"

_ROOMS = ("layers", "metrics", "ops")
__all__ = [
    "ZooError",
    "__version__",
    "create_model",
    "layers",
    "list_models",
    "load_dataset",
    "load_pretrained",
    "metrics",
    "open_run",
    "ops",
    "register",
]


def load_dataset(path: str | Path | None = None, box: int | None = None) -> DatasetInfo:
    """The data set in a folder of ``zoo-pack``; the embedded particles (made on first use) for None.

    ``box``: the edge in pixels that is wanted. ``batches(batch_size, seed)`` of the result yields what a
    model trains on. Raises ZooError where ``path`` is no packed data set, or has another box.
    """
    from zoo.runs.data_source import open_data

    return open_data(path, box)


def load_pretrained(name: str, version: int | None = None) -> ServedModel:
    """A trained model that ships with the zoo, e.g. ``zoo.load_pretrained("vaegan3d-tiny")``.

    Raises ZooError if there is no such model or version.
    """
    from zoo.serving.pretrained import load_pretrained as load

    return load(name, version)


def open_run(path: str | Path) -> RunModel:
    """The trained model of a run folder of ``zoo-train``; ``keras_model`` is the Keras model itself.

    Raises ZooError where ``path`` is no run folder, or the run has not finished.
    """
    from zoo.serving.open_model import RunModel, load_run_model

    return RunModel(load_run_model(path), path)


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"zoo.{name}")
    raise AttributeError(f"module 'zoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
