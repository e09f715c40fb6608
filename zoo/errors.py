"""The error that a person reads: one line, exit code 2, no traceback."""

from collections.abc import Iterable


class ZooError(ValueError):
    """Bad input, told in one line: the file, the row or byte, what was found, what to do.

    Tools print the message and leave with exit code 2; ``--debug`` shows the traceback.
    """

    def __init__(self, message: str):
        super().__init__(" ".join(str(message).split()))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """End of a line about an unknown ``word``: the nearest known one, or all of them."""
    import difflib

    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(names) or 'none'}"
