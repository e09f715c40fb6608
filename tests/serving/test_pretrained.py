import shutil

import numpy as np
import pytest

import zoo
from zoo.errors import ZooError
from zoo.serving import pretrained

CARD = """---
name: toy-tiny
model: toy
preset: tiny
licence: Apache-2.0
box: 8
voxel_size_angstrom: 2.5
latent_dim: 3
---
# toy-tiny

## Data
none

## Command
none

## Figures
none

## Limits
all
"""


@pytest.fixture
def shelf(exported, tmp_path, monkeypatch):
    """A folder of pretrained models that holds toy-tiny in versions 1 and 10."""
    root = tmp_path / "pretrained"
    for version in ("1", "10"):
        shutil.copytree(exported, root / "toy-tiny" / version)
    (root / "toy-tiny" / "README.md").write_text(CARD)
    (root / "notes").mkdir()
    monkeypatch.setattr(pretrained, "pretrained_roots", lambda: [root])
    return root


def test_a_pretrained_model_is_found_and_works(shelf, toy_model, toy_inputs):
    assert list(pretrained.list_pretrained()) == ["toy-tiny"]
    model = zoo.load_pretrained("toy-tiny")
    assert model.path.name == "10"  # the newest, as a number
    assert model.card == CARD and model.name == "toy-tiny"
    np.testing.assert_allclose(model.density(toy_inputs["z"]), toy_model.density(toy_inputs["z"]), atol=1e-6)
    assert pretrained.load_pretrained("toy-tiny", version=1).path.name == "1"


def test_unknown_names_and_versions_are_told(shelf):
    with pytest.raises(ZooError, match="no pretrained model 'vgan'; known are: toy-tiny"):
        pretrained.load_pretrained("vgan")
    with pytest.raises(ZooError, match=r"has no version 4, only \[1, 10\]"):
        pretrained.load_pretrained("toy-tiny", version=4)


def test_a_good_model_passes_the_check(shelf):
    assert pretrained.check_pretrained(shelf / "toy-tiny") == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("licence: Apache-2.0\n", "", "lacks 'licence'"),
        ("## Limits\n", "", "has no section '## Limits'"),
        ("box: 8", "box: 32", "box is 8, its card says 32"),
        ("name: toy-tiny", "name: other", "is named 'other'"),
        ("---\nname", "name", "has no YAML head"),
        ("name: toy-tiny", "name: [", "its head is not YAML"),
    ],
)
def test_a_card_that_is_wrong_fails_the_check(shelf, old, new, message):
    card = shelf / "toy-tiny" / "README.md"
    card.write_text(CARD.replace(old, new, 1))
    problems = pretrained.check_pretrained(shelf / "toy-tiny")
    assert any(message in problem for problem in problems), problems


def test_a_model_without_card_or_too_large_fails_the_check(shelf):
    folder = shelf / "toy-tiny"
    (folder / "1" / "assets" / "filler").parent.mkdir(exist_ok=True)
    (folder / "1" / "assets" / "filler").write_bytes(b"0" * pretrained.LARGEST_BYTES)
    assert any("bytes, expected less than" in problem for problem in pretrained.check_pretrained(folder))
    (folder / "README.md").unlink()
    assert "no model card" in pretrained.check_pretrained(folder)[0]


def test_the_models_of_this_repository_pass_the_check(repository):
    found = [path for path in (repository / "pretrained").iterdir() if path.is_dir()]
    if not found:
        pytest.skip("no pretrained model here yet")
    assert pretrained.pretrained_roots()
    for folder in found:
        assert pretrained.check_pretrained(folder) == []
