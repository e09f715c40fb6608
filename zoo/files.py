"""The one way to write a file or a folder: whole or not at all, also when several machines write into one.

What is being written lies beside its place as ``.NAME.HOST-PID.part``. A folder that is complete but not yet
in its place is called ``….ready``, the earlier folder that it replaces ``….old``. The names say whose they
are: the next command on the same host clears what a dead process left and finishes a folder that was ready.
What other hosts left stays, for their writers may be alive.
"""

from __future__ import annotations

import contextlib
import contextvars
import errno
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from zoo.errors import ZooError

_PART, _READY, _OLD = "part", "ready", "old"
_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file grew beyond the allowed size",
}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
# Names in use by this process: a name with our own pid that is not here was left by an earlier process.
_in_use: set[Path] = set()
_cleared: set[Path] = set()
_advice: contextvars.ContextVar[str] = contextvars.ContextVar("advice", default="")


@contextlib.contextmanager
def whole_path(path: str | os.PathLike, ending: str = "", then: str = "") -> Iterator[Path]:
    """Give a temporary path beside ``path`` for a writer that opens files itself; renamed on success.

    ``ending`` (``.keras``) is for writers that look at the end of a name. The folder is made; on failure
    the temporary file is removed. Raises ZooError with one line where the disk is full or the folder
    cannot be written; ``then`` says there what to do once that is mended.
    """
    path = Path(os.path.abspath(path))
    temporary = _beside(path, _PART, ending)
    with _errors_say(path, temporary, then), _used(temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_once(path.parent)
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()


@contextlib.contextmanager
def whole_file(
    path: str | os.PathLike, mode: str = "wb", newline: str | None = None, then: str = ""
) -> Iterator[IO]:
    """Open a temporary file beside ``path`` (text is UTF-8); on success it is on disk, then called ``path``.

    Raises ZooError with one line if the disk is full or the folder cannot be written; the temporary file
    is gone then.
    """
    encoding = None if "b" in mode else "utf-8"
    with whole_path(path, then=then) as temporary:
        with open(temporary, mode, newline=newline, encoding=encoding) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())


def cache_folder(cache_dir: str | os.PathLike | None = None) -> Path:
    """Where made data and kernels are kept: `cache_dir`, else $ZOO_CACHE, else ~/.cache/cryozoo."""
    chosen = cache_dir or os.environ.get("ZOO_CACHE") or Path.home() / ".cache" / "cryozoo"
    return Path(chosen).expanduser().absolute()


def write_json(path: str | os.PathLike, content: Any, indent: int = 1) -> None:
    """Write ``content`` as JSON, whole or not at all; raises ZooError where it cannot be written."""
    with whole_file(path, "w") as file:
        json.dump(content, file, indent=indent)
        file.write("\n")


@contextlib.contextmanager
def whole_folder(
    path: str | os.PathLike, marker: str, overwrite: bool = False, keep_others: bool = False, then: str = ""
) -> Iterator[Path]:
    """Give a temporary folder beside ``path``; it becomes ``path`` on success and vanishes on failure.

    ``marker`` is the main file that every such folder holds. A folder with anything in it is replaced only
    with ``overwrite`` and if the marker is there: a folder of something else is never removed. With
    ``keep_others`` the new content joins what lies there: only files of the same names are replaced, and
    ``overwrite`` is needed only where the marker is there. Raises ZooError for what must not be replaced,
    a full disk, or a folder that cannot be written (``then`` says there what to do next).
    """
    path = Path(os.path.abspath(path))
    finish_folder(path, marker, keep_others)
    check_folder(path, marker, overwrite, keep_others)
    part = _beside(path, _PART)
    with _errors_say(path, part, then), _used(part):
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(path.parent)
        ready = _beside(path, _READY)
        try:
            part.mkdir()
            yield part
            with _used(ready):
                os.replace(part, ready)
                _put_in_place(ready, path, marker, keep_others)
        finally:
            for temporary in (part, ready):
                shutil.rmtree(temporary, ignore_errors=True)


