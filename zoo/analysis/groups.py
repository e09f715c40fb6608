"""A person's word on clusters: ``groups.yaml``, which puts every cluster into a group or leaves it out."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.data.formats.label_volume import BACKGROUND
from zoo.errors import ZooError
from zoo.files import whole_file
from zoo.input_files import existing_file

GROUPS_NAME = "groups.yaml"
IGNORE = "ignore"
_IGNORED = -1
_MOST_GROUPS = 127  # labels of voxels are int8, 0 is the background
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")
_SHOWN = 8
_HEAD = """\
# Look at montage.png, and move the number of each cluster that you recognise from ignore to a group, such as
#     surface: [39, 43]
#     globular: [98]
# Every cluster stands in one group. Those under ignore are not used; those under background, where you name
# such a group, hold nothing of interest: their voxels are background.
"""


@dataclass(frozen=True)
class Groups:
    """``names`` of the groups, and the group of each of k clusters: ``of_cluster`` (k,).

    Group number 1 has the first name; 0 is background, -1 stands for clusters that are not used.
    """

    names: tuple[str, ...]
    of_cluster: np.ndarray

    @property
    def label_names(self) -> tuple[str, ...]:
        """A name for each label of voxels, the background first."""
        return (BACKGROUND, *self.names)

    def of_rows(self, cluster: np.ndarray) -> np.ndarray:
        """Group of each row (n,) from its cluster; -1 where that is -1."""
        cluster = np.asarray(cluster)
        return np.where(cluster >= 0, self.of_cluster[np.maximum(cluster, 0)], _IGNORED)


def write_groups(path: str | os.PathLike, clusters: int) -> None:
    """Write a file with every cluster under ``ignore``, for a person to edit."""
    with whole_file(path, "w") as file:
        file.write(_HEAD)
        numbers = ", ".join(map(str, range(clusters)))
        file.write(f"{IGNORE}: [{numbers}]\n")


def read_groups(path: str | os.PathLike, clusters: int) -> Groups:
    """The groups that a person made of clusters 0 to ``clusters`` - 1, in the order of the file.

    Raises ZooError in one line for clusters that are not there, that stand in no group or in two, for names
    that cannot be those of files, and where no group has a cluster.
    """
    pairs = _read_pairs(Path(existing_file(path)))
    names: list[str] = []
    of_cluster = np.full(clusters, _IGNORED)
    seen: dict[int, str] = {}
    doubled: dict[int, str] = {}
    for name, numbers in pairs:
        if name not in (IGNORE, BACKGROUND) and numbers:
            names.append(name)
        for number in numbers:
            if not 0 <= number < clusters:
                raise ZooError(
                    f"{path}: {name} names cluster {number}, which is not there: clusters are 0 to "
                    f"{clusters - 1}"
                )
            if number in seen:
                doubled[number] = seen[number]
            seen[number] = name
            of_cluster[number] = {IGNORE: _IGNORED, BACKGROUND: 0}.get(name, len(names))
    if doubled:
        where = [f"{number} under {first} and {seen[number]}" for number, first in doubled.items()]
        raise ZooError(f"{path}: clusters stand there twice: {_some(where)}; leave each in one group")
    missing = [str(number) for number in range(clusters) if number not in seen]
    if missing:
        raise ZooError(
            f"{path}: in no group: {_some(missing)} of {clusters} clusters; put what is not wanted under "
            f"{IGNORE}"
        )
    if not names:
        raise ZooError(
            f"{path}: all clusters stand under {IGNORE} or {BACKGROUND}; look at montage.png and give "
            "those that "
            "you recognise a group, such as surface: [3, 7]"
        )
    if len(names) > _MOST_GROUPS:
        raise ZooError(f"{path}: {len(names)} groups, expected at most {_MOST_GROUPS}")
    return Groups(tuple(names), of_cluster)


def _some(words: list[str]) -> str:
    return ", ".join(words[:_SHOWN]) + (f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else "")


def _read_pairs(path: Path) -> list[tuple[str, list[int]]]:
    """(group, its clusters) in the order of the file; unlike a dict it keeps a name that stands there
    twice."""
    import yaml

    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise ZooError(
            f"{path}: byte {error.start} is not text; expected lines such as surface: [3, 7]"
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        raise ZooError(f"{path}: {line}is not YAML; expected lines such as surface: [3, 7]") from None
    if not isinstance(node, yaml.MappingNode):
        raise ZooError(f"{path}: expected lines such as surface: [3, 7]")
    pairs: list[tuple[str, list[int]]] = []
    for key, value in node.value:
        where = f"{path}: line {key.start_mark.line + 1}"
        name = str(key.value)
        if not _NAME.fullmatch(name):
            raise ZooError(f"{where}: {name!r} is no name of a group; expected letters, digits, - and _")
        if name.lower() in [known.lower() for known, _ in pairs]:
            raise ZooError(
                f"{where}: the group {name} stands there twice; put all its clusters into one line"
            )
        pairs.append((name, _numbers(value, where, name)))
    return pairs


def _numbers(node, where: str, name: str) -> list[int]:
    import yaml

    if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
        return []
    each = node.value if isinstance(node, yaml.SequenceNode) else [node]
    found = []
    for one in each:
        if not isinstance(one, yaml.ScalarNode) or not re.fullmatch(r"-?[0-9]+", str(one.value)):
            shown = one.value if isinstance(one, yaml.ScalarNode) else "something nested"
            raise ZooError(f"{where}: {name} holds {shown}, expected numbers of clusters such as [3, 7]")
        found.append(int(one.value))
    return found
