"""Checksums of an exported model's files: a graph with a flipped bit may load and compute something else."""

import zlib
from pathlib import Path

from zoo.errors import ZooError

_BLOCK_BYTES = 1 << 22


def crc32_of_files(folder, leave_out=()) -> dict[str, int]:
    """CRC-32 (zlib's) of every file under `folder`, by its path from there; `leave_out` names some not to."""
    folder = Path(folder)
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return {name: _crc32(folder / name) for name in names if name not in leave_out}


def check_files(folder, wanted: dict[str, int]) -> None:
    """Raise ZooError naming the first file of `wanted` that is missing or not what it was."""
    folder = Path(folder)
    for name, crc in wanted.items():
        path = folder / name
        if not path.is_file():
            raise ZooError(f"{path}: no such file, though the model was exported with it; export it again")
        try:
            found = _crc32(path)
        except OSError as error:
            raise ZooError(f"{path}: cannot be read ({error.strerror}); export it again") from error
        if found != crc:
            raise ZooError(f"{path}: is not the file that was exported: damaged or changed; export it again")


def _crc32(path: Path) -> int:
    crc = 0
    with open(path, "rb") as file:
        while block := file.read(_BLOCK_BYTES):
            crc = zlib.crc32(block, crc)
    return crc
