"""Finding the files that a person names, and saying in one line why one cannot be read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from zoo.errors import ZooError

_SPECIAL = {
    stat.S_IFIFO: "a named pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def existing_file(path: str | os.PathLike) -> str:
    """The absolute path of a file that can be read; raises ZooError saying why it cannot.

    Only a regular file will do: a pipe or a device could make its reader wait for ever.
    """
    path = os.path.abspath(os.fspath(path))
    try:
        mode = os.stat(path).st_mode
    except PermissionError:
        raise ZooError(f"{path}: no permission to look at it") from None
    except (OSError, ValueError):  # also a name that is too long, or with a zero byte
        raise ZooError(f"{path}: no such file") from None
    if stat.S_ISDIR(mode):
        raise ZooError(f"{path}: is a folder, expected a file")
    if not stat.S_ISREG(mode):
        what = _SPECIAL.get(stat.S_IFMT(mode), "a special file")
        raise ZooError(f"{path}: is {what}, expected a regular file; write its content to a file first")
    if not os.access(path, os.R_OK):
        raise ZooError(f"{path}: no permission to read it")
    return path


def resolve_images(
    names: list[str], folder: str, stated_root: str = "", moved_to: str | None = None
) -> tuple[list[str], str]:
    """Absolute paths of the image files ``names``, and the folder their relative names start from.

    RELION and cryoSPARC name images relative to the project folder, which is usually above the
    folder of the metadata file: so look in ``folder``, then its parents, then ``stated_root``.
    A name that is found nowhere is taken as relative to ``stated_root``, else to ``folder``. Where the files
    have moved, ``moved_to`` comes first: the longest end of a name that is found there is the file. Raises
    ZooError where ``moved_to`` is no folder.
    """
    if moved_to is not None and not os.path.isdir(moved_to):
        raise ZooError(
            f"--stacks {moved_to}: no such folder; name the folder that the image files lie in now"
        )
    roots = [Path(folder), *Path(folder).parents]
    real = Path(folder).resolve()
    if real != Path(folder):  # reached through a link: the project may be above the real folder
        roots += [real, *real.parents]
    fallback = Path(stated_root or folder)
    if stated_root:
        roots.append(fallback)
    paths, used, last = [], [], roots[0]
    for name in names:
        if moved_to is not None and (moved := _found_in(moved_to, name)) is not None:
            paths.append(moved)
            used.append(Path(moved_to))
            continue
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


def _found_in(folder: str, name: str) -> str | None:
    """The file in ``folder`` that the longest end of a name leads to."""
    parts = Path(name).parts
    for start in range(len(parts)):
        path = os.path.join(folder, *parts[start:]) if not os.path.isabs(parts[start]) else ""
        if path and os.path.isfile(path):
            return os.path.abspath(path)
    return None
