"""A folder of results that appears whole or not at all."""

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from zoo.errors import ZooError

_SUFFIX = ".tmp"


@contextlib.contextmanager
def whole_folder(out: Path, main_file: str, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside `out`; when the block ends well its content becomes `out`'s.

    On failure it is removed; what a killed process left behind is removed by the next one. Files of `out`
    that the new content does not name stay. Raises ZooError if `out` is a file, holds `main_file` already
    (unless `overwrite`), or cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise ZooError(f"{out}: is a file, expected a folder to write; choose another --out")
    if (out / main_file).exists() and not overwrite:
        raise ZooError(f"{out}: holds {main_file} already; choose another --out or give --overwrite")
    work = out.with_name(f".{out.name}.{socket.gethostname()}-{os.getpid()}{_SUFFIX}")
    try:
        _remove_abandoned(out)
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        yield work
        _publish(work, out, main_file)
    except OSError as error:
        raise ZooError(f"{out}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _publish(work, out, main_file):
    """Rename the folder where `out` is new or empty; otherwise replace item by item, `main_file` last."""
    try:
        os.rename(work, out)
        return
    except OSError:
        if not out.is_dir():
            raise
    (out / main_file).unlink(missing_ok=True)
    for item in sorted(work.iterdir(), key=lambda path: path.name == main_file):
        target = out / item.name
        if target.is_dir():
            shutil.rmtree(target)
        os.rename(item, target)


def _remove_abandoned(out):
    """Delete temporary folders of processes of this host that have ended; other hosts' may be alive."""
    start = f".{out.name}.{socket.gethostname()}-"
    if not out.parent.is_dir():
        return
    for path in out.parent.iterdir():
        pid = path.name.removeprefix(start).removesuffix(_SUFFIX)
        if path.name == f"{start}{pid}{_SUFFIX}" and pid.isdigit() and not _is_running(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
