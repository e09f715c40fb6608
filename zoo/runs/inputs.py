"""The data sets of a run by role: one for most models, several for those that learn from several kinds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.data.info import DatasetInfo
from zoo.errors import ZooError
from zoo.runs import data_source


@dataclass(frozen=True)
class Inputs:
    """Role → DatasetInfo, in the order of the model's ``takes``; results are written for its first."""

    by_role: Mapping[str, DatasetInfo]

    @property
    def first(self) -> DatasetInfo:
        """The data set of the first role."""
        return next(iter(self.by_role.values()))

    @property
    def for_model(self) -> Any:
        """What ``from_data`` of a model gets: the one data set, or a dict of them by role."""
        return self.first if len(self.by_role) == 1 else dict(self.by_role)


def parse_data(words: Iterable[str]) -> dict[str, str]:
    """``["A"]`` or ``["maps=A", "subtomograms=B"]`` → role → folder; the role of a lone folder is "".

    Raises ZooError for a role given twice, or several folders without roles.
    """
    found: dict[str, str] = {}
    words = list(words)
    for word in words:
        role, equals, folder = word.partition("=")
        if not equals or Path(word).exists():
            role, folder = "", word
        if role in found or ("" in found and len(words) > 1) or (not role and len(words) > 1):
            raise ZooError(
                f"--data {word}: give one folder, or one role=folder for each role of the model, each once"
            )
        found[role] = folder
    return found


def by_role(takes: Mapping[str, str], given: Mapping[str, str], model: str) -> dict[str, str | None]:
    """The folder of each role of ``takes``; None where nothing is given, for the embedded data of its kind.

    Raises ZooError for a role that the model has not, and where only some of several are given.
    """
    roles = list(takes)
    if set(given) == {""} and len(roles) == 1:
        return {roles[0]: given[""]}
    spelled = " ".join(f"--data {role}=DIR" for role in roles)
    unknown = [role for role in given if role not in roles]
    if unknown:
        word = f"{unknown[0]}={given[unknown[0]]}" if unknown[0] else given[""]
        raise ZooError(f"--data {word}: {model} takes {spelled}")
    missing = [role for role in roles if role not in given]
    if given and missing:
        raise ZooError(f"--data {missing[0]}=DIR is missing: {model} takes {spelled}")
    return {role: given.get(role) for role in roles}


def open_inputs(
    folders: Mapping[str, str | None],
    takes: Mapping[str, str],
    box: int | None,
    model: str = "the model",
    embedded_sets: Mapping[str, str] | None = None,
) -> Inputs:
    """Open the data set of each role; ``box`` is the edge that the model wants of all of them (None: any).

    ``embedded_sets`` names the embedded data of roles that are not to have those of their kind.

    Raises ZooError where a folder is no packed data set, of another kind, or of another box.
    """
    return Inputs(
        {
            role: data_source.open_data(folder, box, takes[role], model, (embedded_sets or {}).get(role))
            for role, folder in folders.items()
        }
    )


def describe(
    inputs: Inputs, folders: Mapping[str, str | None], embedded_sets: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What config.json keeps: that of the one data set, or of each role with a fingerprint over all."""
    parts = {
        role: data_source.describe(info, folders[role], (embedded_sets or {}).get(role))
        for role, info in inputs.by_role.items()
    }
    if len(parts) == 1:
        return next(iter(parts.values()))
    joined = " ".join(f"{role} {part['fingerprint']}" for role, part in parts.items())
    return {"roles": parts, "fingerprint": hashlib.sha256(joined.encode()).hexdigest()[:16]}


def reopen(known: Mapping[str, Any], takes: Mapping[str, str], given: Mapping[str, str]) -> Inputs:
    """The data sets of an earlier run; ``given`` names folders that have moved.

    Raises ZooError where one holds other records than the run was trained on.
    """
    parts = known.get("roles") or {next(iter(takes)): known}
    if set(given) == {""} and len(parts) == 1:
        given = {next(iter(parts)): given[""]}
    for role in given:
        if role not in parts:
            raise ZooError(f"--data {role}={given[role]}: the run has no such role, only {', '.join(parts)}")
    return Inputs(
        {role: data_source.reopen(part, given.get(role), takes.get(role)) for role, part in parts.items()}
    )
