"""Which backend Keras will run on, known before Keras is imported: that takes seconds."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from zoo.errors import ZooError

BACKENDS = ("tensorflow", "jax")


def backend_name() -> str:
    """``tensorflow`` or ``jax``, by KERAS_BACKEND, then Keras' own keras.json, as Keras itself chooses.

    Raises ZooError for another one: it has no gradient engine.
    """
    if "keras" in sys.modules:
        return sys.modules["keras"].backend.backend()
    name, where = os.environ.get("KERAS_BACKEND"), "KERAS_BACKEND"
    if not name:
        path = Path(os.environ.get("KERAS_HOME") or Path("~/.keras").expanduser()) / "keras.json"
        name, where = _stated(path), str(path)
    if name not in BACKENDS:
        raise ZooError(
            f"{where}: Keras on {name!r} has no gradient engine; set KERAS_BACKEND to tensorflow or jax"
        )
    return name


def _stated(path: Path) -> str:
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return BACKENDS[0]
    return stated.get("backend", BACKENDS[0]) if isinstance(stated, dict) else BACKENDS[0]
