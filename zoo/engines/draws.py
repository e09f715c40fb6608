"""The random numbers that one training step needs, declared by name."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Draw:
    """One array of random numbers of a training step.

    ``shape`` leaves out the batch axis where ``per_example`` is True. ``kind`` is "normal"
    (mean 0, variance 1) or "uniform" (in [0, 1)). The engine draws it as a pure function of
    (seed, step, name's position), so a resumed run sees the same numbers, and cuts per-example
    draws by replica, so several replicas together see what one device would have seen.
    """

    shape: tuple[int, ...]
    kind: str = "normal"
    per_example: bool = True
