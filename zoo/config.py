"""What a person may set of a model: typed values with ranges, units and a line of help each; no Keras here.

A model's configuration is a frozen dataclass whose fields say everything that is to be known of them::

    @dataclass(frozen=True)
    class MyConfig(Config):
        box: int = setting(32, "edge of the images", unit="pixels", least=8, most=512)
        learning_rate: float = setting(1e-4, "of Adam", above=0, most=1)
        filters: tuple[int, ...] = setting((16, 32), "of each stage", least=1)
        norm: str = setting("batch", "in the critic", choices=("batch", "none"))

        def check(self):
            if self.box % 2 ** len(self.filters):
                raise ZooError(f"box={self.box}: cannot be halved for each of filters")
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from zoo.errors import ZooError, did_you_mean
from zoo.input_files import existing_file

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
_SWITCH = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)
_METADATA = "zoo"
_LONGEST = 60  # of a wrong value that is told


@dataclasses.dataclass(frozen=True)
class Setting:
    """One field of a `Config`: its type (``many``: a tuple of it), default, range and what it means.

    ``least`` and ``most`` belong to the range, ``above`` and ``below`` do not; of a tuple they hold for each
    entry. ``optional``: None (``none`` on a command line) is a value too.
    """

    name: str
    type: type
    default: Any
    help: str
    many: bool = False
    unit: str | None = None
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str, ...] | None = None
    optional: bool = False

    @property
    def kind(self) -> str:
        """What a value has to be, in words."""
        kind = _KINDS[self.type]
        if self.many:
            kind = f"a list, {kind} for each entry"
        return f"{kind} or none" if self.optional else kind

    @property
    def range(self) -> str:
        """Which values are right, in words: ``1 to 50``, ``more than 0``, ``one of a, b``, or nothing."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.least is not None and self.most is not None:
            return f"{_spell(self.least)} to {_spell(self.most)}"
        words = []
        if self.least is not None:
            words.append(f"at least {_spell(self.least)}")
        if self.above is not None:
            words.append(f"more than {_spell(self.above)}")
        if self.most is not None:
            words.append(f"at most {_spell(self.most)}")
        if self.below is not None:
            words.append(f"less than {_spell(self.below)}")
        return " and ".join(words)

    def read(self, value: Any, where: str = "") -> Any:
        """``value`` (or its text) as this field holds it; ``where`` is put before an error.

        Raises ZooError where it is of another type, no finite number, or out of range.
        """
        if value is None or (
            isinstance(value, str) and value.strip().lower() == "none" and self._none_is_none
        ):
            if self.optional:
                return None
            raise self._wrong(value, where, self.kind)
        if not self.many:
            return self._read_one(value, value, where)
        if isinstance(value, str):
            value = [part for part in value.strip().strip("[]()").split(",") if part.strip()]
        elif not isinstance(value, (list, tuple)):
            raise self._wrong(value, where, self.kind)
        if not value:
            example = _text(self.default)
            raise ZooError(f"{where}{self.name}: is empty; expected one entry or more, such as {example}")
        return tuple(self._read_one(each, value, where) for each in value)

    @property
    def _none_is_none(self) -> bool:
        """Whether the word ``none`` is no text of its own."""
        if self.type is not str or self.many:
            return True
        return self.optional if not self.choices else "none" not in self.choices

    def _read_one(self, value: Any, given: Any, where: str) -> Any:
        try:
            value = _READERS[self.type](value)
        except (TypeError, ValueError, OverflowError):
            if self.choices and isinstance(value, bool):
                # YAML takes on, off, yes and no for true and false.
                word = next((w for w in self.choices if w in _SWITCH and _SWITCH[w] is value), None)
                if word is not None:
                    return word
            kind = _KINDS[self.type] + " for each entry" if self.many else self.kind
            raise self._wrong(given, where, kind) from None
        if self.choices is not None:
            if value not in self.choices:
                raise self._wrong(given, where)
        elif self.type in (int, float):
            inside = (
                (isinstance(value, int) or math.isfinite(value))
                and (self.least is None or value >= self.least)
                and (self.most is None or value <= self.most)
                and (self.above is None or value > self.above)
                and (self.below is None or value < self.below)
            )
            if not inside:
                raise self._wrong(given, where)
        return value

    def _wrong(self, value: Any, where: str, kind: str = "") -> ZooError:
        words = [kind] if kind and not self.choices else []
        words += [self.range] if self.range else []
        words = words or ["a finite number"]
        unit = f" {self.unit}" if self.unit and self.range and not self.choices else ""
        return ZooError(f"{where}{self.name}={_text(value)}: expected {', '.join(words)}{unit}")


