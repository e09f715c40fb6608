"""The error that a person reads: one line, exit code 2, no traceback."""


class ZooError(ValueError):
    """Bad input, told in one line: the file, the row or byte, what was found, what to do.

    Tools print the message and leave with exit code 2; ``--debug`` shows the traceback.
    """

    def __init__(self, message: str):
        super().__init__(" ".join(str(message).split()))
