"""Name → model class, presets, input kind and paper, and the values a person may set."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.errors import ZooError


@dataclass(frozen=True)
class Entry:
    """One registered model: its class and what a person may ask of it."""

    name: str
    cls: type
    presets: dict[str, dict[str, Any]]
    default_preset: str
    input_kind: str
    summary: str
    paper: str
    status: str
    types: dict[str, Any] = field(default_factory=dict)


_ENTRIES: dict[str, Entry] = {}
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def register(
    name: str,
    *,
    presets: dict[str, dict[str, Any]],
    default_preset: str,
    input_kind: str,
    summary: str,
    paper: str = "",
    status: str = "works",
) -> Callable[[type], type]:
    """Class decorator that adds a model to the zoo under ``name``.

    ``presets`` maps a preset's name to hyperparameter values; ``input_kind`` is what the model
    trains on ("particles", "maps", "subtomograms"). The class must have
    ``from_data(info, preset, **overrides)``. Raises ValueError where ``default_preset`` is not
    one of the presets or another class already has the name.
    """
    if default_preset not in presets:
        raise ValueError(f"{name}: the default preset {default_preset!r} is not one of {sorted(presets)}")

    def decorate(cls: type) -> type:
        known = _ENTRIES.get(name)
        if known is not None and (known.cls.__module__, known.cls.__qualname__) != (
            cls.__module__,
            cls.__qualname__,
        ):
            raise ValueError(f"two models are called {name}: {known.cls!r} and {cls!r}")
        _ENTRIES[name] = Entry(
            name,
            cls,
            presets,
            default_preset,
            input_kind,
            summary,
            paper,
            status,
            _defaults(presets, default_preset),
        )
        return cls

    return decorate


def _defaults(presets: dict[str, dict[str, Any]], default_preset: str) -> dict[str, Any]:
    """One example value per hyperparameter: a preset's own where the default preset has None."""
    values: dict[str, Any] = {}
    for preset in (presets[default_preset], *presets.values()):
        for key, value in preset.items():
            if values.get(key) is None:
                values[key] = value
    return values


def _load_models() -> None:
    importlib.import_module("zoo.models")


def list_models() -> list[str]:
    """The names of all registered models, sorted."""
    _load_models()
    return sorted(_ENTRIES)


def get_entry(name: str) -> Entry:
    """The registered model of this name; raises ZooError naming the nearest known one."""
    if name not in _ENTRIES:
        _load_models()
    if name not in _ENTRIES:
        raise ZooError(f"there is no model called {name!r}{_nearest(name, _ENTRIES)}")
    return _ENTRIES[name]


def resolve_preset(name: str, preset: str | None) -> str:
    """``preset`` checked against the model's presets, or the model's default for None."""
    entry = get_entry(name)
    if preset is None:
        return entry.default_preset
    if preset not in entry.presets:
        raise ZooError(f"{name} has no preset called {preset!r}{_nearest(preset, entry.presets)}")
    return preset


def resolve_overrides(
    name: str,
    overrides: dict[str, Any] | None = None,
    yaml_file: str | Path | None = None,
) -> dict[str, Any]:
    """The hyperparameters that differ from a preset, with the types of the model's presets.

    Values from ``yaml_file`` (a flat mapping name: value) come first, ``overrides`` win. Raises
    ZooError for an unknown name (with the nearest known) or a value that has the wrong type.
    """
    entry = get_entry(name)
    values = dict(_read_yaml(yaml_file)) if yaml_file is not None else {}
    values.update(overrides or {})
    resolved = {}
    for key, value in values.items():
        if key not in entry.types:
            where = f"{yaml_file}: " if yaml_file is not None and key not in (overrides or {}) else ""
            hint = _nearest(str(key), entry.types)
            raise ZooError(f"{where}{name} has no hyperparameter called {key!r}{hint}")
        resolved[key] = coerce(key, value, entry.types[key])
    return resolved


def resolve_config(
    name: str,
    preset: str | None = None,
    overrides: dict[str, Any] | None = None,
    yaml_file: str | Path | None = None,
) -> dict[str, Any]:
    """Every hyperparameter of one run: the preset's values, then the file's, then ``overrides``."""
    entry = get_entry(name)
    config = dict(entry.presets[resolve_preset(name, preset)])
    config.update(resolve_overrides(name, overrides, yaml_file))
    return config


def create_model(name: str, info=None, preset: str | None = None, **overrides: Any):
    """A new Keras model with a preset's values, changed by ``overrides``.

    ``info`` is the DatasetInfo of the records it will train on (box, voxel size), or None for
    the preset's own. Raises ZooError for an unknown model, preset or hyperparameter.
    """
    entry = get_entry(name)
    return entry.cls.from_data(info, resolve_preset(name, preset), **resolve_overrides(name, overrides))


def coerce(key: str, value: Any, example: Any) -> Any:
    """``value`` as the type of ``example``: strings are parsed; ZooError where that cannot be."""
    if example is None:
        return _parse(value) if isinstance(value, str) else value
    if value is None or (value == "none" and not isinstance(example, str)):
        return None
    try:
        if isinstance(example, bool):
            return _as_bool(value)
        if isinstance(example, int):
            return _as_int(value)
        if isinstance(example, float):
            if isinstance(value, bool):
                raise ValueError
            return float(value)
        if isinstance(example, str):
            if not isinstance(value, str):
                raise ValueError
            return value
        if isinstance(example, (list, tuple)):
            return _as_sequence(key, value, example)
    except (TypeError, ValueError) as error:
        if isinstance(error, ZooError):
            raise
        kind = _KINDS.get(type(example), "a list")
        raise ZooError(f"{key}={value}: expected {kind}, such as {example}") from None
    return _parse(value) if isinstance(value, str) else value


def _as_bool(value: Any) -> bool:
    text = str(value).strip().lower()
    if text in ("true", "yes", "on", "1"):
        return True
    if text in ("false", "no", "off", "0"):
        return False
    raise ValueError


def _as_int(value: Any) -> int:
    if isinstance(value, bool):
        raise ValueError
    number = float(value)
    if number != int(number):
        raise ValueError
    return int(value) if isinstance(value, int) else int(number)


def _as_sequence(key: str, value: Any, example: list | tuple) -> list | tuple:
    if isinstance(value, str):
        parts = [part for part in value.split(",") if part.strip()]
        value = _parse(value) if value.strip().startswith("[") else parts
    if not isinstance(value, (list, tuple)):
        raise ValueError
    element = example[0] if len(example) else None
    return type(example)(coerce(key, item, element) for item in value)


def _parse(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _read_yaml(path: str | Path) -> dict[str, Any]:
    import yaml

    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ZooError(f"{path}: cannot be read ({error.strerror}); give a YAML file") from None
    except UnicodeDecodeError as error:
        raise ZooError(f"{path}: byte {error.start} is not text; give a YAML file") from None
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        raise ZooError(f"{path}: {line}is not YAML; write one name: value on each line") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ZooError(f"{path}: expected name: value lines, found {type(values).__name__}")
    return values


def _nearest(word: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(names) or 'none'}"
