"""The count of type errors: what rises is told, what is not recorded may have none."""

import importlib.util

import pytest


@pytest.fixture(scope="module")
def type_errors(repository):
    spec = importlib.util.spec_from_file_location("type_errors", repository / ".ci" / "type_errors.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LINES = [
    'zoo/data/formats/star.py:12: error: Need type annotation for "x"  [var-annotated]',
    "zoo/data/formats/star.py:12: note: a hint",
    "zoo/models/base.py:3: error: Name is not defined  [name-defined]",
    "zoo/models/faml/model.py:3: error: Name is not defined  [name-defined]",
    "zoo/registry.py:3: error: Name is not defined  [name-defined]",
    "Found 4 errors in 4 files (checked 9 source files)",
]


def test_errors_are_counted_by_part(type_errors):
    found = type_errors.counted(LINES)
    assert {part: len(lines) for part, lines in found.items()} == {
        "zoo/data": 1, "zoo/models/base.py": 1, "zoo/models": 1, "zoo/registry.py": 1,
    }  # fmt: skip


def test_more_than_recorded_and_the_unrecorded_are_told(type_errors):
    found = type_errors.counted(LINES)
    allowed = type_errors.recorded(type_errors.HEAD + "zoo/data 0\nzoo/models 1\nzoo/registry.py 2\n")
    told = type_errors.risen(found, allowed)
    assert told == [
        LINES[0], "zoo/data: 1 type errors, at most 0 allowed",
        LINES[2], "zoo/models/base.py: 1 type errors, at most 0 allowed",
    ]  # fmt: skip


def test_parts_that_have_none_are_not_recorded(type_errors):
    allowed = type_errors.recorded(type_errors.RECORD.read_text(encoding="utf-8"))
    for part in ("zoo/data", "zoo/runs", "zoo/registry.py", "zoo/models/base.py"):
        assert allowed.get(part, 0) == 0, part
