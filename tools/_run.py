"""How every command starts and ends: one line for bad input, exit codes, quiet libraries."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Sequence

import typer
from typer.main import get_command

from zoo.errors import ZooError
from zoo_tools._quiet import hush_tensorflow

EPILOG = "--debug, anywhere on the line, shows the traceback of an error."


def make_app(help: str) -> typer.Typer:
    """A typer app as every tool of the zoo has it: no completion flags, plain tracebacks."""
    return typer.Typer(
        help=help,
        add_completion=False,
        pretty_exceptions_enable=False,
        no_args_is_help=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=EPILOG,
    )


def run(app: typer.Typer, name: str | None = None, args: Sequence[str] | None = None) -> None:
    """Run ``app`` and leave the process.

    Exit codes: 0 done, 2 bad input or usage (one line on stderr), 130 on SIGINT, and whatever
    the command itself asked for. ``--debug`` anywhere in ``args`` lets the traceback through.
    """
    arguments = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    if not debug:
        # The start-up notices of TensorFlow's C++ side would bury the one line that matters.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        hush_tensorflow()
    try:
        _refuse_empty(arguments)
        get_command(app)(args=arguments, prog_name=name or os.path.basename(sys.argv[0]))
    except (ZooError, OSError, KeyboardInterrupt) as error:
        if debug:
            raise
        sys.exit(_report(error))


def _refuse_empty(arguments: Sequence[str]) -> None:
    """Raise ZooError for an empty word: as a path it would be the working folder (of an unset $VARIABLE)."""
    for place, word in enumerate(arguments):
        if word == "" or re.fullmatch(r"--[a-z][a-z0-9-]*=", word):
            after = word.rstrip("=") or (arguments[place - 1] if place else "the command's name")
            raise ZooError(f"an empty word after {after}: expected a value (is a $VARIABLE not set?)")


def _report(error: BaseException) -> int:
    """Print ``error`` as one line on stderr and return the exit code."""
    if isinstance(error, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return 130
    if isinstance(error, BrokenPipeError):
        # The reader (head, less) has left; a second failure while closing stdout would be noise.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if isinstance(error, ZooError):
        message = str(error)
    else:
        message = _describe_os_error(error)
    print(f"error: {message}", file=sys.stderr)
    return 2


def _describe_os_error(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"{where}the disk is full; free some space or choose another folder, then run again"
    return f"{where}{error.strerror or ' '.join(str(error).split())}"
