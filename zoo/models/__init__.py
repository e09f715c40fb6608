"""The models of the zoo: importing this registers them all (one line per model)."""

from zoo.models.faml import model as faml  # noqa: F401
from zoo.models.vaegan3d import model as vaegan3d  # noqa: F401
