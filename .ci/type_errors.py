"""Compares mypy's errors in each part of zoo with the recorded numbers, which may only fall.

``python .ci/type_errors.py`` prints what rose and leaves with 1; ``--write`` records lower
numbers. A part that is not recorded may have none.
"""

import collections
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RECORD = HERE / "type-errors.txt"
HEAD = "# mypy errors in each part of zoo: they only fall (python .ci/type_errors.py --write)\n"
ERROR = re.compile(r"^(zoo/[^:]+):\d+: error: ")
SINGLE_FILES = {"zoo/models/base.py"}  # counted by themselves, as the files beside the folders are


def part_of(path: str) -> str:
    """``zoo/data`` for zoo/data/formats/star.py, ``zoo/registry.py`` for itself."""
    return path if path in SINGLE_FILES else "/".join(path.split("/")[:2])


def counted(lines: list[str]) -> dict[str, list[str]]:
    """The lines of mypy that are errors, by part."""
    found = collections.defaultdict(list)
    for line in lines:
        match = ERROR.match(line)
        if match:
            found[part_of(match[1])].append(line)
    return dict(found)


def recorded(text: str) -> dict[str, int]:
    """``part number`` a line → numbers by part."""
    rows = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {part: int(number) for part, number in rows}


def risen(found: dict[str, list[str]], allowed: dict[str, int]) -> list[str]:
    """What to print of the parts that have more errors than recorded."""
    lines = []
    for part, errors in sorted(found.items()):
        if len(errors) > allowed.get(part, 0):
            lines += [*errors, f"{part}: {len(errors)} type errors, at most {allowed.get(part, 0)} allowed"]
    return lines


def main(arguments: list[str]) -> int:
    """Run mypy on the repository; 0 where no part has more errors than recorded, 2 where mypy failed."""
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=HERE.parent, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        print(done.stdout + done.stderr, file=sys.stderr)
        return 2
    found = counted(done.stdout.splitlines())
    allowed = recorded(RECORD.read_text(encoding="utf-8"))
    worse = risen(found, allowed)
    if worse:
        print("\n".join(worse))
        return 1
    numbers = {part: len(errors) for part, errors in found.items()}
    if "--write" in arguments:
        rows = [f"{part} {number}\n" for part, number in sorted(numbers.items())]
        RECORD.write_text(HEAD + "".join(rows), encoding="utf-8")
    elif numbers != allowed:
        print("fewer type errors than recorded: run python .ci/type_errors.py --write")
    print(f"{sum(numbers.values())} type errors in {len(numbers)} parts of zoo, none more than recorded")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
