"""``zoo models``: what the zoo holds, and everything that may be set of one model."""

from __future__ import annotations

from typing import Annotated

import typer

from zoo_tools._run import make_app, run

app = make_app("List the models, or all hyperparameters of one.")


@app.command()
def models(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A model: its hyperparameters and presets.")
    ] = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="List the trained models instead.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="The same for programs.")] = False,
) -> None:
    """List the models, their presets and what they train on; with NAME, all that can be set of it."""
    if pretrained and name is not None:
        raise typer.BadParameter("give NAME or --pretrained, not both")
    if pretrained:
        rows = _pretrained_rows()
    elif name is None:
        rows = _model_rows()
    else:
        from zoo.registry import get_entry

        _show_model(get_entry(name), json)
        return
    if json:
        _print_json(rows)
        return
    names = {"presets": "presets (* default)"}
    _print_table(
        [names.get(key, key) for key in rows[0]] if rows else [], [list(row.values()) for row in rows]
    )


def _model_rows() -> list[dict[str, str]]:
    from zoo.errors import ZooError
    from zoo.registry import get_entry, list_models

    rows = []
    for name in list_models():
        try:
            entry = get_entry(name)
        except ZooError as error:
            # Another package's: it must not keep a person from those that work.
            values = ["", "", str(error), "cannot be imported", ""]
        else:
            presets = " ".join(
                preset + ("*" if preset == entry.default_preset else "") for preset in entry.presets
            )
            values = [_inputs(entry), presets, entry.summary, entry.status, entry.paper]
        rows.append(
            dict(
                zip(("model", "input", "presets", "summary", "status", "paper"), [name, *values], strict=True)
            )
        )
    return rows


def _inputs(entry) -> str:
    """``particles``, or ``maps=maps subtomograms=subtomograms`` where there are several inputs."""
    if len(entry.takes) == 1:
        return next(iter(entry.takes.values()))
    return " ".join(f"{role}={kind}" for role, kind in entry.takes.items())


def _pretrained_rows() -> list[dict[str, str]]:
    from zoo.serving.pretrained import list_pretrained, read_card

    rows = []
    for name, folder in list_pretrained().items():
        card = read_card(folder)
        values = {key: str(card.get(key, "")) for key in ("model", "preset", "box")}
        rows.append({"name": name, **values, "folder": str(folder)})
    return rows


def _show_model(entry, as_json: bool) -> None:
    fields = entry.config.settings().values()
    if as_json:
        _print_json(
            {
                "model": entry.name,
                "class": entry.place,
                "summary": entry.summary,
                "paper": entry.paper,
                "status": entry.status,
                "takes": dict(entry.takes),
                "learns": entry.learns,
                "verbs": list(entry.verbs),
                "default_preset": entry.default_preset,
                "presets": {name: dict(values) for name, values in entry.presets.items()},
                "hyperparameters": [_described(field) for field in fields],
            }
        )
        return
    print(f"{entry.name}: {entry.summary}")
    print(
        f"trains on {_inputs(entry)}, learns by {entry.learns}, {entry.status}"
        + f"; {entry.paper}" * bool(entry.paper)
    )
    if entry.verbs:
        print(f"can {', '.join(entry.verbs)}")
    print(f"default preset: {entry.default_preset}; change a value with zoo-train --set NAME=VALUE")
    if not fields:
        print("it has no hyperparameters")
        return
    print()
    default = entry.presets[entry.default_preset]
    left = [
        [field.name, _kind(field), field.range.removeprefix("one of "), field.unit or ""] for field in fields
    ]
    header = ["hyperparameter", "type", "range", "unit"]
    wide = [
        # Only what differs from the default preset stands in the other columns: the eye finds it.
        [*cells, *(_cell(preset, default, field.name) for preset in entry.presets.values()), field.help]
        for cells, field in zip(left, fields, strict=True)
    ]
    names = [name + "*" * (name == entry.default_preset) for name in entry.presets]
    if _print_table([*header, *names, "what it is"], wide, whole=True):
        if len(names) > 1:
            print("\nAn empty cell: as in the default preset (*).")
        return
    values = [_spell(default[field.name]) for field in fields]
    rows = [[*cells, value, field.help] for cells, value, field in zip(left, values, fields, strict=True)]
    _print_table([*header, f"{entry.default_preset}*", "what it is"], rows)
    for name, preset in entry.presets.items():
        other = " ".join(f"{key}={_spell(value)}" for key, value in preset.items() if value != default[key])
        if name != entry.default_preset:
            print(f"\npreset {name}: {other or 'the same values'}")


def _kind(field) -> str:
    return field.type.__name__ + ", ..." * field.many + " or none" * field.optional


def _cell(preset, default, name: str) -> str:
    return _spell(preset[name]) if preset is default or preset[name] != default[name] else ""


def _described(field) -> dict:
    return {
        "name": field.name,
        "type": field.type.__name__,
        "list": field.many,
        "optional": field.optional,
        "help": field.help,
        "unit": field.unit,
        "least": field.least,
        "most": field.most,
        "above": field.above,
        "below": field.below,
        "choices": None if field.choices is None else list(field.choices),
        "default": field.default,
    }


def _spell(value) -> str:
    if isinstance(value, tuple):
        return ",".join(str(each) for each in value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value) or "''"


def _print_json(value) -> None:
    import json

    print(json.dumps(value, indent=2, ensure_ascii=False))


def _print_table(header: list[str], rows: list[list[str]], whole: bool = False) -> bool:
    """Print a table as wide as the terminal; where the output is no terminal, one whole line for each row.

    ``whole``: print nothing, and return False, where the terminal is too narrow for whole lines.
    """
    from rich.console import Console
    from rich.table import Table

    needed = 2 * len(header) + sum(max(map(len, column)) for column in zip(header, *rows, strict=True))
    console = Console(markup=False, highlight=False)
    if console.is_terminal and whole and needed > console.width:
        return False
    if not console.is_terminal:
        console = Console(markup=False, highlight=False, width=needed)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in header:
        table.add_column(name, no_wrap=not console.is_terminal, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    return True


def main() -> None:
    """Run ``zoo models`` alone."""
    run(app, "zoo models")
