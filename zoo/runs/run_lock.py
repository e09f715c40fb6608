"""One trainer at a time in a run folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from zoo.errors import ZooError

LOCK = ".lock"


@contextlib.contextmanager
def locked(run: str | os.PathLike) -> Iterator[None]:
    """Hold the run folder ``run``, made if it is not there; raises ZooError naming the process that holds it.

    The lock is the operating system's: it ends with the process, however that ends, also by kill -9 or a
    power cut. A file that a dead process left means nothing.
    """
    path = Path(run) / LOCK
    while True:
        try:
            Path(run).mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise ZooError(
                f"{run}: cannot be written ({error.strerror}); get permission to write there, or name "
                "another folder with --out"
            ) from error
        try:
            _take(file, Path(run))
            if _is_still(file, path):
                break
        except BaseException:
            os.close(file)
            raise
        # Its holder removed the file between our opening it and locking it.
        os.close(file)
    try:
        with contextlib.suppress(OSError):  # a full disk is no reason not to train on
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(file)


def _take(file: int, run: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        words = os.pread(file, 200, 0).decode(errors="replace").split()
        who = f"process {words[0]} on {words[1]}" if len(words) == 2 else "another process"
        raise ZooError(
            f"{run}: {who} is training in it; wait until it ends or stop it, or name another folder with "
            "--out"
        ) from None
    except OSError:
        # A file system without locks: two trainers there cannot be told apart.
        return


def _is_still(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False
