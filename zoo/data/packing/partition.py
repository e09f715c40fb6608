"""Who writes which shard: the order of the particles, the cut into shards, the workers of a large run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from zoo.errors import ZooError
from zoo.slurm import share_of_work

_MIN_SHARDS = 16
_MIN_RECORDS = 64


def packing_order(count: int, seed: int) -> np.ndarray:
    """The one global shuffle of a data set: (count,) int64, the same on every machine and NumPy."""
    # Not Generator.permutation: NumPy promises the bit streams of its bit generators, not its methods.
    bits = np.random.Philox(key=seed % (1 << 64)).random_raw(count)
    return np.argsort(bits, kind="stable")


def shard_bounds(count: int, record_bytes: int, shard_bytes: int) -> np.ndarray:
    """Borders of the shards in the packing order, (shards + 1,) int64.

    Shards are of equal length (± 1) and at most ``shard_bytes`` long. A small set is still cut into
    up to 16 (of at least 64 records), so that several processes can write and read it. The cut does
    not depend on how many processes or machines write it.
    """
    by_size = -(-count * record_bytes // max(shard_bytes, record_bytes))
    shards = max(by_size, min(_MIN_SHARDS, count // _MIN_RECORDS), 1)
    return np.arange(shards + 1, dtype=np.int64) * count // shards


def shard_names(name: str, shards: int) -> list[str]:
    """``NAME-00003-of-00016.tfrecord`` for every shard."""
    return [f"{name}-{index:05d}-of-{shards:05d}.tfrecord" for index in range(shards)]


@dataclass(frozen=True)
class WorkerShare:
    """This process writes the shards ``index``, ``index + count``, ...; ``origin`` says who decided that."""

    index: int = 0
    count: int = 1
    origin: str = "default"

    def shards(self, total: int) -> range:
        """The shards of this worker, of ``total``."""
        return range(self.index, total, self.count)


def worker_share(
    num_workers: int | None, worker_index: int | None, environ: Mapping[str, str]
) -> WorkerShare:
    """The share of this process: from the options, else from SLURM's variables, else everything.

    Raises ZooError for an index outside the number of workers.
    """
    if num_workers is not None or worker_index is not None:
        if num_workers is None:
            raise ZooError("--worker-index needs --num-workers: how many workers share the work")
        if worker_index is None:
            if num_workers != 1:
                raise ZooError("--num-workers needs --worker-index: which of the workers this one is")
            worker_index = 0
        if num_workers < 1:
            raise ZooError(f"--num-workers {num_workers}: expected 1 or more")
        share = WorkerShare(worker_index, num_workers, "--worker-index")
    else:
        index, count, origin = share_of_work(environ)
        share = WorkerShare(index, count, origin or "default")
    if not 0 <= share.index < share.count:
        raise ZooError(
            f"worker index {share.index} of {share.count} workers (from {share.origin}), "
            f"expected 0 to {share.count - 1}"
        )
    return share
