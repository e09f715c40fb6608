"""Kernels that numba compiles once on a machine, not once in every process.

numba's own ``cache=True`` looks at the file of a function alone: it would go on with old code after a change
of a constant or of an inlined function in another file. Here a file of kept code is named by a hash of all
that decides it, so that other code is another file: nothing kept is ever out of date or rewritten, and
processes that compile the same at once write the same file.
"""

from __future__ import annotations

import contextlib
import dis
import hashlib
import math
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from zoo.errors import ZooError
from zoo.files import cache_folder, whole_file

_FORMAT = 1
_DIGEST_BYTES = hashlib.sha256().digest_size
_PLAIN = (bool, int, float, complex, str, np.generic)


def kernel(**options) -> Callable[[Callable], Callable]:
    """Decorator: ``numba.njit(nogil=True, **options)``, whose machine code is kept in the cache folder.

    The code is kept in ``kernels`` of `zoo.files.cache_folder`; where that cannot be written, every process
    compiles its own. A kernel may use numbers, NumPy, `math` and other kernels. Raises TypeError at its first
    call where it uses anything else, of which nobody could tell whether it is still the same.
    """

    def decorate(function):
        compiled = numba.njit(nogil=True, **options)(function)
        if hasattr(compiled, "enable_caching"):  # with NUMBA_DISABLE_JIT it is the function itself
            compiled._cache = _KeptCode(compiled)
        return compiled

    return decorate


class _KeptCode:
    """The kept code of one kernel, as numba asks for it: a file for every tuple of argument types."""

    def __init__(self, dispatcher):
        self._dispatcher = dispatcher

    @property
    def cache_path(self) -> str:
        """Folder of the files."""
        return str(cache_folder() / "kernels")

    def load_overload(self, signature, target) -> CompileResult | None:
        """Code compiled earlier for arguments of these types; None where there is none, or it is damaged."""
        target.refresh()
        path = self._path(signature, target)
        try:
            # pickled: whoever could write it could run code as the person who reads it
            if hasattr(os, "getuid") and path.stat().st_uid not in (0, os.getuid()):
                return None
            kept = path.read_bytes()
        except OSError:
            return None
        digest, content = kept[:_DIGEST_BYTES], kept[_DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != digest:
            return None
        return CompileResult._rebuild(target, *pickle.loads(content))

    def save_overload(self, signature, result: Any) -> None:
        """Keep what was compiled, where the folder can be written."""
        if result.lifted or result.library.has_dynamic_globals:
            return
        content = dumps(result._reduce())
        with contextlib.suppress(ZooError), whole_file(self._path(signature, result.target_context)) as file:
            file.write(hashlib.sha256(content).digest() + content)

    def flush(self) -> None:
        """Nothing: what is kept is never out of date."""

    def _path(self, signature, target) -> Path:
        versions = _FORMAT, sys.version, np.__version__, numba.__version__, llvmlite.__version__
        machine = target.codegen().magic_tuple()
        switches = sorted(item for item in os.environ.items() if item[0].startswith("NUMBA_"))
        words = repr((versions, machine, switches, signature, list(_described(self._dispatcher))))
        name = f"{self._dispatcher.py_func.__name__.strip('_')}-{hashlib.sha256(words.encode()).hexdigest()}"
        return Path(self.cache_path) / name


def _described(dispatcher) -> Iterator[object]:
    """All that decides the machine code of a kernel for given types: its own and that of what it calls."""
    function, options = dispatcher.py_func, dispatcher.targetoptions
    code = function.__code__
    if function.__closure__ or any(isinstance(constant, CodeType) for constant in code.co_consts):
        raise TypeError(f"{function.__qualname__}: a kernel cannot hold functions, nor lie in one")
    yield function.__module__, function.__qualname__, function.__defaults__
    yield code.co_code, code.co_consts, code.co_names, code.co_varnames, code.co_argcount
    yield sorted((key, sorted(v) if isinstance(v, (set, frozenset)) else v) for key, v in options.items())
    names = {step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}
    for name in sorted(names & set(function.__globals__)):
        value = function.__globals__[name]
        if hasattr(value, "py_func"):
            yield from _described(value)
        elif isinstance(value, _PLAIN):
            yield name, type(value).__name__, value
        elif value is not np and value is not math:
            raise TypeError(f"{function.__qualname__}: {name}: a kernel uses numbers, NumPy and kernels")
