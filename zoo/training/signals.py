"""Signals that end a run: the step in hand is finished and saved before the process leaves."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

EXIT_CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}


class StopRequest:
    """Context that turns SIGTERM and SIGINT into ``signal_number``; a second one ends at once."""

    def __init__(self):
        self.signal_number = 0
        self._previous = {}

    def __enter__(self) -> StopRequest:
        # Python delivers signals to the main thread only, and lets only it install handlers.
        if threading.current_thread() is threading.main_thread():
            for number in EXIT_CODES:
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_) -> None:
        self._restore()

    def _on_signal(self, number, _frame) -> None:
        self.signal_number = int(number)
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}


class Stopped(BaseException):
    """A signal asked a run to end; no ``except Exception`` of a library may take it for its own failure."""

    def __init__(self, signal_number: int):
        super().__init__(f"signal {signal_number}")
        self.signal_number = signal_number


@contextlib.contextmanager
def stop_at_once() -> Iterator[None]:
    """Context in which SIGTERM and SIGINT raise `Stopped`, so that half-written files are cleared.

    For work that a later command does again from the start. A second signal ends the process at once.
    """
    previous = {}

    def restore():
        for number, handler in previous.items():
            signal.signal(number, handler)
        previous.clear()

    def on_signal(number, _frame):
        restore()
        raise Stopped(int(number))

    if threading.current_thread() is threading.main_thread():
        for number in EXIT_CODES:
            previous[number] = signal.signal(number, on_signal)
    try:
        yield
    finally:
        restore()