def check_folder(
    path: str | os.PathLike, marker: str, overwrite: bool = False, keep_others: bool = False
) -> None:
    """Raise ZooError where `whole_folder` would refuse: for commands that work for long before they write."""
    path = Path(os.path.abspath(path))
    if path.exists() and not path.is_dir():
        raise ZooError(f"{path}: is a file, expected a folder to write to; name another one")
    place = path if path.is_dir() else next(folder for folder in path.parents if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        why = "no permission to write in" if place.is_dir() else "there is a file at"
        raise ZooError(f"{path}: cannot be written: {why} {place}; name another folder")
    if keep_others:
        if (path / marker).exists() and not overwrite:
            raise ZooError(f"{path}: holds {marker} already; name another folder or pass --overwrite")
    elif path.is_dir() and any(path.iterdir()):
        if not overwrite:
            raise ZooError(f"{path}: exists and is not empty; name another folder or pass --overwrite")
        if not (path / marker).exists():
            raise ZooError(
                f"{path}: has no {marker}, so it was not written by this command and is not "
                "removed; name another folder"
            )


def check_place(path: str | os.PathLike) -> None:
    """Raise ZooError where no file can be written at `path`: a folder there, or a file in its way."""
    path = Path(path).absolute()
    if path.is_dir():
        raise ZooError(f"{path}: is a folder, expected the name of a file to write")
    above = next(folder for folder in path.parents if folder.exists())
    if not above.is_dir():
        raise ZooError(f"{path}: {above} is a file, so nothing can be written in it; choose another name")
    if not os.access(above, os.W_OK):
        raise ZooError(f"{path}: no permission to write in {above}; choose another name")


def finish_folder(path: str | os.PathLike, marker: str, keep_others: bool = False) -> None:
    """Finish or undo what a process of this host was doing to the folder ``path`` when it died.

    A folder that was ready takes its place, one set aside comes back if nothing took its place. Readers of
    such folders call this before they look.
    """
    path = Path(os.path.abspath(path))
    left = [(leftover, state) for leftover, name, state in _abandoned(path.parent) if name == path.name]
    with _errors_say(path, path):
        for ready in (leftover for leftover, state in left if state == _READY):
            _put_in_place(ready, path, marker, keep_others)
        for old in (leftover for leftover, state in left if state == _OLD):
            if path.exists():
                shutil.rmtree(old, ignore_errors=True)
            else:
                os.replace(old, path)


def finish_folders_in(folder: str | os.PathLike, marker: str) -> None:
    """`finish_folder` for every folder with `marker` that a dead process left half replaced in ``folder``.

    For readers: where nothing may be written there, all stays as it is.
    """
    folder = Path(os.path.abspath(folder))
    names = {name for _, name, state in _abandoned(folder) if state != _PART}
    for name in sorted(names):
        with contextlib.suppress(ZooError):
            finish_folder(folder / name, marker)


def clear_leftovers(folder: str | os.PathLike, pids: set[int] | None = None) -> list[str]:
    """Delete what dead processes of this host (or ``pids``) were writing in ``folder``; returns the names."""
    removed = []
    for path, _, state in _abandoned(Path(folder), pids):
        if state == _PART:
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
                removed.append(path.name)
    return removed


@contextlib.contextmanager
def write_advice(then: str) -> Iterator[None]:
    """Context in which an error while writing says ``then``, where the writer itself has nothing to say."""
    before = _advice.set(then)
    try:
        yield
    finally:
        _advice.reset(before)


def require_space(folder: str | os.PathLike, needed_bytes: float, what: str, then: str) -> None:
    """Raise ZooError if the disk of ``folder`` (which may not exist yet) has no room for ``needed_bytes``.

    ``what`` is what needs them, ``then`` says what else a person may do than free space.
    """
    folder = Path(os.path.abspath(folder))
    place = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(place).free
    if needed_bytes > free:
        raise ZooError(
            f"{folder}: the disk has {free / 1e9:.3f} GB free, {what} needs {needed_bytes / 1e9:.3f} GB "
            f"more; free space, or {then}"
        )


def describe_write_error(path: str | os.PathLike, error: OSError, then: str = "") -> str:
    """One line for a person about an error while writing ``path``; ``then`` says what to do afterwards."""
    why = error.strerror or str(error) or type(error).__name__
    then = then or _advice.get()
    if error.errno in _FULL:
        then = then or "run the same command again: what is complete is kept"
        return f"{path}: cannot be written: {_FULL[error.errno]} ({why}); free space and {then}"
    if error.errno in _DENIED:
        then = then or "run the same command again, or write to another folder"
        return f"{path}: cannot be written: {why}; get permission to write there and {then}"
    return f"{path}: cannot be written: {why}"


def _put_in_place(ready: Path, path: Path, marker: str, keep_others: bool) -> None:
    """Let a finished folder take its place; done again after a kill at any point, it ends the same."""
    if not path.exists():
        os.replace(ready, path)
    elif not keep_others and (path / marker).exists():
        old = _beside(path, _OLD)
        with _used(old):
            os.replace(path, old)
            try:
                os.replace(ready, path)
            except OSError:
                os.replace(old, path)
                raise
            shutil.rmtree(old, ignore_errors=True)
    else:
        # Item by item, also into an empty folder: a shell may stand in it. The marker goes first and comes
        # last, so that a folder with its marker is never a mixture.
        if (ready / marker).exists():
            (path / marker).unlink(missing_ok=True)
        for item in sorted(ready.iterdir(), key=lambda item: item.name == marker):
            target = path / item.name
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            os.replace(item, target)
        ready.rmdir()


def _beside(path: Path, state: str, ending: str = "") -> Path:
    return path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.{state}{ending}")


def _abandoned(folder: Path, pids: set[int] | None = None) -> Iterator[tuple[Path, str, str]]:
    """What is left of dead processes of this host: (path, the name that it was to have, state)."""
    pattern = re.compile(rf"\.(.+)\.{re.escape(socket.gethostname())}-(\d+)\.(part|ready|old)(?:\.\w+)?")
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for match in filter(None, map(pattern.fullmatch, names)):
        path, pid = folder / match[0], int(match[2])
        # A pid of ours that we do not use: in a container every command may have the same one.
        dead = pid in pids if pids is not None else pid == os.getpid() or not is_running(pid)
        if dead and path not in _in_use:
            yield path, match[1], match[3]


def is_running(pid: int) -> bool:
    """Whether this host has a process of that number."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def _used(temporary: Path) -> Iterator[None]:
    _in_use.add(temporary)
    try:
        yield
    finally:
        _in_use.discard(temporary)


def _clear_once(folder: Path) -> None:
    if folder not in _cleared:
        _cleared.add(folder)
        clear_leftovers(folder)


@contextlib.contextmanager
def _errors_say(path: Path, temporary: Path, then: str = "") -> Iterator[None]:
    """OSError → ZooError that names ``path``, not its temporary name; another file is named as it is."""
    try:
        yield
    except OSError as error:
        named = os.fspath(error.filename) if isinstance(error.filename, (str, os.PathLike)) else ""
        if named.startswith(str(temporary)):
            blamed = Path(str(path) + named[len(str(temporary)) :])
        elif not named or named == str(path):
            blamed = path
        elif error.errno == errno.ENOENT:
            raise ZooError(f"{named}: no such file") from error
        else:
            blamed = Path(named)
        raise ZooError(describe_write_error(blamed, error, then)) from error
