"""The models of the zoo: importing this registers them all (one line per model)."""

from zoo.models import (
    faml,  # noqa: F401
    vaegan3d,  # noqa: F401
)
