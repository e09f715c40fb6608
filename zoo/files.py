"""A folder of results appears whole or not at all: write beside the target, then rename."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

from zoo.errors import ZooError


@contextmanager
def folder_written_whole(path, marker: str, overwrite: bool = False):
    """Yield a temporary folder beside `path`; it becomes `path` on success and vanishes on failure.

    `marker` is a file that every such folder holds. Raises ZooError if `path` holds anything, unless
    `overwrite` is given and the marker is there: a folder of something else is never removed.
    """
    path = Path(path).absolute()
    if path.exists() and not path.is_dir():
        raise ZooError(f"{path}: is a file, expected a folder to write to; name another one")
    if path.is_dir() and any(path.iterdir()):
        if not overwrite:
            raise ZooError(f"{path}: exists and is not empty; name another folder or pass --overwrite")
        if not (path / marker).exists():
            raise ZooError(
                f"{path}: has no {marker}, so it was not written by this command and is not "
                "removed; name another folder"
            )
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    old = path.with_name(f".old-{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
        yield partial
        if path.exists():
            os.replace(path, old)
        os.replace(partial, path)
    except OSError as error:
        if old.exists() and not path.exists():
            os.replace(old, path)
        raise ZooError(f"{path}: cannot write: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
