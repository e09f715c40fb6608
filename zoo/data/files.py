"""Finding input files, and writing output files so that no half-written one is ever seen."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from zoo.errors import ZooError


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[str]:
    """Give a temporary name beside ``path``; rename it to ``path`` on success, remove it on failure."""
    path = os.path.abspath(os.fspath(path))
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}.tmp")
    try:
        os.makedirs(folder, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise ZooError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            os.remove(temporary)


def existing_file(path: str | os.PathLike) -> str:
    """The absolute path of a file that can be read; raises ZooError saying why it cannot."""
    path = os.path.abspath(os.fspath(path))
    if os.path.isdir(path):
        raise ZooError(f"{path}: is a folder, expected a file")
    if not os.path.exists(path):
        raise ZooError(f"{path}: no such file")
    if not os.path.isfile(path):  # opening a pipe waits for ever for somebody to write into it
        raise ZooError(
            f"{path}: is no regular file (a pipe, socket or device), expected a file; copy it first"
        )
    if not os.access(path, os.R_OK):
        raise ZooError(f"{path}: no permission to read it")
    return path


def resolve_images(names: list[str], folder: str, stated_root: str = "") -> tuple[list[str], str]:
    """Absolute paths of the image files ``names``, and the folder their relative names start from.

    RELION and cryoSPARC name images relative to the project folder, which is usually above the
    folder of the metadata file: so look in ``folder``, then its parents, then ``stated_root``.
    A name that is found nowhere is taken as relative to ``stated_root``, else to ``folder``.
    """
    roots = [Path(folder), *Path(folder).parents]
    real = Path(folder).resolve()
    if real != Path(folder):  # reached through a link: the project may be above the real folder
        roots += [real, *real.parents]
    fallback = Path(stated_root or folder)
    if stated_root:
        roots.append(fallback)
    paths, used, last = [], [], roots[0]
    for name in names:
        if os.path.isabs(name):
            paths.append(os.path.normpath(name))
            continue
        # almost always the root of the name before: one look at the disk per stack
        found = next((root for root in [last, *roots] if (root / name).is_file()), None)
        if found is not None:
            last = found
            used.append(found)
        paths.append(os.path.normpath((found or fallback) / name))
    return paths, str(used[0] if used else fallback)
