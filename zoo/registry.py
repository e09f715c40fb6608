"""Name → what is known of a model without importing it: its class' place, configuration, presets, data.

Three ways into the zoo: a folder under ``zoo/models`` whose ``config.py`` calls `add`; the decorator
`register`; an entry point of the group ``zoo.models`` of another package. A class that is in none of them is
named by its place, ``package.module:Class``.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.config import Config, LearningConfig, read_yaml
from zoo.errors import ZooError, did_you_mean

GROUP = "zoo.models"
LEARNS = ("players", "loss", "epochs")


@dataclass(frozen=True)
class Entry:
    """One registered model, as plain data: nothing of it imports Keras before ``cls`` is asked for.

    ``model`` is the class or its place, ``package.module:Class``. ``takes`` says which kind of records each
    of its inputs is, ``{"data": "particles"}``; ``embedded`` names the embedded set
    (`zoo.simulate.embedded_data`) that a role is trained on without ``--data``, where that is not the one of
    its kind. ``learns`` is the way it learns: by "players" that have a loss and an optimizer each, by one
    "loss", or by whole "epochs" of expectation and maximisation. ``verbs`` names what the model can do
    (`zoo.models.capabilities`), so that a command that asks for more is answered before Keras is imported;
    empty where only the class knows. ``presets`` map a name to the values that differ from the
    configuration's defaults, and hold all of them once made. Raises ValueError where the parts do not fit
    together, ZooError for a value out of range.
    """

    name: str
    model: str | type
    config: type[Config] = Config
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"default": {}})
    default_preset: str = ""
    takes: Mapping[str, str] = field(default_factory=dict)
    learns: str = "loss"
    summary: str = ""
    paper: str = ""
    status: str = "works"
    verbs: tuple[str, ...] = ()
    embedded: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self):
        if not self.presets:
            raise ValueError(f"{self.name}: has no preset; give at least one, such as {{'default': {{}}}}")
        default = self.default_preset or next(iter(self.presets))
        if default not in self.presets:
            raise ValueError(
                f"{self.name}: the default preset {default!r} is not one of {sorted(self.presets)}"
            )
        if self.learns not in LEARNS:
            raise ValueError(f"{self.name}: learns by {self.learns!r}, expected one of {', '.join(LEARNS)}")
        problem = wrong_takes(self.takes, self.learns)
        if problem:
            raise ValueError(f"{self.name}: {problem}")
        if "seed" in self.config.settings():
            raise ValueError(
                f"{self.name}: seed is no hyperparameter; create_model and zoo-train hand it over"
            )
        whole = {name: self.config.of(values, self.name).values() for name, values in self.presets.items()}
        object.__setattr__(self, "presets", whole)
        object.__setattr__(self, "default_preset", default)

    def embedded_set(self, role: str) -> str:
        """The name of the embedded set of a role: that of its kind, or the model's own."""
        return self.embedded.get(role, self.takes[role])

    @property
    def cls(self) -> type:
        """The class; imports it, and Keras with it."""
        return import_class(self.model) if isinstance(self.model, str) else self.model

    @property
    def place(self) -> str:
        """``package.module:Class`` of the class."""
        if isinstance(self.model, str):
            return self.model
        return f"{self.model.__module__}:{self.model.__qualname__}"


_ENTRIES: dict[str, Entry] = {}
_OWN: dict[str, Entry] = {}
_POINTS: dict[str, Any] = {}


def add(entry: Entry) -> Entry:
    """Put ``entry`` into the registry and return it; ValueError where another model has its name."""
    known = _ENTRIES.get(entry.name)
    if known is not None and known.place != entry.place:
        raise ValueError(f"two models are called {entry.name}: {known.place} and {entry.place}")
    _ENTRIES[entry.name] = entry
    return entry


def _of(cls: type, name: str, default: Any) -> Any:
    """An attribute of a class, or the default where it has none or states None."""
    found = getattr(cls, name, None)
    return default if found is None else found


