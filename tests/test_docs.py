"""What the pages name is there: files, folders, links and tests."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")])
PLACE = re.compile(r"(?:tests|zoo|tools|benchmarks|docs|pretrained)/[A-Za-z0-9_./-]*[A-Za-z0-9_]")
LINK = re.compile(r"\]\(([^)#:\s]+)\)")


def missing(page: Path, text: str) -> list[str]:
    """Places in code quotes and links of a page that do not exist; NAME stands for a name of the reader's."""
    quoted = [place for words in re.findall(r"`([^`\n]+)`", text) for place in PLACE.findall(words)]
    places = [REPOSITORY / place for place in quoted if "NAME" not in place]
    links = [page.parent / link for link in LINK.findall(re.sub(r"```.*?```", "", text, flags=re.S))]
    return [str(place) for place in (*places, *links) if not place.exists()]


def test_what_is_not_there_is_found():
    text = "`tests/test_docs.py::test` and `zoo/nowhere.py`, [a](none.md), `zoo/models/NAME/`"
    assert [Path(place).name for place in missing(PAGES[0], text)] == ["nowhere.py", "none.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_names_what_is_there(page):
    assert not missing(page, page.read_text(encoding="utf-8"))
