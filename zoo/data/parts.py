"""Files that appear whole or not at all, also when several machines write into one folder."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from zoo.errors import ZooError

_SUFFIX = ".part"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def whole_file(path: Path, mode: str = "wb") -> Iterator[IO]:
    """Open a temporary file beside ``path``; on success it is flushed to disk and renamed to ``path``.

    The name holds host and process, so that ``remove_abandoned`` can tell whose it was. Raises
    ZooError with one line if the disk is full or the folder cannot be written; the temporary file
    is gone then.
    """
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}{_SUFFIX}")
    try:
        with open(temporary, mode) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise ZooError(describe_write_error(path, error)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as JSON, whole or not at all."""
    with whole_file(path, "w") as file:
        json.dump(content, file, indent=1)
        file.write("\n")


def remove_abandoned(folder: Path, pids: set[int] | None = None) -> list[str]:
    """Delete the temporary files of processes of this host that have ended (or of ``pids``); their names.

    Files of other hosts stay: their writers may be alive.
    """
    removed = []
    host = socket.gethostname()
    for path in folder.glob(f".*{_SUFFIX}"):
        owner, _, pid = path.name.removesuffix(_SUFFIX).rpartition("-")
        if not owner.endswith(f".{host}") or not pid.isdigit():
            continue
        if int(pid) in pids if pids is not None else not _is_running(int(pid)):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
                removed.append(path.name)
    return removed


def describe_write_error(path: Path, error: OSError) -> str:
    """One line for a person about an error while writing ``path``."""
    if error.errno in _FULL:
        what = "the file grew beyond the allowed size" if error.errno == errno.EFBIG else "the disk is full"
        return (
            f"{path}: cannot be written: {what} ({error.strerror}); free space and run the same command "
            f"again: what is complete is kept"
        )
    return f"{path}: cannot be written: {error.strerror or error}"


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
