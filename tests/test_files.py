"""Files and folders appear whole, whatever kills, fills or forbids; what the dead leave is cleared."""

import errno
import json
import os
import resource
import signal
import socket
import subprocess
import sys

import pytest

import zoo.files as files
from zoo.errors import ZooError
from zoo.files import (
    check_folder,
    clear_leftovers,
    finish_folder,
    whole_file,
    whole_folder,
    whole_path,
    write_json,
)

HOST = socket.gethostname()


@pytest.fixture(scope="module")
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(path, overwrite=False, text="new", fail=False, keep_others=False):
    with whole_folder(path, "marker", overwrite, keep_others) as partial:
        (partial / "marker").write_text(text)
        (partial / "maps").mkdir()
        (partial / "maps" / f"{text}.mrc").write_text(text)
        if fail:
            raise ValueError("broken")


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a" / "x.json"
    write_json(path, {"é": 1})
    assert json.loads(path.read_text(encoding="utf-8")) == {"é": 1}
    with pytest.raises(ValueError, match="broken"), whole_file(path) as file:
        file.write(b"half")
        raise ValueError("broken")
    assert names(path.parent) == ["x.json"] and json.loads(path.read_text()) == {"é": 1}
    with whole_path(path, ending=".keras") as temporary:
        assert temporary.name == f".x.json.{HOST}-{os.getpid()}.part.keras"
        temporary.write_text("2")
    assert names(path.parent) == ["x.json"] and path.read_text() == "2"


def test_folder_appears_whole(tmp_path):
    with whole_folder(tmp_path / "a" / "out", "marker") as partial:
        (partial / "marker").write_text("x")
        assert not (tmp_path / "a" / "out").exists()
    assert (tmp_path / "a" / "out" / "marker").read_text() == "x"
    assert names(tmp_path / "a") == ["out"]


