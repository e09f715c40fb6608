"""``metrics.csv``: one row per logged step, safe to cut back and append to on resume."""

from __future__ import annotations

import csv
import os
from pathlib import Path


class MetricsFile:
    """Appends rows of numbers by name; opened at ``step`` it drops all rows after that step.

    A row with a name that the header lacks widens the table (older rows stay empty there).
    """

    def __init__(self, path: str | Path, step: int = 0):
        self.path = Path(path)
        self.columns: list[str] = ["step"]
        if self.path.is_file():
            rows = self._read()
            kept = [row for row in rows if _step_of(row) is not None and _step_of(row) <= step]
            self._rewrite(kept)

    def append(self, step: int, values: dict[str, float]) -> None:
        """Add the row of one step and flush it to the file."""
        new = [name for name in values if name not in self.columns]
        if new or not self.path.is_file():
            rows = self._read() if self.path.is_file() else []
            self.columns.extend(new)
            self._rewrite(rows)
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns, restval="")
            writer.writerow({"step": step, **{name: f"{value:.8g}" for name, value in values.items()}})

    def _read(self) -> list[dict[str, str]]:
        with open(self.path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            if reader.fieldnames:
                self.columns = list(reader.fieldnames)
        # A killed writer may leave half a row: it has fewer fields than the header.
        return [row for row in rows if None not in row.values() and None not in row]

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns, restval="")
            writer.writeheader()
            writer.writerows(rows)
        os.replace(temporary, self.path)


def _step_of(row: dict[str, str]) -> int | None:
    try:
        return int(row["step"])
    except (KeyError, ValueError):
        return None
