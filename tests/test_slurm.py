"""SLURM's variables become the cluster that its own scontrol would print."""

import json

import pytest

from zoo import slurm
from zoo.errors import ZooError


@pytest.mark.parametrize(
    "text, hosts",
    [
        ("n1", ["n1"]),
        ("n[8-11]", ["n8", "n9", "n10", "n11"]),
        ("n[08-10,12],gpu1", ["n08", "n09", "n10", "n12", "gpu1"]),
        ("rack[1-2]-node[3-4]", ["rack1-node3", "rack1-node4", "rack2-node3", "rack2-node4"]),
        ("a,b-[1,3].cluster", ["a", "b-1.cluster", "b-3.cluster"]),
    ],
)
def test_hosts(text, hosts):
    assert slurm.expand_hosts(text) == hosts


def test_tasks_per_node():
    assert slurm.expand_tasks_per_node("2(x3),1") == [2, 2, 2, 1]
    with pytest.raises(ZooError, match="SLURM_STEP_TASKS_PER_NODE=two"):
        slurm.expand_tasks_per_node("two")


def environment(**changes):
    return {
        "SLURM_STEP_NODELIST": "n[9-10]",
        "SLURM_STEP_TASKS_PER_NODE": "2,1",
        "SLURM_STEP_NUM_TASKS": "3",
        "SLURM_PROCID": "2",
        "SLURM_JOB_ID": "1234",
        **changes,
    }


def test_cluster():
    config = json.loads(slurm.cluster_from_slurm(environment()))
    workers = config["cluster"]["worker"]
    assert [worker.split(":")[0] for worker in workers] == ["n9", "n9", "n10"]
    assert len(set(workers)) == 3
    assert config["task"] == {"type": "worker", "index": 2}
    other = json.loads(slurm.cluster_from_slurm(environment(SLURM_JOB_ID="1235")))
    assert not set(workers) & set(other["cluster"]["worker"])


def test_contradictions_are_told():
    with pytest.raises(ZooError, match="do not agree"):
        slurm.cluster_from_slurm(environment(SLURM_STEP_NUM_TASKS="4"))
    missing = environment()
    del missing["SLURM_PROCID"]
    with pytest.raises(ZooError, match="SLURM_PROCID is not set"):
        slurm.cluster_from_slurm(missing)


def test_a_batch_script_alone_is_not_a_step():
    assert not slurm.in_slurm_step({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"})
    assert slurm.in_slurm_step(environment())


@pytest.mark.parametrize("name", ["SLURM_STEP_NUM_TASKS", "SLURM_ARRAY_TASK_ID", "SLURM_NTASKS"])
def test_what_is_no_number_is_named(name):
    with pytest.raises(ZooError, match=f"environment variable {name} is 'two', expected a whole number"):
        slurm.share_of_work({"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "2", name: "two"})
    with pytest.raises(ZooError, match="SLURM_STEP_NUM_TASKS is 'two'"):
        slurm.in_slurm_step({"SLURM_STEP_NUM_TASKS": "two"})
