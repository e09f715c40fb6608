"""Names, presets and the values a person may set."""

from dataclasses import dataclass

import pytest

from zoo.config import Config, setting
from zoo.errors import ZooError
from zoo.registry import (
    Entry,
    add,
    create_model,
    get_entry,
    list_models,
    register,
    resolve_config,
    resolve_preset,
)


@dataclass(frozen=True)
class SampleConfig(Config):
    width: int = setting(8, "units")
    rate: float = setting(1e-3, "of learning")
    norm: str = setting("batch", "of stages")
    filters: tuple[int, ...] = setting((16, 32), "of stages")
    fast: bool = setting(False, "whether to hurry")
    limit: int | None = setting(None, "largest count")

    def check(self):
        if self.width > 1000 and not self.fast:
            raise ZooError(f"width={self.width}: is too much, unless fast")


@pytest.fixture(scope="module")
def sample():
    """A registered model that keeps what it was made with."""

    @register(
        "sample-for-tests",
        takes={"data": "particles"},
        config=SampleConfig,
        presets={
            "small": {},
            "large": {
                "width": 64,
                "rate": 1e-4,
                "norm": "none",
                "filters": (64, 128),
                "fast": True,
                "limit": 3,
            },
        },
        default_preset="small",
    )
    class Sample:
        """For tests.

        No more.
        """

        @classmethod
        def from_data(cls, info, preset, **overrides):
            model = cls()
            model.made_with = (info, preset, overrides)
            return model

    return Sample


def test_the_main_model_is_there():
    assert "vaegan3d" in list_models()
    entry = get_entry("vaegan3d")
    expected = {"paper", "uniform_camera", "trainable_camera", "no_noise_generator", "no_invariance"}
    expected |= {"default", "pose_search", "tiny"}
    assert expected <= set(entry.presets)
    assert entry.takes == {"data": "particles"} and entry.learns == "players" and entry.summary


def test_every_preset_has_every_hyperparameter():
    for name in list_models():
        entry = get_entry(name)
        assert all(list(preset) == list(entry.config.settings()) for preset in entry.presets.values()), name


def test_every_hyperparameter_has_a_range_and_a_line_of_help():
    for name in set(list_models()) - {"sample-for-tests", "toy"}:
        for field in get_entry(name).config.settings().values():
            assert field.help and "\n" not in field.help and not field.help.endswith("."), (name, field.name)
            if field.type in (int, float):
                assert field.least is not None or field.above is not None, (name, field.name)
                assert field.most is not None or field.below is not None, (name, field.name)


def test_every_number_just_outside_its_range_is_one_line():
    for name in ("vaegan3d", "faml", "fa"):
        for field in get_entry(name).config.settings().values():
            if field.type not in (int, float):
                continue
            wrong = ["none", "nan", "inf", "-inf", "1e400", "many", True]
            wrong += [field.least - 1] if field.least is not None else [field.above]
            wrong += [field.most + 1] if field.most is not None else [field.below]
            for value in wrong:
                with pytest.raises(ZooError) as error:
                    resolve_config(name, None, {field.name: [value] if field.many else value})
                assert str(error.value).startswith(f"{field.name}="), (name, field.name, value)


def test_every_class_is_where_its_entry_says():
    for name in ("vaegan3d", "faml", "fa"):
        entry = get_entry(name)
        assert entry.place == f"{entry.cls.__module__}:{entry.cls.__qualname__}"
        assert entry.cls.learns == entry.learns


def test_unknown_names_get_the_nearest(sample):
    with pytest.raises(ZooError, match="did you mean 'sample-for-tests'"):
        get_entry("sample-for-test")
    with pytest.raises(ZooError, match="no preset called 'smal'; did you mean 'small'"):
        resolve_preset("sample-for-tests", "smal")
    with pytest.raises(ZooError, match="no preset called 'qqq'; known: large, small"):
        resolve_preset("sample-for-tests", "qqq")
    with pytest.raises(ZooError, match="no hyperparameter called 'withd'; did you mean 'width'"):
        create_model("sample-for-tests", withd=3)


