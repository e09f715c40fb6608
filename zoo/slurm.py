"""SLURM's environment: which part of the work is this process's, and TensorFlow's cluster of a step."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping

from zoo.errors import ZooError

_FIRST_PORT = 15000
_PORTS = 15000


def in_slurm_step(environment: Mapping[str, str]) -> bool:
    """Whether this process is one of several that ``srun`` started.

    Only srun sets SLURM_STEP_NUM_TASKS: a batch script has SLURM_NTASKS too, but runs alone and
    would wait for ever for the others.
    """
    return tasks_in_step(environment) > 1


def tasks_in_step(environment: Mapping[str, str]) -> int:
    """How many processes ``srun`` started with this one (1 outside a step)."""
    return _number(environment, "SLURM_STEP_NUM_TASKS", 1)


def local_task(environment: Mapping[str, str]) -> int:
    """The number of this process among those of its step on the same node, from 0."""
    return _number(environment, "SLURM_LOCALID", 0)


def share_of_work(environment: Mapping[str, str]) -> tuple[int, int, str]:
    """(index, count, variable names) of this process among all that share one piece of work.

    A job array counts from SLURM_ARRAY_TASK_MIN in steps of SLURM_ARRAY_TASK_STEP; the tasks of a
    job are SLURM_PROCID of SLURM_NTASKS; an array of jobs with several tasks each is split over both.
    Outside SLURM: (0, 1, "").
    """
    index, count, origin = 0, 1, ""
    if "SLURM_ARRAY_TASK_ID" in environment:
        step = _number(environment, "SLURM_ARRAY_TASK_STEP", 1) or 1
        first = _number(environment, "SLURM_ARRAY_TASK_MIN", 0)
        index = (_number(environment, "SLURM_ARRAY_TASK_ID", 0) - first) // step
        count = _number(environment, "SLURM_ARRAY_TASK_COUNT", 1)
        origin = "SLURM_ARRAY_TASK_ID"
    # srun's own count wins: inside a batch script SLURM_NTASKS is what was asked for, not what runs.
    tasks = _number(environment, "SLURM_STEP_NUM_TASKS", 0) or _number(environment, "SLURM_NTASKS", 1)
    if "SLURM_PROCID" in environment and tasks > 1:
        index = index * tasks + _number(environment, "SLURM_PROCID", 0)
        count *= tasks
        origin = f"{origin} and SLURM_PROCID" if origin else "SLURM_PROCID"
    return index, count, origin


def cluster_from_slurm(environment: Mapping[str, str]) -> str:
    """TF_CONFIG (JSON) of one srun step: a worker per task, in the order of SLURM_PROCID.

    Raises ZooError where SLURM's variables are missing or do not agree with each other.
    """
    try:
        hosts = expand_hosts(environment["SLURM_STEP_NODELIST"])
        per_node = expand_tasks_per_node(environment["SLURM_STEP_TASKS_PER_NODE"])
        rank = _number(environment, "SLURM_PROCID")
        job = _number(environment, "SLURM_JOB_ID", 0)
        tasks = _number(environment, "SLURM_STEP_NUM_TASKS")
    except KeyError as error:
        raise ZooError(f"{error.args[0]} is not set: start the workers with srun, or set TF_CONFIG") from None
    if len(hosts) != len(per_node) or sum(per_node) != tasks or not 0 <= rank < tasks:
        raise ZooError(
            f"SLURM describes {len(hosts)} nodes, {per_node} tasks on them and {tasks} tasks in all: "
            "these do not agree; set TF_CONFIG by hand"
        )
    # A port of its own for every job that shares a node, and for every task of a job on a node.
    port = _FIRST_PORT + job * 16 % _PORTS
    workers = [
        f"{host}:{port + local}"
        for host, count in zip(hosts, per_node, strict=True)
        for local in range(count)
    ]
    return json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": rank}})


def expand_hosts(node_list: str) -> list[str]:
    """``n[8-10,12],gpu1`` → n8, n9, n10, n12, gpu1: SLURM's own order, leading zeros kept.

    (Sorting the names as text would put n10 before n9 and give every task another's address.)
    """
    hosts: list[str] = []
    for part in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", node_list):
        pieces = re.split(r"\[([^\]]*)\]", part)
        choices = [_ranges(piece) if i % 2 else [piece] for i, piece in enumerate(pieces)]
        hosts.extend("".join(choice) for choice in itertools.product(*choices))
    return hosts


def expand_tasks_per_node(text: str) -> list[int]:
    """``2(x3),1`` → [2, 2, 2, 1]."""
    counts = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part.strip())
        if match is None:
            raise ZooError(f"SLURM_STEP_TASKS_PER_NODE={text}: expected counts such as 2(x3),1")
        counts.extend([int(match.group(1))] * int(match.group(2) or 1))
    return counts


def _ranges(text: str) -> list[str]:
    names: list[str] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if dash:
            names.extend(str(number).zfill(len(first)) for number in range(int(first), int(last) + 1))
        else:
            names.append(first)
    return names


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environment[name] if default is None else environment.get(name, str(default))
    try:
        return int(text)
    except ValueError:
        raise ZooError(f"environment variable {name} is {text!r}, expected a whole number") from None
