import numpy as np
import pytest

from zoo.data.packing.partition import packing_order, shard_bounds, shard_names, worker_share
from zoo.errors import ZooError


def test_order_is_a_permutation_that_depends_on_the_seed():
    order = packing_order(1000, 5)
    np.testing.assert_array_equal(np.sort(order), np.arange(1000))
    np.testing.assert_array_equal(order, packing_order(1000, 5))
    assert (order != packing_order(1000, 6)).mean() > 0.95
    assert abs(np.corrcoef(order, np.arange(1000))[0, 1]) < 0.1


def test_order_stays_the_same_across_versions():
    # A change would make a set that was begun by an earlier version unfinishable.
    assert packing_order(8, 0).tolist() == [0, 2, 1, 5, 4, 3, 6, 7]


@pytest.mark.parametrize(
    "count, record, size, shards",
    [(7, 8500, 128_000_000, 1), (640, 8500, 128_000_000, 10), (10_000, 8500, 128_000_000, 16),
     (1_000_000, 8500, 128_000_000, 67), (5, 100, 10, 5)],
)  # fmt: skip
def test_shards_are_even_and_not_too_large(count, record, size, shards):
    bounds = shard_bounds(count, record, size)
    lengths = np.diff(bounds)
    assert len(lengths) == shards and bounds[0] == 0 and bounds[-1] == count
    assert lengths.max() - lengths.min() <= 1
    assert lengths.max() * record <= max(size, record) * 1.001 + record


def test_names():
    assert shard_names("ribo", 16)[3] == "ribo-00003-of-00016.tfrecord"


def share(environ, num=None, index=None):
    result = worker_share(num, index, environ)
    return result.index, result.count


ARRAY = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "1",
         "SLURM_ARRAY_TASK_STEP": "2"}  # fmt: skip


@pytest.mark.parametrize(
    "environ, expected",
    [
        ({}, (0, 1)),
        (ARRAY, (3, 4)),
        ({"SLURM_PROCID": "2", "SLURM_NTASKS": "5"}, (2, 5)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "5", "SLURM_STEP_NUM_TASKS": "1"}, (0, 1)),
        ({**ARRAY, "SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, (7, 8)),
    ],
)
def test_share_from_slurm(environ, expected):
    assert share(environ) == expected


def test_options_win_over_slurm():
    assert share(ARRAY, 3, 1) == (1, 3)
    assert share(ARRAY, 1) == (0, 1)


def test_shares_cover_all_shards_once():
    parts = [list(worker_share(3, index, {}).shards(16)) for index in range(3)]
    assert sorted(sum(parts, [])) == list(range(16))


@pytest.mark.parametrize("num, index", [(3, 3), (3, -1), (None, 1), (2, None), (0, 0)])
def test_impossible_shares_are_refused(num, index):
    with pytest.raises(ZooError, match="worker"):
        worker_share(num, index, {})


def test_slurm_variable_that_is_no_number():
    with pytest.raises(ZooError, match="SLURM_ARRAY_TASK_ID is 'x'"):
        worker_share(None, None, {"SLURM_ARRAY_TASK_ID": "x"})
