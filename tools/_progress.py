"""Progress bars of the tools, on stderr, and a clean end on SIGTERM."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def image_progress(what: str, unit: str = "images") -> Iterator[Callable[[int, int], None]]:
    """A bar with images, images per second and time left; gives the function to call with (done, total).

    ``unit`` says what is counted where it is not images.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{unit} · {{task.fields[rate]}} {unit}/s ·"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    console = Console(file=sys.stderr)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=None, rate="–")

        def show(done: int, total: int) -> None:
            speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
            bar.update(task, completed=done, total=total, rate=_rate(speed))

        yield show


def _rate(speed: float | None) -> str:
    if not speed:
        return "–"
    return f"{speed:,.0f}" if speed >= 10 else f"{speed:.2g}"


def exit_on_sigterm() -> None:
    """End with exit code 143 on SIGTERM, through all clean-up code."""

    def stop(number, frame):
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, stop)
