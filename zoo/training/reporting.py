"""What a person sees while a run trains: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time

_SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Shows step, rate (images/s), time left and the loss terms; a context manager.

    On a terminal it draws a bar that stays at the bottom; elsewhere it prints a line at most
    every five seconds, and the last one always.
    """

    def __init__(self, total: int, start: int, batch_size: int, stream=None, quiet: bool = False):
        self.total = total
        self.start = start
        self.batch_size = batch_size
        self.stream = stream or sys.stdout
        self.quiet = quiet
        self._bar = None
        self._task = None
        self._step = start
        self._began = self._last_line = 0.0
        self._first_done = 0.0
        self._losses = ""

    def __enter__(self) -> Progress:
        self._began = time.perf_counter()
        if not self.quiet and self.stream.isatty():
            self._bar = _rich_bar(self.stream)
            self._bar.start()
            self._task = self._bar.add_task(
                "train", total=self.total, completed=self.start, rate="", losses=""
            )
        return self

    def __exit__(self, *_) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def rate(self) -> float:
        """Images per second since the first step, which compiles and would spoil the mean."""
        done = self._step - self.start
        if done <= 1 or not self._first_done:
            elapsed, images = time.perf_counter() - self._began, done * self.batch_size
        else:
            elapsed, images = time.perf_counter() - self._first_done, (done - 1) * self.batch_size
        return images / elapsed if elapsed > 0 else 0.0

    def advance(self, step: int) -> None:
        """Tell that ``step`` steps of the run are done."""
        self._step = step
        if not self._first_done:
            self._first_done = time.perf_counter()
        if self._bar is not None:
            self._bar.update(
                self._task, completed=step, rate=f"{self.rate:.1f} images/s", losses=self._losses
            )

    def leave_out(self, seconds: float) -> None:
        """Do not count time that was spent on something else than steps."""
        self._began += seconds
        self._first_done += seconds

    def show(self, values: dict[str, float]) -> None:
        """Show the loss terms of the step that was told last."""
        self._losses = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        if self._bar is not None:
            self._bar.update(self._task, losses=self._losses)
            return
        now = time.perf_counter()
        last = self._step >= self.total
        if not self.quiet and (last or now - self._last_line >= _SECONDS_BETWEEN_LINES):
            self._last_line = now
            left = duration((self.total - self._step) * self.batch_size / self.rate) if self.rate else "?"
            self.say(f"step {self._step}/{self.total}  {self.rate:.1f} images/s  {left} left  {self._losses}")

    def say(self, text: str) -> None:
        """Print a line, above the bar where there is one."""
        if self.quiet:
            return
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=self.stream, flush=True)


def duration(seconds: float) -> str:
    """90 → ``1:30``, 4000 → ``1:06:40``."""
    minutes, second = divmod(int(round(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def _rich_bar(stream):
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    return RichProgress(
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}", markup=False),
        console=Console(file=stream),
    )
