"""TensorBoard files of a run, written without TensorFlow so that both backends have them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from zoo.errors import ZooError


class TensorBoardLog:
    """Scalars and PNG images by step under ``folder``.

    Opened at ``step`` it tells TensorBoard to forget what an interrupted run logged after it.
    """

    def __init__(self, folder: str | Path, step: int = 0):
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self.folder = Path(folder)
        with self._said():
            self._writer = EventFileWriter(str(folder))
        if step:
            # TensorBoard drops events at and after the step of a START, so it names the next one.
            self._write(step + 1, session_log=SessionLog(status=SessionLog.START))

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Log named numbers."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        summary = Summary(
            value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        )
        self._write(step, summary=summary)

    def image(self, step: int, name: str, png: bytes) -> None:
        """Log an image that is encoded as PNG."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        image = Summary.Image(encoded_image_string=png)
        self._write(step, summary=Summary(value=[Summary.Value(tag=name, image=image)]))

    def flush(self) -> None:
        """Make what was logged visible to TensorBoard."""
        with self._said():
            self._writer.flush()

    def close(self) -> None:
        """Flush and end the file."""
        with self._said():
            self._writer.close()

    def _write(self, step: int, **content) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        with self._said():
            self._writer.add_event(Event(wall_time=time.time(), step=step, **content))

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        """TensorBoard writes by itself, or with TensorFlow where that is installed: each has its errors."""
        try:
            yield
        except Exception as error:
            first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ZooError(
                f"{self.folder}: the TensorBoard log cannot be written ({first_line}); free space or mend "
                f"the folder and continue with: zoo-train --resume {self.folder.parent}"
            ) from error