def register(
    name: str,
    *,
    takes: Mapping[str, str] | None = None,
    config: type[Config] | None = None,
    presets: Mapping[str, Mapping[str, Any]] | None = None,
    default_preset: str = "",
    learns: str | None = None,
    summary: str = "",
    paper: str = "",
    status: str = "works",
) -> Callable[[type], type]:
    """Class decorator that adds a model of a person's own to the zoo under ``name``; parts as in `Entry`.

    Left out, ``takes``, ``config`` and ``learns`` are the class' attributes ``takes``, ``Config`` and
    ``learns`` (by a loss, where it has none), ``summary`` the first line of its docstring. Raises ValueError
    where they do not fit together or another class already has the name.
    """

    def decorate(cls: type) -> type:
        add(
            Entry(
                name,
                cls,
                config or _of(cls, "Config", Config),
                presets or {"default": {}},
                default_preset,
                takes or getattr(cls, "takes", None) or {},
                learns or _of(cls, "learns", "loss"),
                summary or ((cls.__doc__ or "").strip().splitlines() or [""])[0],
                paper,
                status,
            )
        )
        return cls

    return decorate


def wrong_takes(takes: Any, learns: str) -> str:
    """What is wrong with a model's ``takes`` for its way to learn, or nothing."""
    right = (
        isinstance(takes, Mapping)
        and takes
        and all(isinstance(x, str) and x for y in takes.items() for x in y)
    )
    if not right:
        return f"takes = {takes!r}: expected role and kind of data, such as {{'data': 'particles'}}"
    if len(takes) > 1 and learns != "players":
        return (
            f"takes {', '.join(takes)}, but learns by {learns!r} and so from one data set; "
            "derive it from zoo.models.gradient_model.GradientModel"
        )
    return ""


def list_models() -> list[str]:
    """The names of all registered models, sorted."""
    _load_models()
    return sorted({*_ENTRIES, *_POINTS})


def get_entry(name: str) -> Entry:
    """The registered model of this name, or an entry for a class named by its place ``package.module:Class``.

    Raises ZooError naming the nearest known one, or what is wrong with the class.
    """
    if name not in _ENTRIES:
        _load_models()
    if name in _ENTRIES:
        return _ENTRIES[name]
    if name in _POINTS:
        return _of_point(name)
    if ":" in name:
        return _own_entry(name)
    raise ZooError(f"there is no model called {name!r}{did_you_mean(name, list_models())}")


def resolve_preset(name: str, preset: str | None) -> str:
    """``preset`` checked against the model's presets, or the model's default for None."""
    entry = get_entry(name)
    if preset is None:
        return entry.default_preset
    if preset not in entry.presets:
        raise ZooError(f"{name} has no preset called {preset!r}{did_you_mean(preset, entry.presets)}")
    return preset


def resolve_overrides(
    name: str,
    overrides: Mapping[str, Any] | None = None,
    yaml_file: str | Path | None = None,
) -> dict[str, Any]:
    """The hyperparameters that differ from a preset, each of the type and in the range of its setting.

    Values from ``yaml_file`` (a flat mapping name: value) come first, ``overrides`` win. Raises
    ZooError for an unknown name (with the nearest known) or a value that is wrong.
    """
    config = get_entry(name).config
    values = {}
    if yaml_file is not None:
        values.update(config.read(read_yaml(yaml_file), name, f"{yaml_file}: "))
    values.update(config.read(overrides or {}, name))
    return values


def resolve_config(
    name: str,
    preset: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    yaml_file: str | Path | None = None,
) -> dict[str, Any]:
    """Every hyperparameter of one run: the preset's values, then the file's, then ``overrides``.

    Raises ZooError for what is unknown or wrong, alone or together with the other values.
    """
    entry = get_entry(name)
    values = dict(entry.presets[resolve_preset(name, preset)])
    values.update(resolve_overrides(name, overrides, yaml_file))
    return entry.config.of(values, name).values()


def create_model(name: str, info=None, preset: str | None = None, seed: int | None = None, **overrides: Any):
    """A new Keras model with a preset's values, changed by ``overrides``.

    ``info`` is the DatasetInfo of the records it will train on (box, voxel size), or None for
    the preset's own. ``seed`` fixes every initial weight (Keras' global generator is set to it too). Raises
    ZooError for an unknown model, preset or hyperparameter.
    """
    entry = get_entry(name)
    preset, overrides = resolve_preset(name, preset), resolve_overrides(name, overrides)
    cls = entry.cls
    if seed is not None:
        import keras

        keras.utils.set_random_seed(int(seed))
    make = getattr(cls, "from_data", None)
    if make is None:
        own = getattr(cls, "Config", None)
        return cls(**{**entry.presets[preset], **overrides} if own else {})
    return make(info, preset, **overrides, **({} if seed is None else {"seed": int(seed)}))


