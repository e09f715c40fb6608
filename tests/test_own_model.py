"""Models that the zoo does not know: named by their place, or by another package's entry point."""

import sys
from types import SimpleNamespace

import pytest

from zoo import registry
from zoo.errors import ZooError
from zoo.registry import create_model, get_entry, list_models, resolve_overrides

MODULE = '''
import keras
from dataclasses import dataclass
from zoo.config import Config, setting
from zoo.registry import Entry

THREE = 3

class Plain(keras.Model):
    """Ten lines of somebody."""
    takes = {"data": "subtomograms"}
    target = "volume"

@dataclass(frozen=True)
class WideConfig(Config):
    width: int = setting(8, "units", least=1, most=64)

class Wide(keras.Model):
    takes = {"data": "particles"}
    Config = WideConfig

    def __init__(self, width):
        super().__init__()
        self.width = width
        self.dense = keras.layers.Dense(width)
        self.dense.build((None, 4))

class Silent(keras.Model):
    pass

class Odd(keras.Model):
    takes = "particles"

class NoModel:
    takes = {"data": "particles"}

ENTRY = Entry("theirs", "own_models_for_tests:Wide", WideConfig, takes={"data": "particles"}, summary="wide")
'''


@pytest.fixture(scope="module", autouse=True)
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_models_for_tests.py").write_text(MODULE)
    (folder / "own_broken_for_tests.py").write_text("import keras\nraise RuntimeError('no licence')\n")
    (folder / "own_lacking_for_tests.py").write_text("import no_such_package_at_all\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


def test_a_plain_class_is_an_entry():
    entry = get_entry("own_models_for_tests:Plain")
    assert entry.takes == {"data": "subtomograms"} and entry.learns == "loss"
    assert entry.summary == "Ten lines of somebody." and list(entry.presets) == ["default"]
    assert entry.cls.__name__ == "Plain" and "own_models_for_tests:Plain" not in list_models()
    assert type(create_model("own_models_for_tests:Plain")).__name__ == "Plain"
    with pytest.raises(ZooError, match="own_models_for_tests:Plain has no hyperparameter called 'width'"):
        resolve_overrides("own_models_for_tests:Plain", {"width": "3"})


def test_a_class_may_bring_a_configuration_and_follows_the_seed():
    import keras
    import numpy as np

    name = "own_models_for_tests:Wide"
    assert create_model(name).width == 8 and create_model(name, width="3").width == 3
    with pytest.raises(ZooError, match="width=65: expected 1 to 64"):
        create_model(name, width=65)
    kernels = [create_model(name, seed=seed).dense.kernel for seed in (1, 1, 2)]
    kernels = [keras.ops.convert_to_numpy(kernel) for kernel in kernels]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert (kernels[0] != kernels[2]).all()


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("own_models_for_tests:Plane", "own_models_for_tests has no Plane; did you mean 'Plain'?"),
        ("own_models_for_tests:THREE", "is a int, expected a class that derives from keras.Model"),
        ("own_models_for_tests:NoModel", "does not derive from keras.Model"),
        ("own_models_for_tests:Silent", "does not say what it trains on; give it takes = "),
        ("own_models_for_tests:Odd", "takes = 'particles': expected role and kind of data"),
        ("own_broken_for_tests:Net", "cannot be imported: RuntimeError: no licence"),
        ("own_lacking_for_tests:Net", "cannot be imported: No module named 'no_such_package_at_all'"),
        ("own_absent_for_tests:Net", "there is no module own_absent_for_tests"),
        ("own_models_for_tests:", "is no place of a class; write package.module:Class"),
        ("own models:Net", "is no place of a class; write package.module:Class"),
    ],
)
def test_wrong_places_are_one_line(place, words):
    with pytest.raises(ZooError) as error:
        get_entry(place)
    assert words in str(error.value) and str(error.value).startswith(place)


def test_a_module_in_the_working_folder_is_found(tmp_path, monkeypatch):
    (tmp_path / "own_here_for_tests.py").write_text(MODULE)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    monkeypatch.chdir(tmp_path)
    assert get_entry("own_here_for_tests:Plain").takes == {"data": "subtomograms"}
    assert str(tmp_path) not in sys.path


def test_entry_points_of_other_packages(monkeypatch):
    points = {
        "theirs": "own_models_for_tests:ENTRY",
        "their-plain": "own_models_for_tests:Plain",
        "their-broken": "own_broken_for_tests:Net",
    }
    monkeypatch.setattr(
        registry, "_POINTS", {name: SimpleNamespace(name=name, value=value) for name, value in points.items()}
    )
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    assert set(points) <= set(list_models())
    assert get_entry("theirs").summary == "wide" and get_entry("theirs").config.defaults() == {"width": 8}
    assert get_entry("their-plain").takes == {"data": "subtomograms"}
    with pytest.raises(ZooError, match="no licence"):
        get_entry("their-broken")
    from zoo_tools.models import _model_rows

    told = {row["model"]: row["status"] for row in _model_rows()}
    assert told["their-broken"] == "cannot be imported" and told["theirs"] == "works"
