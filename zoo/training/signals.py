"""Signals that end a run: the step in hand is finished and saved before the process leaves."""

from __future__ import annotations

import signal
import threading

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
