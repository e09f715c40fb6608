"""``metrics.csv``: one row per logged step, safe to cut back and append to on resume."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from zoo.errors import ZooError
from zoo.files import describe_write_error, whole_file
from zoo.input_files import existing_file

_STEP = re.compile(r"[0-9]{1,18}")


class MetricsFile:
    """Appends rows of numbers by name; opened at ``step`` it drops all rows after that step.

    A row with a name that the header lacks widens the table (older rows stay empty there). Raises ZooError
    where the file is not such a table, before anything in it changes, and where it cannot be written.
    """

    def __init__(self, path: str | Path, step: int = 0):
        self.path = Path(path)
        self.columns, rows = read_metrics(self.path)
        if self.path.exists():
            self._rewrite([row for row in rows if int(row["step"]) <= step])

    def append(self, step: int, values: dict[str, float]) -> None:
        """Add the row of one step and flush it to the file."""
        new = [name for name in values if name not in self.columns]
        if new or not self.path.is_file():
            rows = read_metrics(self.path)[1]
            self.columns.extend(new)
            self._rewrite(rows)
        try:
            with open(self.path, "a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self.columns, restval="")
                writer.writerow({"step": step, **{name: f"{value:.8g}" for name, value in values.items()}})
        except OSError as error:
            raise ZooError(describe_write_error(self.path, error, self._then)) from error

    @property
    def _then(self) -> str:
        return f"continue with: zoo-train --resume {self.path.parent}"

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        with whole_file(self.path, "w", newline="", then=self._then) as file:
            writer = csv.DictWriter(file, self.columns, restval="")
            writer.writeheader()
            writer.writerows(rows)


def read_metrics(path: str | Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of a ``metrics.csv``; of one that is not there: ``["step"]`` and no row.

    The last row may be half a row, of a writer that was killed: it is left out. Raises ZooError for any
    other row that is none, and for a file that is no such table.
    """
    path = Path(path)
    if not path.exists():
        return ["step"], []
    advice = "move the file away and continue without its rows, or put back a copy of it"
    rows = []
    try:
        with open(existing_file(path), newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or ["step"])
            if columns[0] != "step" or len(set(columns)) != len(columns):
                raise ZooError(f"{path}: its first line does not begin with the column step; {advice}")
            torn = None
            for row in reader:
                if torn is not None:
                    raise ZooError(f"{path}: line {torn} is no row of {len(columns)} columns; {advice}")
                whole = None not in row and None not in row.values() and _STEP.fullmatch(row["step"])
                if whole:
                    rows.append(row)
                else:
                    torn = reader.line_num
    except (UnicodeDecodeError, csv.Error) as error:
        raise ZooError(f"{path}: is not a table of text ({error}); {advice}") from None
    return columns, rows
