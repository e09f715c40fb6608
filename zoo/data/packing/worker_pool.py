"""A pool of worker processes that never outlives its parent, counts its progress and stops at once."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from zoo.errors import ZooError

_POLL_SECONDS = 0.2

_counter: Any = None  # in a worker: the shared number of items done


def count_done(number: int) -> None:
    """Called in a worker (or in the only process): ``number`` more items are done."""
    if _counter is not None:
        with _counter.get_lock():
            _counter.value += number


def run_tasks(
    function: Callable,
    tasks: Iterable,
    processes: int,
    progress: Callable[[int], None],
    on_stop: Callable[[set[int]], None] = lambda pids: None,
) -> Generator:
    """Results of ``function(task)`` in any order; ``progress`` gets the number of items done so far.

    With one process everything runs here. Tasks are taken from the iterable only as workers are
    free, so it may make them lazily. On any error or interrupt the workers are stopped first, then
    ``on_stop`` is called with their process ids. ``function`` must be importable (spawned workers).
    Raises what a task raised, and ZooError if a worker was killed.
    """
    if processes <= 1:
        yield from _run_here(function, tasks, progress)
        return
    # Spawned, not forked: the parent may hold threads (TensorFlow, progress bar) that a fork would break.
    context = multiprocessing.get_context("spawn")
    counter = context.Value("q", 0)
    others = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(processes, context, _start_worker, (counter,))
    workers: set = set()
    waiting = iter(tasks)
    running: set = set()
    try:
        while True:
            while len(running) < processes + 1 and (task := next(waiting, None)) is not None:
                with _interrupts_held():
                    running.add(executor.submit(function, task))
            if not running:
                break
            workers |= set(multiprocessing.active_children()) - others
            done, running = wait(running, _POLL_SECONDS, FIRST_COMPLETED)
            progress(counter.value)
            for future in done:
                yield future.result()
        executor.shutdown()
    except BaseException as error:
        workers |= set(multiprocessing.active_children()) - others
        for worker in workers:
            worker.kill()
        executor.shutdown(wait=True, cancel_futures=True)
        on_stop({worker.pid for worker in workers})
        if isinstance(error, BrokenProcessPool):
            raise ZooError(
                "a worker process was killed (out of memory?); run the command again with fewer --processes: "
                "what is complete is kept"
            ) from error
        raise


def available_cpus() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back while workers start: they inherit the mask, so it never reaches their start-up."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run_here(function: Callable, tasks: Iterable, progress: Callable[[int], None]) -> Iterator:
    global _counter
    previous, _counter = _counter, _LocalCounter(progress)
    try:
        for task in tasks:
            yield function(task)
    finally:
        _counter = previous


class _LocalCounter:
    """Stands in for the shared counter in the only process: reports each change at once."""

    def __init__(self, progress: Callable[[int], None]):
        self._progress = progress
        self._value = 0

    def get_lock(self):
        return threading.RLock()

    @property
    def value(self) -> int:
        return self._value

    @value.setter
    def value(self, number: int) -> None:
        self._value = number
        self._progress(number)


def _start_worker(counter) -> None:
    global _counter
    _counter = counter
    # Ctrl-C reaches every process of the terminal; the parent decides and stops the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """End this worker when its parent has been killed: nobody else would."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