def setting(
    default: Any,
    help: str,
    *,
    unit: str | None = None,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] | None = None,
    optional: bool = False,
) -> Any:
    """A field of a `Config` with its default and one line of ``help``; the rest as in `Setting`.

    The annotation says the type: int, float, bool, str, ``tuple[int, ...]``, or one of them ``| None``.
    """
    known: dict[str, Any] = {"unit": unit, "least": least, "most": most, "above": above, "below": below}
    known |= {"choices": choices, "optional": optional, "help": " ".join(help.split())}
    return dataclasses.field(default=default, metadata={_METADATA: known})


@dataclasses.dataclass(frozen=True)
class FirstPhase:
    """A run that comes first: of ``model``, with ``preset`` and hyperparameters ``values`` besides."""

    model: str
    preset: str
    values: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Config:
    """Base of all configurations: a frozen dataclass of `setting` fields, each checked when one is made.

    Raises ZooError (one line) for a value that is of the wrong type or out of range, and for what ``check``
    of the subclass finds. Texts are read as numbers where a number belongs.
    """

    default_epochs: typing.ClassVar[int] = 20
    """How many epochs a run has where nobody says, for models that learn by epochs."""

    ends_itself: typing.ClassVar[bool] = False
    """Whether such a run ends by itself, so that nobody says how many epochs it has."""

    def steps_of(self, epochs: int, steps_per_pass: int) -> int:
        """The most steps of a run of ``epochs``, for models that learn by them: epoch 0 starts it."""
        return (epochs + 1) * steps_per_pass

    def first_phase(self) -> FirstPhase | None:
        """The run, on the same records, whose result a run with these values begins from; None: no other."""
        return None

    smallest: typing.ClassVar[Mapping[str, Any]] = {}
    """Values that make any preset small enough to be tried in seconds."""

    def __post_init__(self):
        for name, field in self.settings().items():
            object.__setattr__(self, name, field.read(getattr(self, name)))
        self.check()

    def check(self) -> None:
        """Raise ZooError where values do not go together; for subclasses."""

    @classmethod
    def settings(cls) -> dict[str, Setting]:
        """Name → `Setting` of every field, in their order."""
        return _settings(cls)  # type: ignore[arg-type]  # a frozen dataclass is hashed by its fields

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Name → default of every field."""
        return {name: field.default for name, field in cls.settings().items()}

    @classmethod
    def read(cls, values: Mapping[str, Any], owner: str = "", where: str = "") -> dict[str, Any]:
        """``values``, some or all of the fields, as texts or not, each alone read and checked.

        ``owner`` (a model's name) and ``where`` (a file, with a colon) are told in errors. Raises
        ZooError for a name that is no field, with the nearest known one, and for wrong values.
        """
        fields = cls.settings()
        read = {}
        for name, value in values.items():
            if name not in fields:
                hint = did_you_mean(str(name), fields)
                raise ZooError(f"{where}{owner or cls.__name__} has no hyperparameter called {name!r}{hint}")
            read[name] = fields[name].read(value, where)
        return read

    @classmethod
    def of(cls, values: Mapping[str, Any], owner: str = ""):
        """A configuration of ``values``, defaults for those left out; errors as `read` and `check` give."""
        return cls(**cls.read(values, owner))

    def values(self) -> dict[str, Any]:
        """Name → value of every field, as ``__init__`` takes them."""
        return {name: getattr(self, name) for name in self.settings()}


@dataclasses.dataclass(frozen=True)
class LearningConfig(Config):
    """What every model of one loss may set; a plain Keras model, with its own optimizer, the first three."""

    validation_fraction: float = setting(
        0.1, "share of the records that is held back for validation", least=0, most=0.9
    )
    patience: int = setting(
        20, "validations, one a pass, without a better loss that end the run; 0: none do", least=0, most=10**6
    )
    class_weights: str = setting(
        "none", "balanced: records of rare labels weigh more", choices=("none", "balanced")
    )
    learning_rate: float = setting(1e-3, "of Adam", above=0, most=1)
    beta_1: float = setting(0.9, "of Adam", least=0, below=1)
    beta_2: float = setting(0.999, "of Adam", least=0, below=1)
    schedule: str = setting("constant", "of the learning rate", choices=("constant", "exponential", "cosine"))
    decay_steps: int = setting(1000, "of the schedule", unit="steps", least=1, most=10**9)
    decay_rate: float = setting(0.96, "factor in decay_steps, exponential", above=0, most=1)
    warmup_steps: int = setting(0, "until the full learning rate, cosine", unit="steps", least=0, most=10**9)
    clip_norm: float = setting(0.0, "largest norm of all gradients together; 0: any", least=0, most=1e9)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML file of ``name: value`` lines as a dict; ZooError where it cannot be read as such."""
    import yaml

    existing_file(path)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ZooError(f"{path}: cannot be read ({error.strerror}); give a YAML file") from None
    except UnicodeDecodeError as error:
        raise ZooError(f"{path}: byte {error.start} is not text; give a YAML file") from None
    try:
        values = yaml.safe_load(text)
    except Exception as error:  # of a value (a date, a !!tag, a huge number) PyYAML lets Python's own through
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        raise ZooError(f"{path}: {line}is not YAML; write one name: value on each line") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ZooError(f"{path}: expected name: value lines, found {type(values).__name__}")
    return values


@functools.cache
def _settings(cls: type) -> dict[str, Setting]:
    hints = typing.get_type_hints(cls)
    found = {}
    for field in dataclasses.fields(cls):
        if _METADATA not in field.metadata:
            raise TypeError(f"{cls.__name__}.{field.name} is not made by setting(default, help, ...)")
        kind, many, optional = _take_apart(hints[field.name], f"{cls.__name__}.{field.name}")
        known = dict(field.metadata[_METADATA])
        known["optional"] = known["optional"] or optional or field.default is None
        made = Setting(field.name, kind, field.default, many=many, **known)
        found[field.name] = dataclasses.replace(made, default=made.read(field.default, f"{cls.__name__}: "))
    return found


def _take_apart(hint: Any, name: str) -> tuple[type, bool, bool]:
    """Annotation → (type of a value, whether it is a tuple of them, whether None is allowed)."""
    optional = False
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        inner = [each for each in typing.get_args(hint) if each is not type(None)]
        optional, hint = len(inner) < len(typing.get_args(hint)), inner[0] if len(inner) == 1 else None
    many = typing.get_origin(hint) is tuple
    if many:
        arguments = typing.get_args(hint)
        hint = arguments[0] if arguments[1:] == (Ellipsis,) else None
    if hint not in _KINDS:
        raise TypeError(
            f"{name}: a field is an int, float, bool, str, tuple[..., ...] of them, or ... | None"
        )
    return hint, many, optional


def _as_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    try:
        return _SWITCH[str(value).strip().lower()]
    except KeyError:
        raise ValueError from None


def _as_int(value: Any) -> int:
    if isinstance(value, bool):
        raise ValueError
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            value = float(value)
    if value != int(value):
        raise ValueError
    return int(value)


def _as_float(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError
    return float(value)


def _as_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


_READERS = {bool: _as_bool, int: _as_int, float: _as_float, str: _as_text}


def _spell(number: float) -> str:
    return str(int(number)) if number == int(number) and abs(number) < 1e15 else f"{number:g}"


def _text(value: Any) -> str:
    """A value as it is typed: no brackets around a list."""
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)):
        value = ",".join(str(each) for each in value)
    text = "none" if value is None else str(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
