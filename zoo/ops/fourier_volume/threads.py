"""Work on ranges of items in threads, so that the result does not depend on how many there are."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from threadpoolctl import threadpool_limits


def in_ranges(function: Callable[[int, int], None], count: int, size: int) -> None:
    """Call ``function(start, stop)`` for all ranges of at most ``size`` items of ``count``, in threads.

    The function must release the interpreter's lock (NumPy, compiled kernels) and write only its own items.
    Each range is the same piece of work on any number of threads, and BLAS uses one thread inside it, so the
    bits are the same too.
    """
    ranges = [(start, min(start + size, count)) for start in range(0, count, size)]
    with threadpool_limits(1, "blas"):
        if len(ranges) < 2:
            for start, stop in ranges:
                function(start, stop)
            return
        with ThreadPoolExecutor(min(cores(), len(ranges))) as pool:
            for done in [pool.submit(function, *piece) for piece in ranges]:
                done.result()


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
