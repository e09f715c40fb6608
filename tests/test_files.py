import pytest

from zoo.errors import ZooError
from zoo.files import folder_written_whole


def write(path, overwrite=False, text="new", fail=False):
    with folder_written_whole(path, "marker", overwrite) as partial:
        (partial / "marker").write_text(text)
        if fail:
            raise ValueError("broken")


def test_folder_appears_whole(tmp_path):
    with folder_written_whole(tmp_path / "a" / "out", "marker") as partial:
        (partial / "marker").write_text("x")
        assert not (tmp_path / "a" / "out").exists()
    assert (tmp_path / "a" / "out" / "marker").read_text() == "x"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["out"]


def test_failure_leaves_what_was_there(tmp_path):
    with pytest.raises(ValueError, match="broken"):
        write(tmp_path / "out", fail=True)
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "out", text="old")
    with pytest.raises(ValueError, match="broken"):
        write(tmp_path / "out", overwrite=True, fail=True)
    assert (tmp_path / "out" / "marker").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_only_own_folders_are_replaced(tmp_path):
    write(tmp_path / "out", text="old")
    with pytest.raises(ZooError, match="exists and is not empty; name another folder or pass --overwrite"):
        write(tmp_path / "out")
    write(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "marker").read_text() == "new"
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("")
    with pytest.raises(ZooError, match="has no marker, so it was not written by this command"):
        write(tmp_path / "home", overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(ZooError, match="is a file, expected a folder"):
        write(tmp_path / "file")


def test_an_empty_folder_is_used(tmp_path):
    (tmp_path / "out").mkdir()
    write(tmp_path / "out")
    assert (tmp_path / "out" / "marker").exists()
