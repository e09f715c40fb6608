import os
import signal
import subprocess
import sys
import time

import pytest

from zoo.errors import ZooError
from zoo.simulate.folder import whole_folder


def test_appears_at_the_end_and_not_before(tmp_path):
    with whole_folder(tmp_path / "a" / "set", "main") as work:
        (work / "main").write_text("1")
        assert not (tmp_path / "a" / "set").exists()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["set"]


def test_failure_leaves_what_was_there(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "main").write_text("old")
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "set", "main", overwrite=True) as work:
        (work / "main").write_text("new")
        raise RuntimeError
    assert (tmp_path / "set" / "main").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from zoo.simulate.folder import whole_folder\n"
        "with whole_folder(Path(sys.argv[1]), 'main') as work:\n"
        "    (work / 'main').write_text('half')\n"
        "    print('ready', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "set")], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"

    def temporary():
        return [path.name for path in tmp_path.iterdir() if path.name.startswith(".set.")]

    # a living writer is left alone
    with whole_folder(tmp_path / "set", "main") as work:
        (work / "main").write_text("first")
    assert len(temporary()) == 1
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(temporary()) == 1
    with whole_folder(tmp_path / "set", "main", overwrite=True) as work:
        (work / "main").write_text("second")
    assert temporary() == []
    assert (tmp_path / "set" / "main").read_text() == "second"


def test_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ZooError, match="cannot be written"), whole_folder(tmp_path / "file" / "set", "main"):
        time.sleep(0)
