"""TensorFlow's C++ side writes notices while it is imported, before any setting of its own counts."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import sys

_NOTICE = re.compile(rb"WARNING: All log messages before absl::|[IW]\d{4} [\d:.]+\s+\d+ ")


def hush_tensorflow() -> None:
    """Let the first import of TensorFlow, whoever makes it, print nothing but errors."""
    if "tensorflow" not in sys.modules and not any(isinstance(each, _Finder) for each in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Of ``sys.meta_path``."""

    def find_spec(self, name, path=None, target=None):
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def exec_module(module):
            with notices_dropped():
                load(module)

        spec.loader.exec_module = exec_module
        return spec


@contextlib.contextmanager
def notices_dropped():
    """Hold back what is written to stderr, by C++ too, and pass on what is no notice."""
    import tempfile  # --help does without it

    try:
        stderr = os.dup(2)
    except OSError:  # there is none
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            for line in held:
                if not _NOTICE.match(line):
                    os.write(2, line)