def entry_of(cls: type) -> Entry:
    """The entry that ``cls`` was registered with; ZooError where it was not."""
    _load_models()
    place = f"{cls.__module__}:{cls.__qualname__}"
    for entry in (*_ENTRIES.values(), *_OWN.values()):
        if entry.place == place:
            return entry
    raise ZooError(f"{place}: is not registered; use the decorator zoo.register, or its place with --model")


def import_class(place: str) -> type:
    """The class at ``package.module:Class``; ZooError in one line where it is not there."""
    module_name, _, class_name = place.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), *class_name.split("."))):
        raise ZooError(f"{place}: is no place of a class; write package.module:Class")
    try:
        module = _import(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name + ".").startswith(error.name + "."):
            raise ZooError(
                f"{place}: there is no module {error.name}; install its package, set PYTHONPATH, or run "
                "where the file lies"
            ) from error
        raise ZooError(f"{place}: cannot be imported: {error}") from error
    except ZooError:
        raise
    except Exception as error:  # whatever a module of a person's own does while it is imported
        raise ZooError(f"{place}: cannot be imported: {type(error).__name__}: {error}") from error
    found: Any = module
    for part in class_name.split("."):
        if not hasattr(found, part):
            names = [name for name, value in vars(module).items() if isinstance(value, type)]
            raise ZooError(f"{place}: {module_name} has no {class_name}{did_you_mean(class_name, names)}")
        found = getattr(found, part)
    if not isinstance(found, type):
        raise ZooError(
            f"{place}: is a {type(found).__name__}, expected a class that derives from keras.Model"
        )
    return found


def _import(module: str):
    here = str(Path.cwd())
    if here in sys.path or "" in sys.path:
        return importlib.import_module(module)
    # A command's path begins with its own folder, not with the one that a person works in.
    sys.path.append(here)
    try:
        return importlib.import_module(module)
    finally:
        sys.path.remove(here)


def _load_models() -> None:
    importlib.import_module("zoo.models")
    if not _POINTS:
        from importlib.metadata import entry_points

        _POINTS.update({point.name: point for point in entry_points(group=GROUP)})


def _of_point(name: str) -> Entry:
    """The entry of another package's entry point: an `Entry`, or a class (registered by it, or plain)."""
    value = _POINTS[name].value
    if ":" not in value:
        raise ZooError(
            f"entry point {name} of the group {GROUP}: {value} names no class; write package.module:Class"
        )
    module_name, _, attribute = value.partition(":")
    found = None
    try:
        found = getattr(_import(module_name), attribute, None)
    except Exception:  # told in one line below
        pass
    entry = found if isinstance(found, Entry) else _own_entry(value)
    return add(dataclasses.replace(entry, name=name))


def _own_entry(place: str) -> Entry:
    """An entry for the Keras model at ``package.module:Class``, which the registry need not know."""
    if place in _OWN:
        return _OWN[place]
    cls = import_class(place)
    known = next(
        (entry for entry in _ENTRIES.values() if entry.place == f"{cls.__module__}:{cls.__qualname__}"), None
    )
    _OWN[place] = known or _entry_of(place, cls)
    return _OWN[place]


def _entry_of(place: str, cls: type) -> Entry:
    import keras

    if not issubclass(cls, keras.Model):
        raise ZooError(f"{place}: does not derive from keras.Model")
    if not hasattr(cls, "takes"):
        raise ZooError(f"{place}: does not say what it trains on; give it takes = {{'data': 'particles'}}")
    problem = wrong_takes(cls.takes, getattr(cls, "learns", "loss"))
    if problem:
        raise ZooError(f"{place}: {problem}")
    config = getattr(cls, "Config", LearningConfig)
    if not (isinstance(config, type) and issubclass(config, Config)):
        raise ZooError(f"{place}: its Config does not derive from zoo.config.Config")
    summary = ((cls.__doc__ or "").strip().splitlines() or [""])[0]
    return Entry(
        place, cls, config, takes=dict(cls.takes), learns=getattr(cls, "learns", "loss"), summary=summary
    )
