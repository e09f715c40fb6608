"""What TensorFlow says while it is imported does not bury the one line that matters."""

import os
import subprocess
import sys

import pytest

from zoo_tools._quiet import notices_dropped

NOTICE = b"I0000 00:00:1795629124.982001    9345 port.cc:153] oneDNN custom operations are on.\n"


def test_notices_are_dropped_and_errors_are_not(capfd):
    with notices_dropped():
        os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called go to STDERR\n")
        os.write(2, NOTICE)
        os.write(2, b"E0000 00:00:1795629131.952797    9345 some.cc:1] a failure\n")
        print("a traceback", file=sys.__stderr__)
    os.write(2, NOTICE)
    lines = capfd.readouterr().err.splitlines()
    assert [line.split("]")[-1].strip() for line in lines] == [
        "a failure",
        "a traceback",
        "oneDNN custom operations are on.",
    ]


def test_nothing_is_lost_when_the_import_fails(capfd):
    with pytest.raises(ImportError), notices_dropped():
        os.write(2, b"why it failed\n")
        raise ImportError
    assert capfd.readouterr().err == "why it failed\n"


def test_tensorflow_is_imported_without_a_word():
    code = "from zoo_tools._quiet import hush_tensorflow as hush; hush(); hush(); import tensorflow; print(1)"
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "1\n"
    assert done.stderr == ""