@pytest.mark.parametrize("keep_others", [False, True])
def test_failure_leaves_what_was_there(tmp_path, keep_others):
    with pytest.raises(ValueError, match="broken"):
        write(tmp_path / "out", fail=True, keep_others=keep_others)
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "out", text="old")
    with pytest.raises(ValueError, match="broken"):
        write(tmp_path / "out", overwrite=True, fail=True, keep_others=keep_others)
    assert (tmp_path / "out" / "marker").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_only_own_folders_are_replaced(tmp_path):
    write(tmp_path / "out", text="old")
    with pytest.raises(ZooError, match="exists and is not empty; name another folder or pass --overwrite"):
        write(tmp_path / "out")
    write(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "marker").read_text() == "new"
    assert names(tmp_path / "out" / "maps") == ["new.mrc"]
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("")
    with pytest.raises(ZooError, match="has no marker, so it was not written by this command"):
        write(tmp_path / "home", overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(ZooError, match="is a file, expected a folder"):
        write(tmp_path / "file")
    with pytest.raises(ZooError, match="cannot be written: there is a file at"):
        write(tmp_path / "file" / "out")


def test_others_may_be_kept(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("mine")
    write(out, text="old", keep_others=True)
    with pytest.raises(ZooError, match="holds marker already; name another folder or pass --overwrite"):
        write(out, keep_others=True)
    write(out, overwrite=True, keep_others=True)
    assert names(out) == ["maps", "marker", "thesis.tex"]
    assert (out / "marker").read_text() == "new" and names(out / "maps") == ["new.mrc"]


def test_an_empty_folder_is_used_as_it_is(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    write(".")
    assert os.path.exists("marker")  # the working folder is still the same folder
    assert names(tmp_path) == ["out"]


def test_what_the_dead_left_goes_and_what_the_living_write_stays(tmp_path, dead):
    left = [
        f".a.tfrecord.{HOST}-{dead}.part",
        f".b.json.{HOST}-{os.getppid()}.part",
        ".c.tfrecord.elsewhere-1.part",
        f".d.{HOST}-{os.getpid()}.part",  # of an earlier process with our number
        f".model.keras.{HOST}-{dead}.part.keras",
    ]
    for name in left:
        (tmp_path / name).write_text("")
    (tmp_path / f".set.{HOST}-{dead}.part").mkdir()
    assert clear_leftovers(tmp_path) == sorted([left[0], left[3], left[4], f".set.{HOST}-{dead}.part"])
    assert clear_leftovers(tmp_path, {os.getppid()}) == left[1:2]
    assert names(tmp_path) == [left[2]]
    assert clear_leftovers(tmp_path / "no such folder") == []


def test_the_next_file_clears_its_folder_once(tmp_path, dead):
    (tmp_path / f".a.{HOST}-{dead}.part").write_text("")
    write_json(tmp_path / "b.json", 1)
    assert names(tmp_path) == ["b.json"]


KILLED = """
import os, signal, sys
import zoo.files as files
from zoo.files import whole_folder
path, number, keep_others = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "1"
done = 0
def counted(function):
    def call(*arguments, **named):
        global done
        if done == number:
            os.kill(os.getpid(), signal.SIGKILL)
        done += 1
        return function(*arguments, **named)
    return call
with whole_folder(path, "marker", True, keep_others) as partial:
    (partial / "marker").write_text("new")
    (partial / "maps").mkdir()
    (partial / "maps" / "new.mrc").write_text("new")
    files.os.replace, files.shutil.rmtree = counted(os.replace), counted(files.shutil.rmtree)
    files.Path.unlink, files.Path.rmdir = counted(files.Path.unlink), counted(files.Path.rmdir)
print("whole")
"""


@pytest.mark.parametrize("keep_others", [False, True])
def test_killed_at_any_point_the_next_command_finds_one_whole_folder(tmp_path, keep_others):
    """Kill before each change of the folder in turn, until none is left to kill."""
    for number in range(20):
        folder = tmp_path / str(number)
        write(folder / "out", text="old")
        (folder / "out" / "notes").write_text("mine")
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(folder / "out"), str(number), str(int(keep_others))],
            capture_output=True,
            text=True,
        )
        finish_folder(folder / "out", "marker", keep_others)
        clear_leftovers(folder)
        assert names(folder) == ["out"], number
        text = (folder / "out" / "marker").read_text()
        assert names(folder / "out" / "maps") == [f"{text}.mrc"], number
        assert (folder / "out" / "notes").exists() or (text == "new" and not keep_others)
        if done.stdout:
            assert text == "new"
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert number >= 4


def test_a_living_writer_is_left_alone(tmp_path):
    code = (
        "import sys, time; from zoo.files import whole_folder\n"
        "with whole_folder(sys.argv[1], 'marker') as work:\n"
        "    (work / 'marker').write_text('half')\n"
        "    print('ready', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "set")], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    write(tmp_path / "set", text="first")
    assert len(names(tmp_path)) == 2
    process.kill()
    process.wait()
    write(tmp_path / "set", overwrite=True, text="second")
    assert names(tmp_path) == ["set"] and (tmp_path / "set" / "marker").read_text() == "second"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "x.bin: cannot be written: the disk is full .*; free space and run the same command"),
        (errno.EDQUOT, "x.bin: cannot be written: the disk quota is used up"),
        (errno.EACCES, "x.bin: cannot be written: Permission denied; get permission to write there and run"),
        (errno.EROFS, "x.bin: cannot be written: Read-only file system; get permission"),
    ],
)
def test_an_error_while_writing_is_one_line_that_names_the_file(tmp_path, number, words):
    with pytest.raises(ZooError, match=words) as error, whole_file(tmp_path / "x.bin"):
        raise OSError(number, os.strerror(number))
    assert "\n" not in str(error.value) and names(tmp_path) == []
    with (
        pytest.raises(ZooError, match=words.replace("x.bin", "out/x.bin")),
        whole_folder(tmp_path / "out", "m") as part,
    ):
        raise OSError(number, os.strerror(number), str(part / "x.bin"))
    assert names(tmp_path) == []


def test_an_error_of_another_file_is_not_blamed_on_the_output(tmp_path):
    with pytest.raises(ZooError, match="^/none/map.mrc: no such file"), whole_folder(tmp_path / "out", "m"):
        open("/none/map.mrc")


def test_a_file_beyond_the_limit_is_one_line(tmp_path):
    code = (
        "import resource, signal, sys; from zoo.files import whole_file\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9999, 9999))\n"
        "with whole_file(sys.argv[1]) as file: file.write(bytes(100_000))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "big")], capture_output=True, text=True)
    assert (
        done.stderr.strip()
        .splitlines()[-1]
        .endswith(
            f"{tmp_path / 'big'}: cannot be written: the file grew beyond the allowed size (File too large); "
            "free space and run the same command again: what is complete is kept"
        )
    )
    assert names(tmp_path) == [] and resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 9999


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused_before_the_work(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ZooError, match="no permission to write in"):
            check_folder(tmp_path / "out", "marker")
    finally:
        tmp_path.chmod(0o700)


def test_a_running_process_is_known():
    assert files.is_running(os.getpid()) and files.is_running(1)
    assert not files.is_running(2**40)
