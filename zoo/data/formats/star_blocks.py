"""STAR files as text: blocks in, blocks out, with every value as it is written in the file."""

from __future__ import annotations

import os
import re
import shlex

import pandas as pd
import starfile

from zoo.errors import ZooError
from zoo.files import whole_path
from zoo.input_files import existing_file

_ROOT_COMMENT = "# zoo: image names are relative to "
_VERSION_COMMENT = re.compile(r"#\s*version\s+\d+")


def read_star_blocks(path: str | os.PathLike) -> tuple[dict[str, pd.DataFrame | dict], dict[str, str]]:
    """All blocks of a STAR file with every value as the text in the file, and what its comments say.

    Loops become data frames of text, simple blocks dicts. The second dict may hold ``version`` and
    ``image_root``. Raises ZooError for what is not a readable STAR file.
    """
    path = existing_file(path)
    columns, comments = _scan(path)
    try:
        blocks = starfile.read(path, always_dict=True, parse_as_string=columns)
    except TypeError as error:
        raise ZooError(f"{path}: a data_ block has neither loop_ nor values; is it cut short?") from error
    except Exception as error:  # starfile and pandas raise many kinds on damaged text
        raise ZooError(f"{path}: damaged STAR file: {error}; copy or write the file again") from error
    for name, block in blocks.items():
        if isinstance(block, pd.DataFrame) and len(block) and len(block.columns):
            _check_last_column(path, name, block)
    return {name: block for name, block in blocks.items() if block is not None}, comments


def write_star_blocks(
    path: str | os.PathLike, blocks: dict[str, pd.DataFrame | dict], comments: dict[str, str] | None = None
) -> None:
    """Write blocks as RELION reads them, atomically; ``comments`` may hold version and image_root."""
    comments = comments or {}
    head = [_ROOT_COMMENT + comments["image_root"]] if comments.get("image_root") else []
    version = [comments["version"]] if comments.get("version") else []
    parts = []
    for name, block in blocks.items():
        text = starfile.to_string({name: block}, na_rep="nan")
        parts.append("\n".join([*version, "", text[text.index("data_") :].rstrip(), ""]))
    with whole_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write("\n".join([*head, "", *parts]).lstrip("\n"))


def _scan(path: str) -> tuple[list[str], dict[str, str]]:
    """Column names and telling comments, from one pass over the text."""
    columns, comments, blocks = set(), {}, 0
    with open(path, "rb") as file:
        for number, raw in enumerate(file):
            if number < 1000 and b"\0" in raw:
                raise ZooError(f"{path}: holds binary data, expected a STAR file (text with data_ blocks)")
            if raw[:1] not in b"_#d" and raw[:1].strip():
                continue  # a row of values
            line = raw.decode("utf-8", errors="replace").strip()
            if line.startswith("_"):
                columns.add(line.split()[0][1:])
            elif line.startswith("data_"):
                blocks += 1
            elif line.startswith(_ROOT_COMMENT):
                comments["image_root"] = line[len(_ROOT_COMMENT) :]
            elif _VERSION_COMMENT.match(line):
                comments.setdefault("version", line)
    if not os.path.getsize(path):
        raise ZooError(f"{path}: empty file, expected a STAR file with a block of particles")
    if not blocks:
        raise ZooError(f"{path}: no line starts with data_, so this is not a STAR file")
    return sorted(columns), comments


def _check_last_column(path: str, name: str, block: pd.DataFrame) -> None:
    """Raise ZooError for a row with too few values, which reads as empty text or NaN at its end."""
    last = block.iloc[:, -1]
    if not (last.isna() | (last == "")).any():
        return
    row = -1
    with open(path, encoding="utf-8", errors="replace") as file:
        inside = in_rows = False
        for line in file:
            line = line.strip()
            if line.startswith("data_"):
                inside, in_rows = line[5:] == name, False
            elif inside and line.startswith("_"):
                in_rows = True
            elif inside and in_rows and line and not line.startswith("#"):
                row += 1
                values = _count_values(line)
                if values < len(block.columns):
                    raise ZooError(
                        f"{path}: row {row + 1} of data_{name} has {values} values, expected "
                        f"{len(block.columns)}; the file may be cut short"
                    )


def _count_values(line: str) -> int:
    try:
        return len(shlex.split(line, comments=True))
    except ValueError:  # an apostrophe inside a name
        return len(line.split())