@pytest.mark.parametrize(
    "name, text, value",
    [
        ("width", "16", 16),
        ("width", "1e2", 100),
        ("rate", "1e-5", 1e-5),
        ("rate", "1", 1.0),
        ("norm", "none", "none"),
        ("filters", "8,16,32", (8, 16, 32)),
        ("filters", "[8, 16]", (8, 16)),
        ("fast", "yes", True),
        ("fast", "False", False),
        ("limit", "7", 7),
        ("limit", "none", None),
    ],
)
def test_texts_become_the_presets_type(sample, name, text, value):
    found = resolve_config("sample-for-tests", None, {name: text})[name]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "name, text, expected",
    [
        ("width", "1.5", "a whole number"),
        ("width", "wide", "a whole number"),
        ("width", True, "a whole number"),
        ("rate", "fast", "a number"),
        ("fast", "maybe", "true or false"),
        ("filters", "[a, b]", "a whole number"),
        ("filters", 3, "a list"),
        ("norm", 3, "a text"),
    ],
)
def test_other_types_are_refused(sample, name, text, expected):
    with pytest.raises(ZooError, match=f"{name}=.*expected {expected}"):
        resolve_config("sample-for-tests", None, {name: text})


def test_values_that_do_not_go_together(sample):
    with pytest.raises(ZooError, match="width=2000: is too much"):
        resolve_config("sample-for-tests", None, {"width": 2000})
    assert resolve_config("sample-for-tests", "large", {"width": 2000})["width"] == 2000


def test_file_then_options(sample, tmp_path):
    path = tmp_path / "values.yaml"
    path.write_text("width: 10\nrate: 0.5\nfilters: [1, 2]\n")
    config = resolve_config("sample-for-tests", "large", {"width": "11"}, path)
    assert config == {"width": 11, "rate": 0.5, "norm": "none", "filters": (1, 2), "fast": True, "limit": 3}


@pytest.mark.parametrize(
    "content, words",
    [
        (b"widht: 3\n", "did you mean 'width'"),
        (b"a: [1\n", "line 2: is not YAML"),
        (b"- 1\n", "expected name: value lines, found list"),
        (b"a: \xff\n", "byte 3 is not text"),
    ],
)
def test_bad_files_are_named(sample, tmp_path, content, words):
    path = tmp_path / "values.yaml"
    path.write_bytes(content)
    with pytest.raises(ZooError) as error:
        resolve_config("sample-for-tests", None, None, path)
    assert words in str(error.value) and str(path) in str(error.value)
    with pytest.raises(ZooError, match="no such file"):
        resolve_config("sample-for-tests", None, None, tmp_path / "absent.yaml")


def test_create_hands_over_preset_seed_and_changes(sample):
    assert create_model("sample-for-tests", "info", "large", width="5").made_with == (
        "info",
        "large",
        {"width": 5},
    )
    assert create_model("sample-for-tests").made_with == (None, "small", {})
    assert create_model("sample-for-tests", seed=3).made_with == (None, "small", {"seed": 3})


def test_two_classes_of_one_name_are_refused(sample):
    def again(name, **parts):
        @register(name, **{"takes": {"data": "particles"}, **parts})
        class Other:
            pass

    with pytest.raises(ValueError, match="two models are called"):
        again("sample-for-tests")
    with pytest.raises(ValueError, match="is not one of"):
        again("x", presets={"a": {}}, default_preset="b")
    with pytest.raises(ValueError, match="takes = {}"):
        again("x", takes=None)
    with pytest.raises(ValueError, match="learns by 'heart'"):
        again("x", learns="heart")
    with pytest.raises(ZooError, match="x has no hyperparameter called 'width'"):
        again("x", presets={"a": {"width": 3}})
    with pytest.raises(ValueError, match="takes a, b, but learns by 'epochs' and so from one data set"):
        again("x", takes={"a": "maps", "b": "particles"}, learns="epochs")
    with pytest.raises(ValueError, match="no preset"):
        add(Entry("x", "a:B", presets={}, takes={"data": "particles"}))
    assert "x" not in list_models()


def test_summary_and_data_come_from_the_class(sample):
    entry = get_entry("sample-for-tests")
    assert entry.summary == "For tests." and entry.cls is sample and entry.default_preset == "small"

    @register("sample-of-attributes")
    class Own:
        takes = {"maps": "maps", "subtomograms": "subtomograms"}
        learns = "players"
        Config = SampleConfig

    entry = get_entry("sample-of-attributes")
    assert entry.takes == Own.takes and entry.learns == "players" and entry.config is SampleConfig
    assert entry.presets == {"default": SampleConfig.defaults()}
