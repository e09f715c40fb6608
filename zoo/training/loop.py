"""The training loop: steps, metrics, previews, checkpoints, and a clean end on a signal."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.errors import ZooError
from zoo.runs import checkpoint
from zoo.runs.metrics_file import MetricsFile
from zoo.runs.run_folder import RunFolder
from zoo.training import previews
from zoo.training.devices import Devices
from zoo.training.reporting import Progress
from zoo.training.signals import StopRequest
from zoo.training.tensorboard_log import TensorBoardLog

VALIDATION = "validation_loss"  # a step that was validated is always logged


@dataclass(frozen=True)
class Plan:
    """How long a run is and how often it writes; all in steps (``keep`` in checkpoints)."""

    steps: int
    log_every: int = 10
    sample_every: int = 500
    checkpoint_every: int = 500
    keep: int = 3

    def is_due(self, every: int, step: int) -> bool:
        """Whether something done every so many steps (0: never) is due at ``step``, or it is the last."""
        return every > 0 and (step % every == 0 or step == self.steps)


class Loop:
    """Runs an engine from its ``step_index`` to ``plan.steps``, writing into ``run``.

    ``preview(last)`` makes the arrays and figures of a sample (see ``previews``). Of several workers
    all call ``run_steps``; only the chief writes.
    """

    def __init__(
        self,
        engine,
        run: RunFolder,
        plan: Plan,
        devices: Devices,
        preview: Callable[[bool], Mapping[str, Any]] | None = None,
        voxel_size_angstrom: float = 1.0,
    ):
        self.engine = engine
        self.run = run
        self.plan = plan
        self.devices = devices
        self.preview = preview
        self.voxel_size_angstrom = voxel_size_angstrom
        self._saved_step = -1

    def run_steps(self, batches: Iterator[Any], progress: Progress) -> int:
        """Train; returns 0, or the number of the signal that ended the run early (state is saved)."""
        start = self.engine.step_index
        metrics, board = self._open_logs(start)
        try:
            with StopRequest() as stop, progress:
                for step in range(start + 1, self.plan.steps + 1):
                    logs = self.engine.step(next(batches))
                    progress.advance(step)
                    for notice in self.engine.notices():
                        progress.say(notice)
                    if VALIDATION in logs or self._wants_log(step, start):
                        self._log(step, logs, metrics, board, progress)
                    signal_number = self.devices.agree(stop.signal_number)
                    ends = signal_number or self.engine.is_finished
                    if ends or self.plan.is_due(self.plan.checkpoint_every, step):
                        self._save(step, logs)
                    if signal_number:
                        return signal_number
                    if self.engine.is_finished:
                        return 0
                self._save(self.plan.steps, None)
                # One that came while the last state was saved.
                return self.devices.agree(stop.signal_number)
        finally:
            if board is not None:
                board.close()

    def _open_logs(self, step: int) -> tuple[MetricsFile | None, TensorBoardLog | None]:
        if not self.devices.is_chief:
            return None, None
        return MetricsFile(self.run.metrics, step), TensorBoardLog(self.run.logs, step)

    def _wants_log(self, step: int, start: int) -> bool:
        return (
            step == start + 1
            or self.plan.is_due(self.plan.log_every, step)
            or self.plan.is_due(self.plan.sample_every, step)
        )

    def _log(self, step: int, logs, metrics, board, progress: Progress) -> None:
        values = numbers(logs)
        self._check_finite(step, values)
        progress.show(values)
        values["images_per_second"] = progress.rate
        if self.preview is not None and self.plan.is_due(self.plan.sample_every, step):
            # Every worker computes it (averaged variables are read together), the chief writes.
            began = time.perf_counter()
            preview = self.preview(step == self.plan.steps)
            values.update(previews.figures_of(preview))
            if board is not None:
                pictures = previews.write_preview(self.run.samples, step, preview, self.voxel_size_angstrom)
                for name, path in pictures.items():
                    board.image(step, name, path.read_bytes())
            progress.leave_out(time.perf_counter() - began)
        if metrics is not None:
            metrics.append(step, values)
            board.scalars(step, values)
            board.flush()

    def _save(self, step: int, logs) -> None:
        if self._saved_step == step:
            return
        if logs is not None:
            self._check_finite(step, numbers(logs))
        state = checkpoint.collect(self.engine, self.run.config_hash())
        broken = [name for name, array in state.arrays.items() if not np.isfinite(array).all()]
        self._check_finite(step, dict.fromkeys(broken, math.nan))
        if self.devices.is_chief:
            checkpoint.write(state, checkpoint.path_for(self.run.checkpoints, step))
            checkpoint.prune(self.run.checkpoints, self.plan.keep)
        self._saved_step = step

    def _check_finite(self, step: int, values: dict[str, float]) -> None:
        wrong = [name for name, value in values.items() if not math.isfinite(value)]
        if not wrong:
            return
        steps = checkpoint.steps_in(self.run.checkpoints)
        advice = f"the last good state is of step {steps[-1]}" if steps else "no state was saved before"
        raise ZooError(
            f"{self.run.path}: step {step}: {wrong[0]} is {values[wrong[0]]}, the training has diverged; "
            f"{advice}; try a smaller learning rate in a new run"
        )


def numbers(logs: Mapping[str, Any]) -> dict[str, float]:
    """The engine's logs as plain floats (this waits for the device)."""
    return {name: float(np.asarray(value)) for name, value in logs.items()}
