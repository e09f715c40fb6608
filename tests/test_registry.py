"""Names, presets and the values a person may set."""

import pytest

from zoo.errors import ZooError
from zoo.registry import (
    coerce,
    create_model,
    get_entry,
    list_models,
    register,
    resolve_config,
    resolve_preset,
)


@pytest.fixture(scope="module")
def sample():
    """A registered model that keeps what it was made with."""

    @register(
        "sample-for-tests",
        presets={
            "small": {
                "width": 8,
                "rate": 1e-3,
                "norm": "batch",
                "filters": (16, 32),
                "fast": False,
                "limit": None,
            },
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
        input_kind="particles",
        summary="for tests",
    )
    class Sample:
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
    expected |= {"pose_search", "tiny"}
    assert expected <= set(entry.presets)
    assert entry.input_kind == "particles" and entry.summary


def test_every_preset_has_every_hyperparameter():
    for name in list_models():
        entry = get_entry(name)
        assert all(set(preset) == set(entry.types) for preset in entry.presets.values()), name


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


def test_a_number_stays_itself():
    assert coerce("x", 3, 1.0) == 3.0 and isinstance(coerce("x", 3, 1.0), float)
    assert coerce("x", 2**60 + 1, 1) == 2**60 + 1


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
    with pytest.raises(ZooError, match="cannot be read"):
        resolve_config("sample-for-tests", None, None, tmp_path / "absent.yaml")


def test_create_hands_over_preset_and_changes(sample):
    assert create_model("sample-for-tests", "info", "large", width="5").made_with == (
        "info",
        "large",
        {"width": 5},
    )
    assert create_model("sample-for-tests").made_with == (None, "small", {})


def test_two_classes_of_one_name_are_refused(sample):
    def again():
        @register("sample-for-tests", presets={"a": {}}, default_preset="a", input_kind="", summary="")
        class Other:
            pass

    with pytest.raises(ValueError, match="two models are called"):
        again()
    with pytest.raises(ValueError, match="is not one of"):
        register("x", presets={"a": {}}, default_preset="b", input_kind="", summary="")
