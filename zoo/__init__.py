"""The model zoo for cryo-electron microscopy: files → records → batches → model → files.

Importing this module is cheap: Keras and TensorFlow are imported when something needs them.
"""

from zoo.errors import ZooError
from zoo.registry import create_model, list_models, register

__version__ = "0.1.0"

__all__ = ["ZooError", "__version__", "create_model", "list_models", "load_pretrained", "register"]


def load_pretrained(name: str):
    """A trained model that ships with the zoo, e.g. ``zoo.load_pretrained("vaegan3d-tiny")``."""
    from zoo.serving.pretrained import load_pretrained as load

    return load(name)
