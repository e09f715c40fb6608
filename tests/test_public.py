"""What ``import zoo`` offers, and that it costs nothing before it is used."""

import re
import subprocess
import sys

import pytest

import zoo


def test_every_public_name_is_there():
    assert set(zoo.__all__) <= set(dir(zoo))
    for name in zoo.__all__:
        assert getattr(zoo, name) is not None, name
    with pytest.raises(AttributeError, match="has no attribute 'laiers'"):
        zoo.laiers  # noqa: B018


def test_rooms_are_opened_by_their_names():
    script = (
        "import sys, zoo\n"
        "assert 'scipy' not in sys.modules and 'keras' not in sys.modules\n"
        "assert zoo.metrics.fsc.resolution_at and 'tensorflow' not in sys.modules\n"
        "assert {'rotations', 'ctf', 'matching'} <= set(dir(zoo.ops)) and 'keras' not in sys.modules\n"
        "zoo.ops.nothing\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "AttributeError: module 'zoo.ops' has no attribute 'nothing'" in done.stderr, done.stderr


def test_a_data_set_is_loaded_and_gives_batches(tmp_path):
    with pytest.raises(zoo.ZooError, match="no such folder"):
        zoo.load_dataset(tmp_path / "none")
    with pytest.raises(zoo.ZooError, match="no such folder"):
        zoo.open_run(tmp_path / "none")


def test_the_readme_uses_public_names_only(repository):
    text = (repository / "README.md").read_text(encoding="utf-8")
    block = re.search(r"## In Python\n\n```python\n(.*?)```", text, flags=re.S).group(1)
    assert re.findall(r"^(?:import|from) .*$", block, flags=re.M) == ["import zoo"]
    used = set(re.findall(r"zoo\.(\w+)", block))
    assert used and used <= set(zoo.__all__)


def test_types_are_told(repository):
    assert (repository / "zoo" / "py.typed").exists()
    assert "zoo = py.typed" in (repository / "setup.cfg").read_text(encoding="utf-8")
