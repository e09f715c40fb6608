"""STAR files as text: blocks in, blocks out, with every value as it is written in the file.

Read line by line as RELION does: a row is a line, a value ends at a space unless it begins with a quote
(which ends at the same quote before a space), and ``#`` begins a comment only where a value would begin.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from zoo.errors import ZooError
from zoo.files import whole_path
from zoo.input_files import existing_file

_ROOT_COMMENT = "# zoo: image names are relative to "
_ROOT = re.compile(rf"^{re.escape(_ROOT_COMMENT)}(.*?)\r?$", re.MULTILINE)
_VERSION = re.compile(r"^#[ \t]*version[ \t]+\d+.*?(?=\r?$)", re.MULTILINE)
_BLOCK = re.compile(r"^[ \t]*data_([^ \t\r\n]*)[ \t]*(?:#.*?)?\r?$", re.MULTILINE)
_LINE_END = re.compile(r"\r?\n|$")
_VALUE = re.compile(
    r"""[ \t]*(?:(?P<comment>\#.*)
    |"(?P<double>(?:[^"]|"(?=[^ \t]))*)"(?=[ \t]|$)
    |'(?P<single>(?:[^']|'(?=[^ \t]))*)'(?=[ \t]|$)
    |(?P<bare>[^ \t]+))""",
    re.VERBOSE,
)


def read_star_blocks(path: str | os.PathLike) -> tuple[dict[str, pd.DataFrame | dict], dict[str, str]]:
    """All blocks of a STAR file with every value as the text in the file, and what its comments say.

    Loops become data frames of text, simple blocks dicts. The second dict may hold ``version`` and
    ``image_root``. Raises ZooError naming the row for what is not a readable STAR file, two blocks of one
    name and a column named twice.
    """
    path = existing_file(path)
    text = _read_text(path)
    comments = {}
    if root := _ROOT.search(text):
        comments["image_root"] = root[1]
    if version := _VERSION.search(text):
        comments["version"] = version[0]
    heads = list(_BLOCK.finditer(text))
    if not heads:
        raise ZooError(f"{path}: no line starts with data_, so this is not a STAR file")
    blocks: dict[str, pd.DataFrame | dict] = {}
    for head, following in zip(heads, [*heads[1:], None], strict=True):
        name = head[1]
        if name in blocks:
            line = text.count("\n", 0, head.start()) + 1
            raise ZooError(
                f"{path}: line {line}: a second block data_{name}; which of the two is meant cannot be "
                "known: remove or rename one"
            )
        body = text[head.end() : following.start() if following else len(text)]
        blocks[name] = _parse_block(path, name, body)
    return blocks, comments


def write_star_blocks(
    path: str | os.PathLike, blocks: dict[str, pd.DataFrame | dict], comments: dict[str, str] | None = None
) -> None:
    """Write blocks as RELION reads them, atomically; ``comments`` may hold version and image_root.

    Raises ZooError for a value that no STAR file can hold (a line break).
    """
    comments = comments or {}
    head = [_ROOT_COMMENT + comments["image_root"]] if comments.get("image_root") else []
    version = [comments["version"]] if comments.get("version") else []
    parts = []
    for name, block in blocks.items():
        lines = _loop_lines(path, block) if isinstance(block, pd.DataFrame) else _pair_lines(path, block)
        parts.append("\n".join([*version, "", f"data_{name}", "", *lines, ""]))
    with whole_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        file.write("\n".join([*head, "", *parts]).lstrip("\n"))


def _read_text(path: str) -> str:
    with open(path, "rb") as file:
        raw = file.read()
    if not raw:
        raise ZooError(f"{path}: empty file, expected a STAR file with a block of particles")
    if b"\0" in raw:
        raise ZooError(f"{path}: holds binary data, expected a STAR file (text with data_ blocks)")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ZooError(
            f"{path}: damaged STAR file: line {line} holds byte {raw[error.start]:#x}, which is no UTF-8 "
            "text; copy or write the file again"
        ) from error


def _parse_block(path: str, name: str, body: str) -> pd.DataFrame | dict:
    """The loop or the pairs of a block; ``body`` is all text after its name."""
    columns: list[str] = []
    pairs: dict[str, str] = {}
    position, loop = 0, False
    for start, end, line in _lines(body):
        values = split_values(line)
        if not values:
            position = end
            continue
        if values[0] == "loop_" and not columns and not pairs:
            loop = True
        elif loop and line.lstrip(" \t").startswith("_"):
            columns.append(values[0][1:])
        elif line.lstrip(" \t").startswith("_"):
            _add_pair(path, name, pairs, values)
        elif loop and columns:
            position = start
            break
        else:
            raise ZooError(
                f"{path}: data_{name}: found {line.strip()[:40]!r}, expected loop_ or a name that begins "
                "with _"
            )
        position = end
    if not loop:
        if not pairs:
            raise ZooError(f"{path}: data_{name} has neither loop_ nor values; is it cut short?")
        return pairs
    if not columns:
        raise ZooError(f"{path}: the loop of data_{name} names no columns; is it cut short?")
    twice = sorted({column for column in columns if columns.count(column) > 1}, key=columns.index)
    if twice:
        places = [str(number) for number, column in enumerate(columns, 1) if column == twice[0]]
        raise ZooError(
            f"{path}: data_{name} names {twice[0]} twice (columns {' and '.join(places)}); which is meant "
            "cannot be known: remove one"
        )
    return _parse_rows(path, name, columns, body[position:])


def _add_pair(path: str, name: str, pairs: dict[str, str], values: list[str]) -> None:
    key = values[0][1:]
    if len(values) != 2:
        raise ZooError(f"{path}: data_{name}: {key} has {len(values) - 1} values, expected one")
    if key in pairs:
        raise ZooError(f"{path}: data_{name} names {key} twice; remove one")
    pairs[key] = values[1]


def _parse_rows(path: str, name: str, columns: list[str], body: str) -> pd.DataFrame:
    rows: list[list[str]] = []
    for line in body.split("\n"):
        values = split_values(line.removesuffix("\r"))
        if not values:
            continue
        rows.append(values)
        if len(values) != len(columns):
            short = len(values) < len(columns)
            hint = "the file may be cut short" if short else "a value with spaces needs quotes"
            raise ZooError(
                f"{path}: row {len(rows)} of data_{name} has {len(values)} values, expected {len(columns)}; "
                f"{hint}"
            )
    by_column: Iterable = zip(*rows, strict=True) if rows else ([] for _ in columns)
    return pd.DataFrame(dict(zip(columns, by_column, strict=True)), dtype=object)


def _lines(body: str) -> Iterator[tuple[int, int, str]]:
    """Start, end (after the line break) and text of every line."""
    position = 0
    while position < len(body):
        found = _LINE_END.search(body, position)
        start, end = found.span() if found else (len(body), len(body))
        yield position, end, body[position:start]
        position = end


def split_values(line: str) -> list[str]:
    """The values of a line, without quotes and without a comment."""
    if not any(mark in line for mark in "\"'#"):
        if line.isascii():
            return line.split()
        return [value for value in line.replace("\t", " ").split(" ") if value]
    values = []
    for found in _VALUE.finditer(line):
        if found["comment"] is not None:
            break
        values.append(found[found.lastgroup or 0])
    return values


def _loop_lines(path: str | os.PathLike, block: pd.DataFrame) -> list[str]:
    names = [f"_{column} #{number}" for number, column in enumerate(block.columns, 1)]
    columns = [[_quoted(path, value) for value in block.iloc[:, i].tolist()] for i in range(block.shape[1])]
    return ["loop_", *names, *("\t".join(row) for row in zip(*columns, strict=True))]


def _pair_lines(path: str | os.PathLike, block: dict) -> list[str]:
    width = max((len(str(key)) for key in block), default=0) + 1
    return [f"{'_' + str(key):{width}} {_quoted(path, value)}" for key, value in block.items()]


def _quoted(path: str | os.PathLike, value) -> str:
    """The text of a value, in quotes where it would be read as something else without."""
    missing = value is None or (isinstance(value, (float, np.floating)) and value != value)
    text = "nan" if missing else str(value)
    if "\n" in text or "\r" in text:
        raise ZooError(f"{path}: a value holds a line break ({text[:40]!r}), which a STAR file cannot")
    plain = text and text[0] not in "\"'#_" and " " not in text and "\t" not in text
    if plain and text != "loop_" and not text.startswith("data_"):
        return text
    for quote in "\"'":
        if re.search(f"{quote}[ \t]", text) is None:
            return f"{quote}{text}{quote}"
    raise ZooError(f"{path}: {text[:40]!r} holds both kinds of quotes before spaces; a STAR file cannot")
