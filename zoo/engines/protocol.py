"""What every engine gives the training loop, whatever the way of learning and the backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Engine(Protocol):
    """Runs the steps of one model; its state lies in the model's variables between two steps."""

    def step(self, batch: Any) -> Mapping[str, Any]:
        """Train on one batch; what the step wants to log, by name."""
        ...

    @property
    def step_index(self) -> int:
        """How many steps the model has been trained."""
        ...

    @property
    def is_finished(self) -> bool:
        """Whether the model needs no more steps, though the run was given more."""
        ...

    def variables(self) -> list[tuple[str, Any]]:
        """(unique name, Keras variable) of everything a checkpoint must hold, in a fixed order."""
        ...

    def notices(self) -> list[str]:
        """What a person should be told since the last call."""
        ...


def named_variables(variables: list) -> list[tuple[str, Any]]:
    """(position and path, variable) of a model's whole state, in its order."""
    return [(f"{i:04d}/{variable.path}", variable) for i, variable in enumerate(variables)]
