"""Fields of a configuration: types, ranges, and what is said of every wrong value."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, field

import pytest

from zoo.config import Config, read_yaml, setting
from zoo.errors import ZooError


@dataclass(frozen=True)
class Sample(Config):
    box: int = setting(32, "edge of the images", unit="pixels", least=8, most=64)
    rate: float = setting(1e-3, "of Adam", above=0, most=1)
    decay: float = setting(0.9, "of averages", least=0, below=1)
    shift: float = setting(2.0, "largest shift", unit="pixels", least=0)
    free: float = setting(0.0, "any number")
    filters: tuple[int, ...] = setting((16, 32), "of each stage", least=1, most=100)
    fast: bool = setting(False, "whether to hurry")
    norm: str = setting("batch", "of stages", choices=("batch", "none"))
    switch: str = setting("auto", "a compiler", choices=("auto", "on", "off"))
    mask: str = setting("", "a file")
    limit: int | None = setting(None, "largest count", least=1)

    def check(self):
        if self.shift > self.box:
            raise ZooError(f"shift={self.shift}: expected 0 to {self.box}")


def test_defaults_and_order():
    assert list(Sample.settings()) == list(Sample.defaults()) == list(Sample().values())
    assert Sample().values() == Sample.defaults()
    assert Sample.settings()["box"].help == "edge of the images" and Sample.settings()["box"].unit == "pixels"
    assert {**Sample().values(), "box": 16} == Sample.of({"box": "16"}).values()
    with pytest.raises(FrozenInstanceError):
        Sample().box = 3


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("box", "16", 16),
        ("box", "3.2e1", 32),
        ("box", 64.0, 64),
        ("rate", "1e-5", 1e-5),
        ("rate", 1, 1.0),
        ("decay", "0", 0.0),
        ("filters", "8,16, 32", (8, 16, 32)),
        ("filters", "[8, 16]", (8, 16)),
        ("filters", "(8,)", (8,)),
        ("filters", [8, 16.0], (8, 16)),
        ("fast", "Yes", True),
        ("fast", "off", False),
        ("fast", 1, True),
        ("norm", "none", "none"),
        ("switch", True, "on"),
        ("switch", False, "off"),
        ("mask", "none", "none"),
        ("limit", "none", None),
        ("limit", "7", 7),
    ],
)
def test_values_and_texts_are_read(name, given, value):
    for found in (Sample.read({name: given})[name], getattr(Sample(**{name: given}), name)):
        assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("box", "none", "box=none: expected a whole number, 8 to 64 pixels"),
        ("box", None, "box=none: expected a whole number, 8 to 64 pixels"),
        ("box", "32.5", "box=32.5: expected a whole number, 8 to 64 pixels"),
        ("box", True, "box=True: expected a whole number"),
        ("box", "", "box=: expected a whole number"),
        ("box", [3], "box=3: expected a whole number"),
        ("box", {"a": 1}, "box={'a': 1}: expected a whole number"),
        ("box", 7, "box=7: expected 8 to 64 pixels"),
        ("box", "65", "box=65: expected 8 to 64 pixels"),
        ("box", "1e30", "expected 8 to 64 pixels"),
        ("box", "9" * 400, "expected 8 to 64 pixels"),
        ("box", "inf", "box=inf: expected a whole number"),
        ("box", float("nan"), "box=nan: expected a whole number"),
        ("rate", 0, "rate=0: expected more than 0 and at most 1"),
        ("rate", "-1", "rate=-1: expected more than 0 and at most 1"),
        ("rate", "nan", "rate=nan: expected more than 0 and at most 1"),
        ("rate", "fast", "rate=fast: expected a number, more than 0 and at most 1"),
        ("rate", True, "rate=True: expected a number"),
        ("rate", 10**400, "expected a number"),
        ("decay", 1, "decay=1: expected at least 0 and less than 1"),
        ("shift", "inf", "shift=inf: expected at least 0 pixels"),
        ("shift", -0.5, "shift=-0.5: expected at least 0 pixels"),
        ("free", "nan", "free=nan: expected a finite number"),
        ("free", float("-inf"), "free=-inf: expected a finite number"),
        ("filters", "8,0", "filters=8,0: expected 1 to 100"),
        ("filters", "a,b", "filters=a,b: expected a whole number for each entry, 1 to 100"),
        ("filters", 3, "filters=3: expected a list, a whole number for each entry"),
        ("filters", [], "filters: is empty"),
        ("filters", " ", "filters: is empty"),
        ("fast", "maybe", "fast=maybe: expected true or false"),
        ("fast", None, "fast=none: expected true or false"),
        ("norm", "layer", "norm=layer: expected one of batch, none"),
        ("norm", 3, "norm=3: expected one of batch, none"),
        ("norm", True, "norm=True: expected one of batch, none"),
        ("mask", 3, "mask=3: expected a text"),
        ("mask", None, "mask=none: expected a text"),
        ("limit", 0, "limit=0: expected at least 1"),
        ("limit", "few", "limit=few: expected a whole number or none"),
    ],
)
def test_wrong_values_are_one_line(name, given, words):
    for attempt in (lambda: Sample.read({name: given}), lambda: Sample(**{name: given})):
        with pytest.raises(ZooError) as error:
            attempt()
        assert words in str(error.value) and "\n" not in str(error.value)


def test_names_and_places_are_told():
    with pytest.raises(ZooError, match="^Sample has no hyperparameter called 'bocks'; did you mean 'box'"):
        Sample.read({"bocks": 3})
    with pytest.raises(ZooError, match="^a.yaml: mine has no hyperparameter called 3; known: box, decay"):
        Sample.read({3: 3}, "mine", "a.yaml: ")
    with pytest.raises(ZooError, match="^a.yaml: box=7: expected"):
        Sample.read({"box": 7}, "mine", "a.yaml: ")


def test_values_that_do_not_go_together():
    assert Sample.read({"shift": 40}) == {"shift": 40.0}  # each alone
    with pytest.raises(ZooError, match="shift=40.0: expected 0 to 32"):
        Sample.of({"shift": 40})
    assert Sample.of({"shift": 40, "box": 64}).shift == 40.0


def test_fields_that_cannot_be_are_the_programmers_fault():
    @dataclass(frozen=True)
    class Bare(Config):
        box: int = 3

    @dataclass(frozen=True)
    class Odd(Config):
        table: dict = field(default=None, metadata=dict(Sample.__dataclass_fields__["box"].metadata))

    @dataclass(frozen=True)
    class Outside(Config):
        box: int = setting(3, "edge", least=8)

    with pytest.raises(TypeError, match="Bare.box is not made by setting"):
        Bare.settings()
    with pytest.raises(TypeError, match="Odd.table: a field is an int"):
        Odd.settings()
    with pytest.raises(ZooError, match="Outside: box=3: expected at least 8"):
        Outside.settings()


@pytest.mark.parametrize(
    "value",
    [
        "9" * 5000,
        "2020-13-45",
        "!!int abc",
        "!!float x",
        "!!bool abc",
        "!!timestamp x",
        "!!binary é",
        "!!python/object:os.system x",
        "[" * 3000,
    ],
)
def test_a_yaml_value_that_cannot_be_is_one_line(tmp_path, value):
    path = tmp_path / "c.yaml"
    path.write_text(f"box: {value}\n")
    with pytest.raises(ZooError, match="c.yaml: .*is not YAML") as error:
        read_yaml(path)
    assert "\n" not in str(error.value)
