"""What a person may set of poses that the particles' own file states; no Keras."""

from __future__ import annotations

from typing import Any

from zoo.config import Config, setting

OF_POSES = ("poses", "pose_range_deg", "pose_range_angstrom")
_RANGES = OF_POSES[1:]


def poses(help: str) -> Any:
    """The field ``poses``: found from nothing, or known."""
    return setting("find", help, choices=("find", "known"))


def pose_range_deg() -> Any:
    """The field ``pose_range_deg``."""
    return setting(
        0.0,
        "with poses=known: how far a pose may turn from that of the file; 0: not at all",
        unit="degrees",
        least=0,
        most=90,
    )


def pose_range_angstrom() -> Any:
    """The field ``pose_range_angstrom``."""
    return setting(
        0.0,
        "with poses=known: how far a particle may move from where the file has it; 0: not at all",
        unit="Å",
        least=0,
        most=1e4,
    )


def range_without_poses(config: Config) -> str:
    """What is wrong with a range where poses are not known, in one line; "" if nothing is."""
    values = config.values()
    given = [name for name in _RANGES if values[name] > 0 and values["poses"] != "known"]
    return f"{given[0]}={values[given[0]]:g} is about poses of the file; add poses=known" if given else ""
