"""The models of the zoo, a folder each; importing this registers what every folder's ``config.py`` says.

A new model is one folder with a ``config.py`` (no Keras in it): there is no list to add it to.
"""

import importlib
from pathlib import Path

for _config in sorted(Path(__file__).parent.glob("*/config.py")):
    importlib.import_module(f"zoo.models.{_config.parent.name}.config")
