"""Pure tensor functions in ``keras.ops``: float32, batched, the same on every Keras backend.

A module each, imported when it is named: ``zoo.ops.rotations.euler_to_matrix``.
"""

import importlib
import pkgutil
from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    if name in __dir__():
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))
