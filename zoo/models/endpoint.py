"""A named signature of a model: a function of tensors, with the shape, type and role of each input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

ROLES = ("data", "ctf", "latent", "pose", "noise", "seed", "label")


@dataclass(frozen=True)
class Input:
    """One argument: ``shape`` with None for a free size; noise is standard normal and drawn from a seed."""

    shape: tuple[int | None, ...]
    role: str = "data"
    dtype: str = "float32"

    def __post_init__(self):
        if self.role not in ROLES:
            raise ValueError(f"role {self.role!r}: expected one of {', '.join(ROLES)}")


@dataclass(frozen=True)
class Endpoint:
    """``function`` takes its ``inputs`` as keyword tensors and returns a dict of tensors."""

    function: Callable[..., dict]
    inputs: dict[str, Input]

    def of_role(self, *roles: str) -> list[str]:
        """Names of the inputs that have one of ``roles``."""
        return [name for name, each in self.inputs.items() if each.role in roles]
